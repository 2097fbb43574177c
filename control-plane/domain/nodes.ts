// What the data planes say of themselves, and what they are sent.
import { DaypassError } from '@daypass/core/errors';
import { MAX_LEASE_SECONDS } from '@daypass/core/snapshot';
import type { Store } from '../store/interface.ts';
import type { NodeActor } from './actor.ts';
import { createNodeFeed, type NodeState, type SnapshotEvent } from './node-feed.ts';
import type { Notifier } from './notifier.ts';
import type { Publisher } from './publisher.ts';
import { createWatches } from './watches.ts';
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
  /** What brings a node to the newest snapshot of its pool; undefined: it is there. Throws `unavailable` before the first, `overloaded`. */
  next(node: NodeActor, has: NodeState): Promise<SnapshotEvent | undefined>;
  /** Every newer snapshot from now on, the newest first, with heartbeats between; ends when `signal` aborts. */
  watch(node: NodeActor, has: NodeState, signal: AbortSignal): AsyncIterable<WatchEvent>;
  /** Takes a node's report of itself. Throws `permission_denied` for another's. */
  report(node: NodeActor, report: NodeReport): Promise<void>;
  /** Somebody was expelled, here or at another control plane: ends those streams, and lets nobody wait for them. */
  recheck(): Promise<void>;
};

/** Longest silence of a watch: a node leaves a control plane that is silent for 5 s (data-plane/control-planes.ts). */
const HEARTBEAT_MS = 1_500;

type Deps = {
  readonly store: Pick<Store, 'transact' | 'read'>;
  readonly publisher: Pick<Publisher, 'current' | 'delta' | 'learn' | 'changed'>;
  readonly reported: Notifier;
  /** Milliseconds. */
  readonly now: () => number;
  /** Tells the operator that a node refused a snapshot. */
  readonly refused: (report: NodeReport) => void;
};

/** Makes the keeper of nodes. */
export const createNodes = (deps: Deps): Nodes => {
  const watches = createWatches(deps.store.read.nodes);

  const feed = createNodeFeed(deps.publisher);
  const wholes = createWholeSnapshots(() => deps.publisher.changed.notify());

  return {
    next: async (node, has) => {
      const event = await feed.next(node, has);
      if (event?.kind === 'snapshot') wholes.pass(node.name, event.published.size.bytes);
      return event;
    },
    watch: async function* (node, has, stopped) {
      using place = await watches.enter(node);
      const signal = AbortSignal.any([stopped, place.ended]);
      let sent = has;
      // The first message goes out at once, so that the node knows that it is heard.
      let spoken = Number.NEGATIVE_INFINITY;
      while (!signal.aborted) {
        const seen = deps.publisher.changed.generation();
        const event = await feed.next(node, sent);
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
          yield { kind: 'heartbeat', version: feed.newest(node).version };
          continue;
        }
        // Another pool's change wakes this one, too: the heartbeat is due all the same.
        await deps.publisher.changed.wait(seen, HEARTBEAT_MS - silence, signal);
      }
      place.ended.throwIfAborted();
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
            nackMessage: report.nackMessage,
            software: report.software,
            reportedAt: deps.now(),
          }),
        { urgent: true },
      );
      if (report.nackCode !== '') deps.refused(report);
      deps.reported.notify();
    },
    recheck: async () => {
      deps.reported.notify();
      await watches.recheck();
    },
  };
};
