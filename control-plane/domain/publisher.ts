// Publishes snapshots: builds and signs a pool's in the transaction of a change, and keeps the newest at hand.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DaypassError } from '@daypass/core/errors';
import type { CryptoKey, PublicJwk, SignedKeyBytes } from '@daypass/core/key';
import {
  checkSize,
  encodeManifest,
  type Manifest,
  manifestDigest,
  parseManifest,
  readEntries,
  type SignedSnapshot,
  signManifest,
  treeRoot,
  verifyManifest,
} from '@daypass/core/snapshot';
import type { Aggregates, SnapshotRow, Store } from '../store/interface.ts';
import { sha256 } from './digest.ts';
import { createKnownContents } from './known-contents.ts';
import { createNotifier, type Notifier } from './notifier.ts';
import { type Content, createContents, type Size } from './snapshot-content.ts';
import type { WrittenServices } from './written-services.ts';

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
  /**
   * Builds the next version of a pool inside the transaction that wrote these services, at the cost of what changed.
   * Throws `failed_precondition` for one that no node would take.
   */
  build(tx: Aggregates, pool: string, written: WrittenServices): Promise<Published>;
  /** What the services of a pool hold, before a transaction has written any. */
  taken(tx: Aggregates, pool: string): Promise<Size>;
  /** Makes a committed snapshot the newest and wakes its watchers. */
  activate(published: Published): void;
  /** The newest of a pool; undefined: there is no such pool. */
  current(pool: string): Published | undefined;
  /** Whether there is such a pool. */
  hasPool(pool: string): boolean;
  pools(): readonly string[];
  /** Wakes when any pool has a new snapshot. */
  readonly changed: Notifier;
  /** Takes up the stored snapshots where they still say what the store says, and publishes the others anew. */
  start(): Promise<void>;
  /** Publishes afresh every pool whose snapshot has used up a third of its lease. */
  renew(): Promise<void>;
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

type Deps = {
  readonly store: Pick<Store, 'transact'>;
  readonly fleet: string;
  /** The fleet root's public key: every snapshot is verified as a node would before it is stored. */
  readonly root: PublicJwk;
  /** By pool, as they are now. */
  readonly signers: () => SnapshotSigners;
  readonly leaseMs: number;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Makes the publisher of all pools. */
export const createPublisher = (deps: Deps): Publisher => {
  const newest = new Map<string, Published>();
  const changed = createNotifier();

  const contents = createContents(deps);
  /** By the digest of the manifest that it was signed with: services are written in no transaction that publishes nothing. */
  const known = createKnownContents();

  /** What the last snapshot of this transaction holds; read from nothing where another process made it. */
  const contentOf = async (tx: Aggregates, pool: string, last: SnapshotRow | undefined): Promise<Content> => {
    const kept = known.get(pool, last?.digest ?? '');
    if (kept !== undefined) return kept;
    const content = await contents.read(tx, pool);
    const isRead = last !== undefined && tryParse(last.manifest)?.root === treeRoot(content.tree, sha256);
    return known.keep(pool, last?.digest ?? '', isRead ? { ...content, unread: [] } : content);
  };

  const build = async (tx: Aggregates, pool: string, written: WrittenServices): Promise<Published> => {
    const last = await tx.snapshots.latest(pool);
    const old = known.get(pool, last?.digest ?? '');
    const content = await (old === undefined ? contents.read(tx, pool) : contents.change(tx, pool, old, written));
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
      root: treeRoot(content.tree, sha256),
    };
    const published = await sign(encodeManifest(manifest), manifest, content, signerOf(deps, pool));
    await checkAsNode(published, content, last, deps);
    const { version, digest, issuedAt, expiresAt } = published;
    await tx.snapshots.insert({ pool, version, digest, manifest: published.snapshot.manifest, issuedAt, expiresAt });
    known.keep(pool, digest, { ...content, unread: [] });
    return published;
  };

  const resume = async (tx: Aggregates, pool: string): Promise<Published> => {
    const last = await tx.snapshots.latest(pool);
    const manifest = last === undefined ? undefined : tryParse(last.manifest);
    if (last === undefined || manifest === undefined || manifest.fleet !== deps.fleet || isDue(last, deps)) {
      return build(tx, pool, NO_SERVICES);
    }
    const content = await contentOf(tx, pool, last);
    if (treeRoot(content.tree, sha256) !== manifest.root) return build(tx, pool, NO_SERVICES);
    return sign(last.manifest, manifest, content, signerOf(deps, pool));
  };

  const activate = (published: Published): void => {
    const active = newest.get(published.pool);
    if (active !== undefined && active.version >= published.version) return;
    known.commit(published.pool, published.digest);
    newest.set(published.pool, published);
    changed.notify();
  };

  return {
    build,
    taken: async (tx, pool) => (await contentOf(tx, pool, await tx.snapshots.latest(pool))).services,
    activate,
    current: (pool) => newest.get(pool),
    hasPool: (pool) => deps.signers().has(pool),
    pools: () => [...deps.signers().keys()],
    changed,
    start: async () => {
      for (const pool of deps.signers().keys()) activate(await deps.store.transact((tx) => resume(tx, pool)));
    },
    renew: async () => {
      for (const pool of deps.signers().keys()) {
        const active = newest.get(pool);
        if (active !== undefined && !isDue(active, deps)) continue;
        activate(await deps.store.transact((tx) => build(tx, pool, NO_SERVICES)));
      }
    },
  };
};

