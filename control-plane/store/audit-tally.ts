// Counts a service's requests node by node, of the newest alone, so that it costs the same however many there are.
import type { NodeTally, TallyFilter } from './interface.ts';
import type { Db } from './tables.ts';

const OUTCOMES = ['allowed', 'refused', 'failed', 'pending'] as const;
type Outcome = (typeof OUTCOMES)[number];

/** So many of each outcome at most. */
const NEWEST = 5000;

/** Requests since a time, by node. Where there are too many, all are of the time in which the most frequent outcome is whole. */
export const tallyEvents = async (db: Db, filter: TallyFilter): Promise<readonly NodeTally[]> => {
  const { service, until } = filter;
  let since = filter.since;
  for (const outcome of OUTCOMES) since = Math.max(since, await newestSince(db, service, outcome, until));
  const tallies = new Map<string, NodeTally>();
  for (const outcome of OUTCOMES) {
    for (const row of await countsOf(db, { ...filter, since }, outcome)) {
      const known = tallies.get(row.node) ?? { node: row.node, ...NOTHING };
      tallies.set(row.node, {
        node: row.node,
        requests: known.requests + Number(row.requests),
        bad: known.bad + Number(row.bad),
        requestsFrom: known.requestsFrom + Number(row.requestsFrom),
        badFrom: known.badFrom + Number(row.badFrom),
      });
    }
  }
  return [...tallies.values()];
};

const NOTHING = { requests: 0, bad: 0, requestsFrom: 0, badFrom: 0 } as const;

/** The time from which on there are not too many. */
const newestSince = async (db: Db, service: string, outcome: Outcome, until: number): Promise<number> => {
  const found = await db
    .selectFrom('auditEvents')
    .select('time')
    .where('kind', '=', 'request')
    .where('outcome', '=', outcome)
    .where('service', '=', service)
    .where('time', '<', until)
    .orderBy('time', 'desc')
    .orderBy('id', 'desc')
    .limit(1)
    .offset(NEWEST)
    .executeTakeFirst();
  return found === undefined ? 0 : found.time + 1;
};

/** Bad is what Daypass refused, what failed, and what the upstream answered with 401, 403 or an error of its own. */
const countsOf = (db: Db, { service, since, until, version }: TallyFilter, outcome: Outcome) =>
  db
    .selectFrom('auditEvents')
    .select(({ fn, eb, val }) => {
      const isBad =
        outcome === 'refused' || outcome === 'failed'
          ? eb(val(1), '=', 1)
          : eb.or([eb('status', 'in', [401, 403]), eb('status', '>=', 500)]);
      const isFrom = eb('snapshotVersion', '>=', version);
      const counted = (when: typeof isBad) => fn.sum<number>(eb.case().when(when).then(eb.ref('count')).else(0).end());
      return [
        'node',
        fn.sum<number>('count').as('requests'),
        counted(isBad).as('bad'),
        counted(isFrom).as('requestsFrom'),
        counted(eb.and([isBad, isFrom])).as('badFrom'),
      ];
    })
    .where('kind', '=', 'request')
    .where('outcome', '=', outcome)
    .where('service', '=', service)
    .where('time', '>=', since)
    .where('time', '<', until)
    .groupBy('node')
    .execute();
