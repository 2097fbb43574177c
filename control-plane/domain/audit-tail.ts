// Follows the audit: what is stored since a time, then what comes in, each event in each of its states once.
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates, AuditEventFilter, AuditEventRow } from '../store/interface.ts';
import type { AuditFeed } from './audit-feed.ts';
import { fits } from './audit-filter.ts';

/** Longest silence of a tail. */
const HEARTBEAT_MS = 10_000;
/** Most events that are read from the store at once, to begin with or to catch up. */
const REPLAY_MAX = 10_000;
/** What was sent is remembered this far back, so that nothing is sent twice. */
const REMEMBERED_MAX = 2 * REPLAY_MAX;
const PAGE = 1000;

type Deps = {
  readonly read: Pick<Aggregates, 'audit'>;
  readonly feed: Pick<AuditFeed, 'subscribe'>;
  readonly heartbeatMs?: number;
};

/**
 * Makes Tail: events, oldest first; undefined says that the stream is alive. Ends when `signal` aborts.
 * @throws {DaypassError} `overloaded` when there is more to catch up with than can be sent
 */
export const createTail = (deps: Deps) =>
  async function* tail(filter: AuditEventFilter, signal: AbortSignal): AsyncGenerator<AuditEventRow | undefined> {
    // Subscribed before the store is read: between the two nothing can be missed, and what is in both is sent once.
    const subscription = deps.feed.subscribe();
    const memory = createMemory();
    try {
      // Says that from here on nothing is missed, and lets the answer's head go out.
      yield undefined;
      if (filter.since !== undefined) yield* fresh(await replay(deps.read, filter, filter.since), filter, memory);
      while (!signal.aborted) {
        const { events, lostSince } = await subscription.take(deps.heartbeatMs ?? HEARTBEAT_MS, signal);
        if (signal.aborted) return;
        if (lostSince !== undefined) yield* fresh(await replay(deps.read, filter, lostSince), filter, memory);
        yield* fresh(events, filter, memory);
        if (events.length === 0 && lostSince === undefined) yield undefined;
      }
    } finally {
      subscription.close();
    }
  };

const fresh = function* (
  events: readonly AuditEventRow[],
  filter: AuditEventFilter,
  memory: Memory,
): Generator<AuditEventRow> {
  for (const event of events) if (fits(event, filter) && memory.isNews(event)) yield event;
};

/** Stored events since a time, oldest first. */
const replay = async (
  { audit }: Deps['read'],
  filter: AuditEventFilter,
  since: number,
): Promise<readonly AuditEventRow[]> => {
  const found: AuditEventRow[] = [];
  let after: { readonly time: number; readonly id: number } | undefined;
  const reach = { ...filter, since: Math.max(since, filter.since ?? since) };
  for (;;) {
    const rows = await audit.query(reach, { after, limit: PAGE });
    found.push(...rows);
    if (found.length > REPLAY_MAX) {
      throw new DaypassError('overloaded', `more than ${REPLAY_MAX} events to catch up with: ask Query for them`);
    }
    after = rows.at(-1);
    if (rows.length < PAGE) return found.reverse();
  }
};

type Memory = { isNews(event: AuditEventRow): boolean };

const createMemory = (): Memory => {
  const states = new Map<string, string>();
  return {
    isNews: (event) => {
      const key = `${event.node}/${event.seq}`;
      const state = `${event.outcome}/${event.status}/${event.latencyMicros}`;
      const sent = states.get(key);
      // A decision that arrives after its outcome is old news.
      if (sent === state || (sent !== undefined && event.outcome === 'pending')) return false;
      states.delete(key);
      states.set(key, state);
      if (states.size > REMEMBERED_MAX) states.delete(states.keys().next().value ?? key);
      return true;
    },
  };
};
