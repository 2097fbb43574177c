// A signed snapshot: made of a manifest and a content, checked as a node would, kept in the database and taken from there.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DaypassError } from '@daypass/core/errors';
import { type CryptoKey, type PublicJwk, type SignedKeyBytes, verifyKeyChain } from '@daypass/core/key';
import {
  checkSize,
  type Entry,
  type EntryChange,
  encodeManifest,
  type Manifest,
  manifestDigest,
  readEntries,
  type SignedSnapshot,
  signManifest,
  verifyManifest,
} from '@daypass/core/snapshot';
import type { SnapshotRow } from '../store/interface.ts';
import { sha256 } from './digest.ts';
import type { KnownContent } from './known-contents.ts';
import type { Content, Size } from './snapshot-content.ts';
import type { SnapshotState, Step } from './snapshot-state.ts';

/** A snapshot that was built and signed. */
export type Published = SnapshotState & {
  readonly pool: string;
  /** Milliseconds. */
  readonly issuedAt: number;
  /** End of the lease, milliseconds. */
  readonly expiresAt: number;
  readonly snapshot: SignedSnapshot;
  /** The only nodes that it is for; undefined: all of the pool. */
  readonly nodes?: readonly string[] | undefined;
  /** Of all entries. */
  readonly size: Size;
  /** A state before, and what has changed since; undefined where that has to be looked up. */
  readonly step?: Step | undefined;
};

/** What signs a pool's manifests, and what the root says of it. */
export type SnapshotSigner = {
  readonly kid: string;
  readonly key: CryptoKey;
  readonly signed: SignedKeyBytes;
  readonly generation: number;
  /** Seconds since the epoch. */
  readonly notAfter: number;
};

/** Signers by pool. */
export type SnapshotSigners = ReadonlyMap<string, SnapshotSigner>;

/** Who has a snapshot made, by which RPC, and what was changed; empty: the control plane by itself. */
export type Maker = Pick<SnapshotRow, 'caller' | 'method' | 'subject'>;

/** Signs a manifest over a content. */
export const signPublished = async (
  manifest: Manifest,
  content: Content,
  signer: SnapshotSigner,
): Promise<Published> => {
  const bytes = encodeManifest(manifest);
  const { entries } = content.tree;
  return {
    pool: manifest.pool,
    version: manifest.version,
    digest: manifestDigest(bytes, sha256),
    issuedAt: manifest.issued_at * 1000,
    expiresAt: manifest.expires_at * 1000,
    snapshot: { manifest: bytes, signature: await signManifest(bytes, signer.key), key: signer.signed, entries },
    nodes: manifest.nodes,
    size: content.all,
  };
};

/** As it is stored. */
export const rowOf = ({ snapshot, ...published }: Published, maker: Maker): SnapshotRow => {
  const { pool, version, digest, issuedAt, expiresAt, nodes } = published;
  const { manifest, signature, key } = snapshot;
  const signed = { manifest, signature, keyStatement: key.statement, keySignature: key.signature };
  return { pool, version, digest, ...signed, issuedAt, expiresAt, nodes, ...maker };
};

/** As it was published, byte by byte. Throws `internal` for one of a release that kept no signature. */
export const publishedOf = (row: SnapshotRow, content: KnownContent): Published => {
  const { pool, version, digest, manifest, signature, keyStatement, keySignature, issuedAt, expiresAt, nodes } = row;
  if (signature === undefined || keyStatement === undefined || keySignature === undefined) {
    throw new DaypassError('internal', `The snapshot ${version} of ${pool} was stored without its signature`);
  }
  const key = { statement: keyStatement, signature: keySignature };
  const snapshot = { manifest, signature, key, entries: content.tree.entries };
  return { pool, version, digest, issuedAt, expiresAt, snapshot, nodes, size: content.all, step: content.step };
};

/** Whom nodes trust. */
export type NodeTrust = {
  readonly fleet: string;
  /** The fleet root's public key. */
  readonly root: PublicJwk;
  /** Milliseconds. */
  readonly now: () => number;
};

/** A published version, and the generation of the key that signed it. */
export type Trusted = SnapshotState & { readonly generation: number };

/** What a stored version makes a node trust that has activated it. One of a release that kept no signature is of the first. */
export const trustedOf = async (row: SnapshotRow, signer: SnapshotSigner, root: PublicJwk): Promise<Trusted> => {
  const { version, digest, keyStatement: statement, keySignature: signature } = row;
  if (statement === undefined || signature === undefined) return { version, digest, generation: 0 };
  if (Buffer.compare(statement, signer.signed.statement) === 0)
    return { version, digest, generation: signer.generation };
  const { generation = 0 } = await verifyKeyChain({ statement, signature }, root);
  return { version, digest, generation };
};

/** The loop gets its turn after so many entries. */
const TURN_ENTRIES = 200;

/**
 * Verifies a snapshot as a node would that has `active`, and reads these entries of it, those that nobody has read yet.
 * The root is made of the entries themselves and not looked at. Throws `failed_precondition` where no node would take it.
 */
export const checkAsNode = async (
  { pool, snapshot, nodes, size }: Published,
  active: Trusted | undefined,
  unread: readonly Pick<EntryChange, 'kind' | 'name' | 'content'>[],
  { fleet, root, now }: NodeTrust,
): Promise<void> => {
  try {
    checkSize(size.entries, size.bytes);
    const has = { node: nodes?.[0], active, generation: active?.generation, floor: 0, now: now() / 1000 };
    await verifyManifest(snapshot, { root, fleet, pool, ...has, sha256 });
    for (let at = 0; at < unread.length; at += TURN_ENTRIES) {
      if (at > 0) await nextTurn();
      readEntries(unread.slice(at, at + TURN_ENTRIES).filter(isThere));
    }
  } catch (cause) {
    if (!(cause instanceof DaypassError)) throw cause;
    throw new DaypassError('failed_precondition', `No data plane would take the snapshot: ${cause.message}`, { cause });
  }
};

const isThere = (change: EntryChange): change is Entry => change.content !== undefined;
