// Waits until the data planes have activated a change, and writes the receipt.
import { setTimeout as delay } from 'node:timers/promises';
import type { NodeRow, NodeStore, SnapshotStore } from '../store/interface.ts';
import { createNotifier, type Notifier } from './notifier.ts';
import type { Published } from './publisher.ts';
import { shareAsked } from './share-asked.ts';

/** A node that has not activated a change yet. */
export type MissingNode = {
  readonly node: string;
  /** Milliseconds. */
  readonly leaseExpiresAt: number;
  readonly version: number;
  readonly nackCode: string;
};

/** The receipt of a change. */
export type Rollout = {
  readonly version: number;
  readonly acknowledged: readonly string[];
  readonly missing: readonly MissingNode[];
  /** From the commit of the change until the last node had it, or until nobody waited any longer. */
  readonly waitedMs: number;
};

/** What nodes are to have activated. */
export type Activated = Pick<Published, 'pool' | 'version' | 'digest' | 'nodes'>;

/** Longest and default wait for the data planes. */
export const LONGEST_WAIT_MS = 5000;

/** A look at all nodes waits a while for more of them to report: the longer the more are missing. */
const NODES_A_MS = 2;
const LOOK_MS = 25;

/** How long a change may wait, and what ends the wait. */
export type Waiting = { readonly waitMs: number; readonly signal: AbortSignal };

/** Follows changes to the data planes. */
export type Rollouts = {
  /** Wakes when a node has reported. */
  readonly reported: Notifier;
  /** Waits at most `waitMs` until every node with a running lease has activated what was published. Never rejects for lateness. */
  wait(published: readonly Activated[], waitMs: number, signal: AbortSignal): Promise<Rollout>;
};

type Deps = {
  readonly nodes: Pick<NodeStore, 'ofPool'>;
  readonly snapshots: Pick<SnapshotStore, 'at'>;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Makes the follower of changes. */
export const createRollouts = (deps: Deps): Rollouts => {
  const reported = createNotifier();
  // Each report wakes all that wait: hundreds of changes would each read thousands of rows.
  const ofPool = shareAsked(deps.nodes.ofPool);
  const look = async (published: readonly Activated[], digestAt: DigestAt): Promise<Omit<Rollout, 'waitedMs'>> => {
    const acknowledged: string[] = [];
    const missing: MissingNode[] = [];
    for (const one of published) {
      for (const node of await ofPool(one.pool)) {
        if (!isFor(node.name, one, published)) continue;
        if (await hasActivated(node, one, digestAt)) acknowledged.push(node.name);
        else if (node.leaseExpiresAt > deps.now()) missing.push(missingOf(node, one));
      }
    }
    return {
      version: Math.max(0, ...published.map(({ version }) => version)),
      acknowledged: acknowledged.sort(),
      missing,
    };
  };
  return {
    reported,
    wait: async (published, waitMs, signal) => {
      // The wall clock may be set while this waits.
      const began = performance.now();
      const digestAt = remembered(deps.snapshots);
      for (;;) {
        const seen = reported.generation();
        const rollout = await look(published, digestAt);
        const waitedMs = performance.now() - began;
        const left = waitMs - waitedMs;
        // A node that refused this very version will not take it later: nothing is left to wait for.
        const waitFor = rollout.missing.filter(({ nackCode }) => nackCode === '');
        if (waitFor.length === 0 || left <= 0 || signal.aborted) return { ...rollout, waitedMs };
        await reported.wait(seen, Math.min(left, LONGEST_WAIT_MS), signal);
        // Nodes report at nearly the same time: to look at all of them for each would cost more than the change.
        await pause(Math.min(left, waitFor.length / NODES_A_MS, LOOK_MS), signal);
      }
    },
  };
};

const pause = async (ms: number, signal: AbortSignal): Promise<void> => {
  if (ms >= 1) await delay(ms, undefined, { signal }).catch(() => undefined);
};

/** One of a canary is given the snapshot for it in place of that for all, which is older by one. */
const isFor = (node: string, { pool, nodes }: Activated, published: readonly Activated[]): boolean =>
  nodes === undefined
    ? !published.some((other) => other.pool === pool && other.nodes?.includes(node) === true)
    : nodes.includes(node);

/**
 * What is newer counts where this fleet published it: a node that is ahead of a database that was restored, or that was
 * given what a stolen key signed, refuses the change.
 */
const hasActivated = async (
  node: NodeRow,
  { pool, version, digest }: Activated,
  digestAt: DigestAt,
): Promise<boolean> => {
  if (node.version <= version) return node.version === version && node.digest === digest;
  return (await digestAt(pool, node.version)) === node.digest;
};

/** The digest of a version that was published; undefined: it was not. */
type DigestAt = (pool: string, version: number) => Promise<string | undefined>;

/** Nodes that are ahead mostly have the same version. What was not published yet is asked for again. */
const remembered = (snapshots: Pick<SnapshotStore, 'at'>): DigestAt => {
  const known = new Map<string, string>();
  return async (pool, version) => {
    const key = `${pool} ${version}`;
    const digest = known.get(key) ?? (await snapshots.at(pool, version))?.digest;
    if (digest !== undefined) known.set(key, digest);
    return digest;
  };
};

const missingOf = (node: NodeRow, { version }: Activated): MissingNode => ({
  node: node.name,
  leaseExpiresAt: node.leaseExpiresAt,
  version: node.version,
  nackCode: node.nackVersion >= version ? node.nackCode : '',
});
