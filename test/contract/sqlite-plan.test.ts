// That SQLite answers every question of the store from an index: its own plans are asked for.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CamelCasePlugin, type CompiledQuery, Kysely, sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAggregates } from '../../control-plane/store/aggregates.ts';
import type { Aggregates, AuditEventFilter, TokenFilter } from '../../control-plane/store/interface.ts';
import { openStore } from '../../control-plane/store/open.ts';
import { sqliteDialect } from '../../control-plane/store/sqlite-driver.ts';
import { openPool } from '../../control-plane/store/sqlite-pool.ts';
import { pragmasFor } from '../../control-plane/store/sqlite-store.ts';
import type { Db, Tables } from '../../control-plane/store/tables.ts';
import { event, NOW, outcome, record, snapshot } from './rows.ts';

type Line = { readonly parent: number; readonly detail: string };

let folder: string;
let database: Db;
let plansOf: (ask: (aggregates: Aggregates) => Promise<unknown>) => Promise<readonly Line[]>;
const closing = new AsyncDisposableStack();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-plan-'));
  const file = join(folder, 'daypass.db');
  await (await openStore({ url: `sqlite:${file}` })).close();
  const pool = await openPool({ file, size: 1, pragmas: pragmasFor('write', 1000) });
  const queries: CompiledQuery[] = [];
  database = new Kysely<Tables>({
    dialect: sqliteDialect(pool),
    plugins: [new CamelCasePlugin()],
    log: ({ query }) => {
      queries.push(query);
    },
  });
  closing.defer(() => pool.close());
  const aggregates = createAggregates(database);
  plansOf = async (ask) => {
    queries.length = 0;
    await ask(aggregates);
    const connection = await pool.acquire();
    const plans: Line[] = [];
    for (const query of queries) {
      const lines = await connection.all(`explain query plan ${query.sql}`, query.parameters);
      plans.push(...lines.map(({ parent, detail }) => ({ parent: Number(parent), detail: String(detail) })));
    }
    pool.release(connection);
    return plans;
  };
});
afterAll(async () => {
  await closing.disposeAsync();
  await rm(folder, { recursive: true, force: true });
});

const CHANGES = [{ kind: 'service', name: 'a', content: undefined }];
const page = { after: undefined, limit: 100 };
const details = (plan: readonly Line[]) => plan.map(({ detail }) => detail);
const TABLES =
  'services|operations|callers|ceilings|tokens|cut_offs|snapshots|snapshot_entries|nodes|enrolments|audit_records|audit_events|audit_outcomes';
const scans = (plan: readonly Line[]) => details(plan).filter((line) => new RegExp(`^SCAN (${TABLES})`).test(line));
const sorts = (plan: readonly Line[]) => details(plan).filter((line) => line.includes('TEMP B-TREE'));

test.each<[string, (aggregates: Aggregates) => Promise<unknown>]>([
  ['a service', ({ services }) => services.get('a')],
  ['a page of services', ({ services }) => services.list({ after: 'a', limit: 5 })],
  ['the services of a pool', ({ services }) => services.ofPool('a', { after: 'a', limit: 5 })],
  ['deleting a service', ({ services }) => services.delete('a')],
  ['the operations of some ids', ({ operations }) => operations.get('a', ['b', 'c'])],
  ['the ids of operations', ({ operations }) => operations.ids('a')],
  [
    'a page of operations that hold a text',
    ({ operations }) => operations.list('a', { contains: 'b' }, { after: 'c', limit: 5 }),
  ],
  ['deleting operations', ({ operations }) => operations.deleteAll('a')],
  ['a caller', ({ callers }) => callers.get('a')],
  ['the caller of a key', ({ callers }) => callers.byKeyHash('a')],
  ['the ceiling of a caller', ({ ceilings }) => ceilings.get('a', 'b')],
  ['the ceilings of a caller', ({ ceilings }) => ceilings.ofCaller('a')],
  ['deleting the ceilings of a service', ({ ceilings }) => ceilings.deleteService('a')],
  ['a token', ({ tokens }) => tokens.get('a')],
  ['some tokens', ({ tokens }) => tokens.getMany(['a', 'b'])],
  ['revoking', ({ tokens }) => tokens.revoke('a', NOW)],
  ['the revoked tokens', ({ tokens }) => tokens.revoked(NOW)],
  ['whether an index is taken', ({ tokens }) => tokens.indicesTaken(1, [2, 3], NOW)],
  ['how full a chunk is', ({ tokens }) => tokens.aliveInChunk(1, NOW)],
  ['cut-offs', ({ cutOffs }) => cutOffs.all(NOW)],
  ['the latest snapshot', ({ snapshots }) => snapshots.latest('a')],
  ['a snapshot', ({ snapshots }) => snapshots.at('a', 1)],
  ['a page of snapshots', ({ snapshots }) => snapshots.list('a', { after: 9, limit: 5 })],
  ['adding a snapshot', ({ snapshots }) => snapshots.insert(snapshot('a', 1), CHANGES)],
  ['the first entries of a snapshot', ({ snapshots }) => snapshots.entriesAt('a', 1, page)],
  [
    'a page of the entries of a snapshot',
    ({ snapshots }) => snapshots.entriesAt('a', 1, { after: { kind: 'b', name: 'c' }, limit: 5 }),
  ],
  ['what was changed between two snapshots', ({ snapshots }) => snapshots.changesBetween('a', 1, 2)],
  ['forgetting snapshots', ({ snapshots }) => snapshots.prune('a', { issuedSince: NOW, least: 3, most: 9 }, 5)],
  ['a node', ({ nodes }) => nodes.get('a')],
  ['the node of a key', ({ nodes }) => nodes.byKey('a')],
  ['a page of nodes', ({ nodes }) => nodes.list({ after: 'a', limit: 5 })],
  ['expelling', ({ nodes }) => nodes.expel('a', NOW)],
  ['an enrolment', ({ enrolments }) => enrolments.get('a')],
  ['using an enrolment up', ({ enrolments }) => enrolments.use('a', 'b')],
  ['deleting enrolments that ended', ({ enrolments }) => enrolments.deleteEnded(NOW)],
  ['the nodes of a pool', ({ nodes }) => nodes.ofPool('a')],
  ['records of a range', ({ audit }) => audit.records('a', 1, 5, 5)],
  ['events of decisions', ({ audit }) => audit.ofDecisions(['a', 'b'])],
  ['the end of a chain', ({ audit }) => audit.last('a')],
  ['the hashes of a chain', ({ audit }) => audit.hashes('a', 1, 100)],
  ['a record of a chain', ({ audit }) => audit.bytes('a', 1)],
  ['storing records that are there', ({ audit }) => audit.insertRecords([record('a', 1), record('a', 1)])],
  ['joining an event', ({ audit }) => audit.insertEvents([event('a'), event('b')])],
  ['joining an outcome', ({ audit }) => audit.complete([outcome('a'), outcome('b')])],
])('%s is found by an index, in order', async (_, ask) => {
  const plan = await plansOf(ask);
  expect(details(plan).filter((line) => line.startsWith('SEARCH'))).not.toEqual([]);
  expect(scans(plan)).toEqual([]);
  expect(sorts(plan)).toEqual([]);
});

