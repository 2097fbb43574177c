// Publishes snapshots: builds and signs a pool's in the transaction of a change, and keeps the newest of all replicas at hand.
import { DaypassError } from '@daypass/core/errors';
import { CANARY_FEATURE, type Manifest, treeRoot } from '@daypass/core/snapshot';
import type { Aggregates, CanaryRow, SnapshotRow, Store } from '../store/interface.ts';
import { sha256 } from './digest.ts';
import { createKnownContents, type KnownContent } from './known-contents.ts';
import { createNotifier, type Notifier } from './notifier.ts';
import {
  checkAsNode,
  type Maker,
  type NodeTrust,
  type Published,
  publishedOf,
  rowOf,
  type SnapshotSigner,
  type SnapshotSigners,
  signPublished,
  trustedOf,
} from './published.ts';
import { shareAsked } from './share-asked.ts';
import { createContents, NOTHING, type Size } from './snapshot-content.ts';
import { createDeltas, type SnapshotDelta } from './snapshot-delta.ts';
import { createSnapshotLines } from './snapshot-lines.ts';
import type { SnapshotState } from './snapshot-state.ts';
import { readStored, readVersion, storedLines } from './stored-content.ts';
import type { WrittenServices } from './written-services.ts';

export type { Published, SnapshotSigner, SnapshotSigners } from './published.ts';

/** Publishes snapshots. */
export type Publisher = {
  /**
   * Builds the next version of a pool inside the transaction that wrote these services, at the cost of what changed; while
   * a canary runs, then one more for its nodes. Throws `failed_precondition` for one that no node would take.
   */
  build(tx: Aggregates, pool: string, written: WrittenServices, maker: Maker): Promise<readonly Published[]>;
  /** What the services of a pool hold, before a transaction has written any. */
  taken(tx: Aggregates, pool: string): Promise<Size>;
  /** Makes a committed snapshot the newest and wakes its watchers. */
  activate(published: Published): void;
  /** The newest of a pool for a node, without a name for one in no canary; undefined: there is no such pool. */
  current(pool: string, node?: string): Published | undefined;
  /** What leads from a state to the newest for a node; undefined: that is not known, or not less than the whole. */
  delta(pool: string, has: SnapshotState, node?: string): Promise<SnapshotDelta | undefined>;
  /** Whether there is such a pool. */
  hasPool(pool: string): boolean;
  pools(): readonly string[];
  /** Wakes when any pool has a new snapshot. */
  readonly changed: Notifier;
  /** Takes up the stored snapshots where they still say what the store says, and publishes the others anew. */
  start(): Promise<void>;
  /** Takes up what other replicas have published since. */
  learn(): Promise<void>;
  /** Publishes afresh every pool whose snapshot has used up a third of its lease. */
  renew(): Promise<void>;
};

type Deps = NodeTrust & {
  readonly store: Pick<Store, 'transact' | 'read'>;
  /** By pool, as they are now. */
  readonly signers: () => SnapshotSigners;
  readonly leaseMs: number;
};

