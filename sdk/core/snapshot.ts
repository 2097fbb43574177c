// Snapshots: verifying one in named steps before anything in it is believed, in the order of the TUF client workflow.
import { DaypassError, type ErrorCode } from './errors.ts';
import { type Sha256, toHex } from './hash.ts';
import {
  type CryptoKey,
  importEd25519,
  MANIFEST_LABEL,
  type PublicJwk,
  type SignedKeyBytes,
  signBytes,
  type VerifiedKey,
  verifyBytes,
  verifyKeyChain,
} from './key.ts';
import { CANARY_FEATURE, MAX_MANIFEST_BYTES, type Manifest, parseManifest } from './manifest.ts';
import { type Entry, merkleRoot } from './merkle.ts';
import { checkEntries, defaultAmong } from './snapshot-consistency.ts';
import { type Entries, readEntries } from './snapshot-entry.ts';

export {
  CANARY_FEATURE,
  encodeManifest,
  MAX_CANARY_NODES,
  MAX_MANIFEST_BYTES,
  type Manifest,
  parseManifest,
} from './manifest.ts';
export {
  changeTree,
  compareEntries,
  EMPTY_TREE,
  type Entry,
  type EntryChange,
  type EntryName,
  entryHash,
  findEntry,
  type MerkleTree,
  merkleRoot,
  placeOf,
  treeRoot,
} from './merkle.ts';
export { type Entries, type EntryContent, encodeEntry, readEntries } from './snapshot-entry.ts';

/** A snapshot as it comes over the wire or from disk. */
export type SignedSnapshot = {
  readonly manifest: Uint8Array;
  readonly signature: Uint8Array;
  readonly key: SignedKeyBytes;
  readonly entries: readonly Entry[];
};

/** What a node knows by itself. */
export type SnapshotTrust = {
  readonly root: CryptoKey | PublicJwk;
  readonly fleet: string;
  readonly pool: string;
  /** This node's name; without one, a snapshot that names its nodes is refused. */
  readonly node?: string | undefined;
  /** What is served now. */
  readonly active?: { readonly version: number; readonly digest: string } | undefined;
  /** The highest version ever activated, kept apart from the snapshot; 0: none. */
  readonly floor: number;
  /** The highest generation of a snapshot key that was ever trusted here, which version and floor are of; absent: 0. */
  readonly generation?: number | undefined;
  /** Seconds since the epoch. */
  readonly now: number;
  readonly sha256: Sha256;
};

declare const verified: unique symbol;
/** A snapshot that may be activated; only `verifySnapshot` makes one. */
export type VerifiedSnapshot = Entries & {
  readonly manifest: Manifest;
  /** Hex sha256 of the manifest's bytes. */
  readonly digest: string;
  /** Of the key that signed it. */
  readonly generation: number;
  readonly [verified]: true;
};

/** Features of manifests that this version understands. */
export const KNOWN_FEATURES: readonly string[] = [CANARY_FEATURE];

/** Most entries of a snapshot. */
export const MAX_ENTRIES = 500_000;
/** Most bytes of all entries of a snapshot. */
export const MAX_ENTRY_BYTES = 256 * 1024 * 1024;
/** Longest lease, in seconds. */
export const MAX_LEASE_SECONDS = 24 * 60 * 60;
/** How far ahead of the node's clock a manifest may have been issued, in seconds. */
export const MAX_FUTURE_SECONDS = 5 * 60;

/** The snapshot key's signature over a manifest. */
export const signManifest = (manifest: Uint8Array, key: CryptoKey): Promise<Uint8Array> =>
  signBytes(key, MANIFEST_LABEL, manifest);

/** Hex sha256 of a manifest's bytes: `previous` of the next one. */
export const manifestDigest = (manifest: Uint8Array, sha256: Sha256): string => toHex(sha256(manifest));

/** Verifies a snapshot in full; throws the `snapshot_*` code of the step that refused. */
export async function verifySnapshot(snapshot: SignedSnapshot, trust: SnapshotTrust): Promise<VerifiedSnapshot> {
  // TUF 5.5.1, 5.6.1. Size: before any work is spent on it.
  checkSize(snapshot.entries.length, bytesOf(snapshot.entries));
  const { manifest, digest, generation } = await verifyManifest(snapshot, trust);
  // TUF 5.5.2, 5.6.2. Entries: exactly those that were signed.
  if (merkleRoot(snapshot.entries, trust.sha256) !== manifest.root)
    throw refusal('snapshot_root_mismatch', 'The entries do not fit the manifest');
  // They can be read, and fit each other.
  const entries = readEntries(snapshot.entries);
  checkEntries(entries, { pool: manifest.pool, hasService: (name) => entries.services.has(name) });
  defaultAmong(undefined, entries.services.values());
  return { ...entries, manifest, digest, generation } as VerifiedSnapshot;
}

/**
 * All that can be said of a manifest without its entries, of a full snapshot's and a delta's alike, at one time
 * (TUF 5.1) and from a root that is pinned (TUF 5.2). Throws as `verifySnapshot` does.
 */
