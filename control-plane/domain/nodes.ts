// What the data planes say of themselves, and what they are sent.
import { DaypassError } from '@daypass/core/errors';
import { MAX_LEASE_SECONDS } from '@daypass/core/snapshot';
import type { Store } from '../store/interface.ts';
import type { NodeActor } from './actor.ts';
import { createNodeFeed, type NodeState, type SnapshotEvent } from './node-feed.ts';
import type { Notifier } from './notifier.ts';
import type { Publisher } from './publisher.ts';
import { createWholeSnapshots } from './whole-snapshots.ts';

/** What a node reports. */
export type NodeReport = {
  readonly node: string;
  readonly version: number;
  readonly digest: string;
  /** Milliseconds; 0: none. */
  readonly leaseExpiresAt: number;
  readonly refusedVersion: number;
  readonly nackCode: string;
  readonly nackMessage: string;
  readonly software: string;
};

/** One message of a watch. */
export type WatchEvent = SnapshotEvent | { readonly kind: 'heartbeat'; readonly version: number };

/** The nodes. */
export type Nodes = {
  /** What brings a node to the newest snapshot of its pool; undefined: it is there. Throws `unavailable` before the first. */
  next(node: NodeActor, has: NodeState): Promise<SnapshotEvent | undefined>;
  /** Every newer snapshot from now on, the newest first, with heartbeats between; ends when `signal` aborts. */
  watch(node: NodeActor, has: NodeState, signal: AbortSignal): AsyncIterable<WatchEvent>;
  /** Takes a node's report of itself. Throws `permission_denied` for another's. */
  report(node: NodeActor, report: NodeReport): Promise<void>;
};

/** Longest silence of a watch. */
const HEARTBEAT_MS = 10_000;
/** Watches at a time: a node needs one, and a second while it reconnects. */
const WATCHES_MAX = 4096;
const NODE_WATCHES_MAX = 8;

type Deps = {
  readonly store: Pick<Store, 'transact'>;
  readonly publisher: Pick<Publisher, 'current' | 'delta' | 'learn' | 'changed'>;
  readonly reported: Notifier;
  /** Milliseconds. */
  readonly now: () => number;
  /** Tells the operator that a node refused a snapshot. */
  readonly refused: (report: NodeReport) => void;
};

/** Makes the keeper of nodes. */
export const createNodes = (deps: Deps): Nodes => {
  const watches = new Map<string, number>();
  let total = 0;

  const feed = createNodeFeed(deps.publisher);
  const wholes = createWholeSnapshots(() => deps.publisher.changed.notify());

  const enter = (node: string): void => {
    const own = watches.get(node) ?? 0;
    if (total >= WATCHES_MAX || own >= NODE_WATCHES_MAX)
      throw new DaypassError('overloaded', 'There are too many watches');
    watches.set(node, own + 1);
    total += 1;
  };

  const leave = (node: string): void => {
    const own = (watches.get(node) ?? 1) - 1;
    if (own === 0) watches.delete(node);
    else watches.set(node, own);
    total -= 1;
  };

  return {
    next: (node, has) => feed.next(node.pool, has),
    watch: async function* (node, has, signal) {
      enter(node.name);
      try {
        let sent = has;
        // The first message goes out at once, so that the node knows that it is heard.
        let spoken = Number.NEGATIVE_INFINITY;
        while (!signal.aborted) {
          const seen = deps.publisher.changed.generation();
          const event = await feed.next(node.pool, sent);
          using room = event?.kind === 'snapshot' ? wholes.enter(node.name, event.published.size.bytes) : undefined;
          if (event !== undefined && (event.kind === 'delta' || room !== undefined)) {
            const { version, digest } = event.published;
            sent = { ...has, version, digest };
            spoken = performance.now();
            yield event;
            continue;
          }
          const silence = performance.now() - spoken;
          if (silence >= HEARTBEAT_MS) {
            spoken = performance.now();
            yield { kind: 'heartbeat', version: feed.newest(node.pool).version };
            continue;
          }
          // Another pool's change wakes this one, too: the heartbeat is due all the same.
          await deps.publisher.changed.wait(seen, HEARTBEAT_MS - silence, signal);
        }
      } finally {
        leave(node.name);
      }
    },
    report: async (node, report) => {
      if (report.node !== node.name) {
        throw new DaypassError('permission_denied', 'a node reports only for itself', { field: 'node' });
      }
      // A node's word is not taken for more than a lease can be: it would only make every change wait.
      const leaseExpiresAt = Math.min(report.leaseExpiresAt, deps.now() + MAX_LEASE_SECONDS * 1000);
      await deps.store.transact(
        (tx) =>
          tx.nodes.report({
            name: node.name,
            version: report.version,
            digest: report.digest,
            leaseExpiresAt,
            nackVersion: report.refusedVersion,
            nackCode: report.nackCode,
            software: report.software,
            reportedAt: deps.now(),
          }),
        { urgent: true },
      );
      if (report.nackCode !== '') deps.refused(report);
      deps.reported.notify();
    },
  };
};