/** Makes the publisher of all pools. Every snapshot is verified as a node would before it is stored, or taken from there. */
export const createPublisher = (deps: Deps): Publisher => {
  const { store } = deps;
  const lines = createSnapshotLines();
  const changed = createNotifier();
  const deltas = createDeltas(store.read.snapshots);

  const contents = createContents(deps);
  /** By the digest of the manifest that it was signed with: services are written in no transaction that publishes nothing. */
  const known = createKnownContents();

  /** What a stored version holds, read by what changed since the newest; undefined where its entries are not those signed. */
  const contentOf = async (
    { snapshots }: Pick<Aggregates, 'snapshots'>,
    row: SnapshotRow | undefined,
  ): Promise<KnownContent | undefined> => {
    if (row === undefined) return undefined;
    const kept = known.get(row.pool, row.digest);
    if (kept !== undefined) return kept;
    const active = lines.last(row.pool);
    const base = active && known.get(row.pool, active.digest);
    const content = await readVersion(snapshots, row, active && base && { from: stateOf(active), content: base });
    return content && known.keep(row.pool, row.digest, content);
  };

  /** Makes one version after the last. */
  const make = async (
    tx: Aggregates,
    pool: string,
    written: WrittenServices,
    maker: Maker,
    nodes?: readonly string[],
  ): Promise<Published> => {
    const last = await tx.snapshots.latest(pool);
    const old = await contentOf(tx, last);
    const { content, changes } = await (old === undefined
      ? contents.read(tx, pool, await readStored(tx.snapshots, pool, last?.version ?? 0))
      : contents.change(tx, pool, old, written));
    const manifest = nextManifest({ pool, last, root: treeRoot(content.tree, sha256), nodes }, deps);
    const signer = signerOf(deps, pool);
    const published = await signPublished(manifest, content, signer);
    const active = last && (await trustedOf(last, signer, deps.root));
    await checkAsNode(published, active, old === undefined ? content.tree.entries : changes, deps);
    await tx.snapshots.insert(rowOf(published, maker), changes);
    const step = old && last && { from: stateOf(last), changes };
    known.keep(pool, published.digest, { ...content, step });
    return { ...published, step };
  };

  const build: Publisher['build'] = async (tx, pool, written, maker) => {
    const canary = await tx.canaries.get(pool);
    if (canary === undefined) return [await make(tx, pool, written, maker)];
    // What the last version holds of its service may be the canary's: it is read anew.
    const all = await make(tx, pool, new Set([...written, canary.service]), maker);
    if (canary.endedAt !== undefined) return [all];
    return [all, await make(withCanary(tx, canary), pool, new Set([canary.service]), maker, canary.nodes)];
  };

  /** The newest stored ones where they are good for a while and say what the store says, or new ones. */
  const resume = async (tx: Aggregates, pool: string): Promise<readonly Published[]> => {
    const rows = await storedLines(tx.snapshots, pool);
    const canary = await tx.canaries.get(pool);
    const isRunning = canary !== undefined && canary.endedAt === undefined;
    const anew = () => build(tx, pool, NO_SERVICES, ITSELF);
    if (rows.length !== (isRunning ? 2 : 1)) return anew();
    const taken: Published[] = [];
    for (const row of rows) {
      const content = await contentOf(tx, row);
      if (content === undefined || isDue(row, deps)) return anew();
      // Keys, nodes and the time may have changed since.
      if ((await contents.change(tx, pool, content, NO_SERVICES)).changes.length > 0) return anew();
      if (!isSignedBy(row, signerOf(deps, pool))) return anew();
      const published = await takeUp(row, content).catch((error: unknown) => {
        if (!(error instanceof DaypassError)) throw error;
      });
      if (published === undefined) return anew();
      taken.push(published);
    }
    return taken;
  };

  /** Throws `failed_precondition` for one that no node would take. */
  const takeUp = async (row: SnapshotRow, content: KnownContent): Promise<Published> => {
    const published = publishedOf(row, content);
    await checkAsNode(published, undefined, [], deps);
    return published;
  };

  const activate = (published: Published): void => {
    if (!lines.add(published)) return;
    known.commit(published.pool, published.digest);
    changed.notify();
  };

  const learnPool = async (pool: string): Promise<void> => {
    const rows = await storedLines(store.read.snapshots, pool);
    if ((rows.at(-1)?.version ?? 0) <= (lines.last(pool)?.version ?? 0)) return;
    const taken: Published[] = [];
    for (const row of rows) {
      const content = await contentOf(store.read, row);
      // A release that keeps no entries has published it: what it stands for is published with them.
      if (content === undefined) return resumePool(pool);
      taken.push(await takeUp(row, content));
    }
    // All at once: a node of the canary is never sent the one for all between the two.
    for (const published of taken) activate(published);
  };

  const resumePool = async (pool: string): Promise<void> => {
    for (const published of await store.transact((tx) => resume(tx, pool))) activate(published);
  };

  const renewPool = async (pool: string): Promise<void> => {
    const active = lines.last(pool);
    if (active === undefined || isDue(active, deps)) await resumePool(pool);
  };

  const forAll = (work: (pool: string) => Promise<void>): Promise<void> => forEach(deps.signers().keys(), work);
  const learnAll = shareAsked(() => forAll(learnPool));
  const learn = (): Promise<void> => learnAll('');

  return {
    build,
    taken: async (tx, pool) => {
      const content = await contentOf(tx, await tx.snapshots.latest(pool));
      return (content ?? (await contents.read(tx, pool, NOTHING)).content).services;
    },
    activate,
    current: lines.current,
    delta: async (pool, has, node) => {
      const to = lines.current(pool, node);
      return to && to.version > has.version ? deltas(to, has) : undefined;
    },
    hasPool: (pool) => deps.signers().has(pool),
    pools: () => [...deps.signers().keys()],
    changed,
    start: async () => {
      for (const pool of deps.signers().keys()) {
        // However many entries there are, no change of another replica waits while they are read.
        await contentOf(store.read, await store.read.snapshots.latest(pool));
        await resumePool(pool);
      }
    },
    learn,
    // What another replica has published and nobody would take is no reason to let a lease end.
    renew: () => forEach([learn, () => forAll(renewPool)], (step) => step()),
  };
};