export async function verifyManifest(
  snapshot: Omit<SignedSnapshot, 'entries'>,
  trust: SnapshotTrust,
): Promise<{ readonly manifest: Manifest; readonly digest: string; readonly generation: number }> {
  // TUF 5.4.1. Endless data: no more than a manifest may be.
  if (snapshot.manifest.length > MAX_MANIFEST_BYTES) throw refusal('snapshot_too_large', 'The manifest is too large');
  // TUF 5.3.4. Key: signed by the pinned root, for snapshots of this fleet and pool, and not ended.
  const key = await checkKey(snapshot.key, trust);
  // TUF 5.4.2. Arbitrary software: the signature over the exact bytes. Nothing of them is parsed before this line.
  await checkSignature(snapshot, key);
  const manifest = parseManifest(snapshot.manifest);
  const digest = manifestDigest(snapshot.manifest, trust.sha256);
  checkAudience(manifest, trust);
  // TUF 5.4.3. Rollback: neither an older one nor one of two. TUF 5.3.11. Recovery from a fast-forward: where the root has
  // begun a new generation of keys, versions begin afresh.
  const { generation = 0 } = key;
  if (generation === (trust.generation ?? 0)) checkVersion(manifest, digest, trust);
  // TUF 5.4.4. Freeze: neither expired nor from the future.
  checkTime(manifest, trust.now);
  checkFeatures(manifest);
  return { manifest, digest, generation };
}

/** Throws `snapshot_too_large` for more entries, or bytes of them (`entryBytes`), than a snapshot may hold. */
export function checkSize(entries: number, bytes: number): void {
  if (entries > MAX_ENTRIES) throw refusal('snapshot_too_large', 'The snapshot has too many entries');
  if (bytes > MAX_ENTRY_BYTES) throw refusal('snapshot_too_large', 'The snapshot is too large');
}

/** What an entry counts for. */
export const entryBytes = ({ kind, name, content }: Entry): number => kind.length + name.length + content.length;

const bytesOf = (entries: readonly Entry[]): number => entries.reduce((sum, entry) => sum + entryBytes(entry), 0);

async function checkKey(signed: SignedKeyBytes, trust: SnapshotTrust): Promise<VerifiedKey> {
  const key = await chained(signed, trust.root);
  if (key.use !== 'snapshot') throw refusal('snapshot_signature_invalid', 'The key of the snapshot is for another use');
  if (key.fleet !== trust.fleet || key.pool !== trust.pool)
    throw refusal('snapshot_foreign', 'The snapshot key is of another fleet or pool');
  // One that was taken by somebody else is good for nobody any more.
  if ((key.generation ?? 0) < (trust.generation ?? 0))
    throw refusal('snapshot_key_revoked', `The snapshot key is of a generation before ${trust.generation}`);
  if (!(trust.now < key.not_after)) throw refusal('snapshot_signature_invalid', 'The snapshot key has ended');
  return key;
}

async function chained(signed: SignedKeyBytes, root: CryptoKey | PublicJwk): Promise<VerifiedKey> {
  try {
    return await verifyKeyChain(signed, root);
  } catch (cause) {
    throw refusal('snapshot_signature_invalid', 'The snapshot key is not signed by the fleet root', cause);
  }
}

async function checkSignature(snapshot: Omit<SignedSnapshot, 'entries'>, key: VerifiedKey): Promise<void> {
  const publicKey = await importEd25519(key.jwk, 'verify');
  if (!(await verifyBytes(publicKey, MANIFEST_LABEL, snapshot.manifest, snapshot.signature)))
    throw refusal('snapshot_signature_invalid', 'The manifest is not signed by its key');
}

function checkAudience({ fleet, pool, nodes }: Manifest, trust: SnapshotTrust): void {
  if (fleet !== trust.fleet || pool !== trust.pool)
    throw refusal('snapshot_foreign', 'The snapshot is of another fleet or pool');
  if (nodes !== undefined && (trust.node === undefined || !nodes.includes(trust.node)))
    throw refusal('snapshot_foreign', 'The snapshot is for other nodes');
}

function checkFeatures({ features }: Manifest): void {
  const unknown = features.find((feature) => !KNOWN_FEATURES.includes(feature));
  if (unknown !== undefined)
    throw refusal('snapshot_feature_unknown', `The snapshot needs "${unknown.slice(0, 64)}", which is not known here`);
}

function checkTime(manifest: Manifest, now: number): void {
  if (!(now < manifest.expires_at)) throw refusal('snapshot_stale', 'The snapshot has expired');
  if (!(manifest.issued_at <= now + MAX_FUTURE_SECONDS))
    throw refusal('snapshot_stale', 'The snapshot is from the future: check the clocks of both planes');
  if (manifest.expires_at - manifest.issued_at > MAX_LEASE_SECONDS)
    throw refusal('snapshot_stale', 'The snapshot has a lease of more than a day');
}

function checkVersion(manifest: Manifest, digest: string, { active, floor }: SnapshotTrust): void {
  const { version, previous } = manifest;
  if (active !== undefined && version === active.version && digest !== active.digest)
    throw refusal('snapshot_equivocation', `Version ${version} has the digests ${active.digest} and ${digest}`);
  if (version < floor || (active !== undefined && version <= active.version)) {
    const newest = Math.max(floor, active?.version ?? 0);
    throw refusal('snapshot_rollback', `Version ${version} is not newer than ${newest}`);
  }
  // The next version names another past than the one that was served here.
  if (active !== undefined && version === active.version + 1 && previous !== active.digest)
    throw refusal('snapshot_equivocation', `Version ${version} follows ${previous}, not the active ${active.digest}`);
}

const refusal = (code: ErrorCode, message: string, cause?: unknown): DaypassError =>
  new DaypassError(code, message, cause === undefined ? {} : { cause });
