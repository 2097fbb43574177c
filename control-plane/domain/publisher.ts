// Publishes snapshots: builds and signs a pool's in the transaction of a change, and keeps the newest at hand.
import { DaypassError } from '@daypass/core/errors';
import type { CryptoKey, PublicJwk, SignedKeyBytes } from '@daypass/core/key';
import type { KeyEntry } from '@daypass/core/service';
import {
  type Entry,
  encodeManifest,
  type Manifest,
  manifestDigest,
  merkleRoot,
  parseManifest,
  type SignedSnapshot,
  signManifest,
  verifySnapshot,
} from '@daypass/core/snapshot';
import type { Aggregates, SnapshotRow, Store } from '../store/interface.ts';
import { sha256 } from './digest.ts';
import { createNotifier, type Notifier } from './notifier.ts';
import { readContent } from './snapshot-content.ts';

/** A snapshot that was built and signed. */
export type Published = {
  readonly pool: string;
  readonly version: number;
  /** Hex sha256 of the manifest. */
  readonly digest: string;
  /** Milliseconds. */
  readonly issuedAt: number;
  /** End of the lease, milliseconds. */
  readonly expiresAt: number;
  readonly snapshot: SignedSnapshot;
};

/** Publishes snapshots. */
export type Publisher = {
  /** Builds the next version of a pool inside a transaction. Throws `failed_precondition` for one that no node would take. */
  build(tx: Aggregates, pool: string): Promise<Published>;
  /** Makes a committed snapshot the newest and wakes its watchers. */
  activate(published: Published): void;
  /** The newest of a pool; undefined: there is no such pool. */
  current(pool: string): Published | undefined;
  /** Whether there is such a pool. */
  hasPool(pool: string): boolean;
  readonly pools: readonly string[];
  /** Wakes when any pool has a new snapshot. */
  readonly changed: Notifier;
  /** Takes up the stored snapshots where they still say what the store says, and publishes the others anew. */
  start(): Promise<void>;
  /** Publishes afresh every pool whose snapshot has used up a third of its lease. */
  renew(): Promise<void>;
};

/** What signs a pool's manifests. */
export type SnapshotSigner = { readonly key: CryptoKey; readonly signed: SignedKeyBytes };

type Deps = {
  readonly store: Pick<Store, 'transact'>;
  readonly fleet: string;
  /** The fleet root's public key: every snapshot is verified as a node would before it is stored. */
  readonly root: PublicJwk;
  readonly signers: ReadonlyMap<string, SnapshotSigner>;
  readonly keys: readonly KeyEntry[];
  readonly leaseMs: number;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Makes the publisher of all pools. */
export const createPublisher = (deps: Deps): Publisher => {
  const newest = new Map<string, Published>();
  const changed = createNotifier();

  const build = async (tx: Aggregates, pool: string): Promise<Published> => {
    const last = await tx.snapshots.latest(pool);
    const entries = await readContent(tx, pool, deps);
    const issued = Math.floor(deps.now() / 1000);
    const manifest: Manifest = {
      v: 1,
      fleet: deps.fleet,
      pool,
      version: (last?.version ?? 0) + 1,
      previous: last?.digest ?? '',
      issued_at: issued,
      expires_at: issued + Math.round(deps.leaseMs / 1000),
      features: [],
      root: merkleRoot(entries, sha256),
    };
    const published = await sign(encodeManifest(manifest), manifest, entries, signerOf(deps, pool));
    await checkAsNode(published, last, deps);
    const { version, digest, issuedAt, expiresAt } = published;
    await tx.snapshots.insert({ pool, version, digest, manifest: published.snapshot.manifest, issuedAt, expiresAt });
    return published;
  };

  const resume = async (tx: Aggregates, pool: string): Promise<Published> => {
    const last = await tx.snapshots.latest(pool);
    const manifest = last === undefined ? undefined : tryParse(last.manifest);
    if (last === undefined || manifest === undefined || manifest.fleet !== deps.fleet || isDue(last, deps)) {
      return build(tx, pool);
    }
    const entries = await readContent(tx, pool, deps);
    if (merkleRoot(entries, sha256) !== manifest.root) return build(tx, pool);
    return sign(last.manifest, manifest, entries, signerOf(deps, pool));
  };

  const activate = (published: Published): void => {
    const known = newest.get(published.pool);
    if (known !== undefined && known.version >= published.version) return;
    newest.set(published.pool, published);
    changed.notify();
  };

  return {
    build,
    activate,
    current: (pool) => newest.get(pool),
    hasPool: (pool) => deps.signers.has(pool),
    pools: [...deps.signers.keys()],
    changed,
    start: async () => {
      for (const pool of deps.signers.keys()) activate(await deps.store.transact((tx) => resume(tx, pool)));
    },
    renew: async () => {
      for (const pool of deps.signers.keys()) {
        const known = newest.get(pool);
        if (known !== undefined && !isDue(known, deps)) continue;
        activate(await deps.store.transact((tx) => build(tx, pool)));
      }
    },
  };
};

const signerOf = ({ signers }: Deps, pool: string): SnapshotSigner => {
  const signer = signers.get(pool);
  if (signer === undefined) throw new DaypassError('failed_precondition', `There is no pool \`${pool}\``);
  return signer;
};

/** A third of the lease is over, or the lease is another one than is configured now. */
const isDue = (row: Pick<SnapshotRow, 'issuedAt' | 'expiresAt'>, { now, leaseMs }: Deps): boolean =>
  now() >= row.issuedAt + leaseMs / 3 || now() < row.issuedAt - 1000 || row.expiresAt - row.issuedAt !== leaseMs;

const sign = async (
  bytes: Uint8Array,
  manifest: Manifest,
  entries: readonly Entry[],
  signer: SnapshotSigner,
): Promise<Published> => ({
  pool: manifest.pool,
  version: manifest.version,
  digest: manifestDigest(bytes, sha256),
  issuedAt: manifest.issued_at * 1000,
  expiresAt: manifest.expires_at * 1000,
  snapshot: { manifest: bytes, signature: await signManifest(bytes, signer.key), key: signer.signed, entries },
});

/** A change that would leave every node without a snapshot it can take is refused as a whole. */
const checkAsNode = async (published: Published, last: SnapshotRow | undefined, deps: Deps): Promise<void> => {
  const active = last === undefined ? undefined : { version: last.version, digest: last.digest };
  const trust = { root: deps.root, fleet: deps.fleet, pool: published.pool, active, floor: 0, now: deps.now() / 1000 };
  try {
    await verifySnapshot(published.snapshot, { ...trust, sha256 });
  } catch (cause) {
    if (!(cause instanceof DaypassError)) throw cause;
    throw new DaypassError('failed_precondition', `No data plane would take the snapshot: ${cause.message}`, { cause });
  }
};

const tryParse = (bytes: Uint8Array): Manifest | undefined => {
  try {
    return parseManifest(bytes);
  } catch {
    return undefined;
  }
};