const NO_SERVICES: WrittenServices = new Set();
const ITSELF: Maker = { caller: '', method: '', subject: '' };

type Next = {
  readonly pool: string;
  readonly last: SnapshotState | undefined;
  readonly root: string;
  readonly nodes: readonly string[] | undefined;
};

const nextManifest = ({ pool, last, root, nodes }: Next, { fleet, leaseMs, now }: Deps): Manifest => {
  const issued = Math.floor(now() / 1000);
  return {
    v: 1,
    fleet,
    pool,
    version: (last?.version ?? 0) + 1,
    previous: last?.digest ?? '',
    issued_at: issued,
    expires_at: issued + Math.round(leaseMs / 1000),
    features: nodes === undefined ? [] : [CANARY_FEATURE],
    root,
    nodes,
  };
};

/** The services of a transaction as the canary's nodes are to have them. */
const withCanary = (tx: Aggregates, { service, change }: CanaryRow): Aggregates => ({
  ...tx,
  services: { ...tx.services, get: async (name) => (name === service ? change.after : tx.services.get(name)) },
});

const stateOf = ({ version, digest }: SnapshotState): SnapshotState => ({ version, digest });

/** Does all of them, whatever becomes of one; throws what the first that failed threw. */
const forEach = async <T>(all: Iterable<T>, work: (one: T) => Promise<void>): Promise<void> => {
  const failed: unknown[] = [];
  for (const one of all) await work(one).catch((error: unknown) => failed.push(error));
  if (failed.length > 0) throw failed[0];
};

const signerOf = ({ signers }: Deps, pool: string): SnapshotSigner => {
  const signer = signers().get(pool);
  if (signer === undefined) throw new DaypassError('failed_precondition', `There is no pool \`${pool}\``);
  return signer;
};

/** So much may the clocks of two replicas differ before one publishes anew what the other has published. */
const CLOCKS_MS = 60_000;

/** A third of the lease is over, or the lease is another one than is configured now. */
const isDue = (row: Pick<SnapshotRow, 'issuedAt' | 'expiresAt'>, { now, leaseMs }: Deps): boolean =>
  now() >= row.issuedAt + leaseMs / 3 || now() < row.issuedAt - CLOCKS_MS || row.expiresAt - row.issuedAt !== leaseMs;

const isSignedBy = ({ keyStatement }: SnapshotRow, { signed }: SnapshotSigner): boolean =>
  keyStatement !== undefined && Buffer.compare(keyStatement, signed.statement) === 0;