test.each<[string, (aggregates: Aggregates) => Promise<unknown>]>([
  ['the first services', ({ services }) => services.list(page)],
  ['the first callers', ({ callers }) => callers.list(page)],
  ['the newest tokens', ({ tokens }) => tokens.list({}, page)],
  ['the newest living tokens', ({ tokens }) => tokens.list({ aliveAt: NOW }, page)],
  ['the pools', ({ nodes }) => nodes.pools()],
])('%s are read along an index, not sorted', async (_, ask) => {
  const plan = await plansOf(ask);
  expect(scans(plan).every((line) => / USING (COVERING )?INDEX /.test(line))).toBe(true);
  expect(scans(plan)).toHaveLength(1);
  expect(sorts(plan)).toEqual([]);
});

const subsets = <T extends object>(filters: T): readonly Partial<T>[] =>
  Object.entries(filters).reduce<readonly Partial<T>[]>(
    (sets, [name, value]) => sets.flatMap((set) => [set, { ...set, [name]: value }]),
    [{}],
  );

const TOKEN_FILTERS = subsets({ service: 'a', client: 'b', caller: 'c', aliveAt: NOW } satisfies TokenFilter)
  .filter(({ service: s, client, caller }) => s ?? client ?? caller)
  .flatMap((filter) => [undefined, { createdAt: NOW, jti: 'x' }].map((after) => ({ filter, after })));

test.each(TOKEN_FILTERS)('tokens by $filter after $after are read along the index of one filter', async (given) => {
  const plan = await plansOf(({ tokens }) => tokens.list(given.filter, { after: given.after, limit: 100 }));
  const lead = (['client', 'caller', 'service'] as const).find((name) => given.filter[name] !== undefined);
  expect(details(plan)).toEqual([expect.stringContaining(`SEARCH tokens USING INDEX tokens_${lead} (${lead}=?`)]);
});

const EVENT_FILTERS = subsets({
  kind: 'request',
  outcome: 'refused',
  service: 'a',
  client: 'b',
  jti: 'c',
  since: NOW,
} satisfies AuditEventFilter).flatMap((filter) =>
  [undefined, { time: NOW, id: 7 }].map((after) => ({ filter, after })),
);

test.each(
  EVENT_FILTERS,
)('events by $filter after $after are read along an index that is in time order', async (given) => {
  const plan = await plansOf(({ audit }) => audit.query(given.filter, { after: given.after, limit: 100 }));
  const lead = (['jti', 'client', 'service'] as const).find((name) => given.filter[name] !== undefined);
  const parts = (given.filter.kind === undefined ? 2 : 1) * (given.filter.outcome === undefined ? 4 : 1);
  const index = `audit_events_${lead ?? 'time'} (kind=? AND outcome=?${lead === undefined ? '' : ` AND ${lead}=?`}`;
  expect(details(plan).filter((line) => line.includes(index))).toHaveLength(parts);
  expect(scans(plan)).toEqual([]);
  // Only the few rows of the parts are sorted together, at the top.
  expect(plan.filter(({ parent, detail }) => parent !== 0 && detail.includes('TEMP B-TREE'))).toEqual([]);
});

test.each(
  subsets({ kind: 'request', outcome: 'refused', service: 'a', jti: 'c', since: NOW } satisfies AuditEventFilter),
)('one decision is found by its id, whatever else is asked: %j', async (filter) => {
  const plan = await plansOf(({ audit }) => audit.query({ ...filter, decisionId: 'd' }, page));
  expect(details(plan).filter((line) => line.includes('audit_events_decision (decision_id=?)'))).toHaveLength(1);
  expect(scans(plan)).toEqual([]);
});

test('a question that no index answers would be seen', async () => {
  const plan = await plansOf(() => sql`select * from services where description = 'a' order by etag`.execute(database));
  expect(scans(plan)).toEqual(['SCAN services']);
  expect(sorts(plan)).toHaveLength(1);
});
