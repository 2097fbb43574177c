// Hands audit events that were just stored to those who follow the audit, each with a bounded queue of its own.
import { DaypassError } from '@daypass/core/errors';
import type { AuditEventRow } from '../store/interface.ts';
import { createNotifier } from './notifier.ts';

/** What came in since the last look. */
export type Taken = {
  readonly events: readonly AuditEventRow[];
  /** Set when events were dropped because they were not taken in time: the time of the oldest of them. */
  readonly lostSince: number | undefined;
};

/** One follower's queue. */
export type Subscription = {
  /** Waits at most `ms` for events. */
  take(ms: number, signal: AbortSignal): Promise<Taken>;
  close(): void;
};

/** The feed of stored events. */
export type AuditFeed = {
  publish(events: readonly AuditEventRow[]): void;
  /** Says that events which were stored since a time may be missing: whoever follows looks for them in the store. */
  lost(since: number): void;
  /** Whether anybody follows. */
  listening(): boolean;
  /** Throws `overloaded` when too many follow already. */
  subscribe(): Subscription;
};

const QUEUE_MAX = 5000;
const SUBSCRIPTIONS_MAX = 64;

type Follower = { offer(events: readonly AuditEventRow[]): void; lost(since: number): void };

/** Makes a feed. */
export const createAuditFeed = (queueMax: number = QUEUE_MAX): AuditFeed => {
  const followers = new Set<Follower>();
  return {
    publish: (events) => {
      for (const { offer } of followers) offer(events);
    },
    lost: (since) => {
      for (const follower of followers) follower.lost(since);
    },
    listening: () => followers.size > 0,
    subscribe: () => {
      if (followers.size >= SUBSCRIPTIONS_MAX)
        throw new DaypassError('overloaded', 'Too many follow the audit already');
      const arrived = createNotifier();
      let queue: AuditEventRow[] = [];
      let lostSince: number | undefined;
      const offer = (events: readonly AuditEventRow[]): void => {
        queue.push(...events);
        if (queue.length > queueMax) {
          lostSince = queue.reduce((oldest, { time }) => Math.min(oldest, time), lostSince ?? Number.POSITIVE_INFINITY);
          queue = [];
        }
        arrived.notify();
      };
      const follower: Follower = {
        offer,
        lost: (since) => {
          lostSince = Math.min(since, lostSince ?? since);
          arrived.notify();
        },
      };
      followers.add(follower);
      return {
        take: async (ms, signal) => {
          if (queue.length === 0 && lostSince === undefined) await arrived.wait(arrived.generation(), ms, signal);
          const taken = { events: queue, lostSince };
          queue = [];
          lostSince = undefined;
          return taken;
        },
        close: () => followers.delete(follower),
      };
    },
  };
};