const signerOf = ({ signers }: Deps, pool: string): SnapshotSigner => {
  const signer = signers().get(pool);
  if (signer === undefined) throw new DaypassError('failed_precondition', `There is no pool \`${pool}\``);
  return signer;
};

/** A third of the lease is over, or the lease is another one than is configured now. */
const isDue = (row: Pick<SnapshotRow, 'issuedAt' | 'expiresAt'>, { now, leaseMs }: Deps): boolean =>
  now() >= row.issuedAt + leaseMs / 3 || now() < row.issuedAt - 1000 || row.expiresAt - row.issuedAt !== leaseMs;

const sign = async (
  bytes: Uint8Array,
  manifest: Manifest,
  { tree: { entries } }: Content,
  signer: SnapshotSigner,
): Promise<Published> => ({
  pool: manifest.pool,
  version: manifest.version,
  digest: manifestDigest(bytes, sha256),
  issuedAt: manifest.issued_at * 1000,
  expiresAt: manifest.expires_at * 1000,
  snapshot: { manifest: bytes, signature: await signManifest(bytes, signer.key), key: signer.signed, entries },
});

/** The loop gets its turn after so many entries. */
const TURN_ENTRIES = 200;

/**
 * A change that would leave every node without a snapshot it can take is refused as a whole. Entries that were in the last
 * one were read then, and the root is made of the entries themselves.
 */
const checkAsNode = async (
  { pool, snapshot }: Published,
  { all, unread }: Content,
  last: SnapshotRow | undefined,
  deps: Deps,
): Promise<void> => {
  const active = last === undefined ? undefined : { version: last.version, digest: last.digest };
  try {
    checkSize(all.entries, all.bytes);
    const trust = { root: deps.root, fleet: deps.fleet, pool, active, floor: 0, now: deps.now() / 1000 };
    await verifyManifest(snapshot, { ...trust, sha256 });
    for (let at = 0; at < unread.length; at += TURN_ENTRIES) {
      if (at > 0) await nextTurn();
      readEntries(unread.slice(at, at + TURN_ENTRIES));
    }
  } catch (cause) {
    if (!(cause instanceof DaypassError)) throw cause;
    throw new DaypassError('failed_precondition', `No data plane would take the snapshot: ${cause.message}`, { cause });
  }
};

const NO_SERVICES: WrittenServices = new Set();

const tryParse = (bytes: Uint8Array): Manifest | undefined => {
  try {
    return parseManifest(bytes);
  } catch {
    return undefined;
  }
};
