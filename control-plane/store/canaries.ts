// Changes that some nodes get first: the newest of each pool, running or ended.
import type { Selectable } from 'kysely';
import type { CanaryRow, CanaryStore } from './interface.ts';
import { type Db, fromJson, type Tables } from './tables.ts';

export const createCanaryStore = (db: Db): CanaryStore => ({
  get: async (pool) => {
    const found = await db.selectFrom('canaries').selectAll().where('pool', '=', pool).executeTakeFirst();
    if (found === undefined) return undefined;
    const { change, ...columns } = found;
    return { ...toRow(columns), change: fromJson(change, `canary ${found.id}`) };
  },
  list: async () => {
    const found = await db.selectFrom('canaries').select(COLUMNS).orderBy('pool').limit(POOLS_MAX).execute();
    return found.map(toRow);
  },
  put: async ({ change, ...row }) => {
    const columns = {
      ...row,
      nodes: JSON.stringify(row.nodes),
      promoteAt: row.promoteAt ?? null,
      endedAt: row.endedAt ?? null,
      change: JSON.stringify(change),
    };
    await db
      .insertInto('canaries')
      .values(columns)
      .onConflict((conflict) => conflict.column('pool').doUpdateSet(columns))
      .execute();
  },
});

const POOLS_MAX = 1000;

/** All but the change, which may be long. */
const COLUMNS = [
  'pool',
  'id',
  'nodes',
  'service',
  'caller',
  'method',
  'subject',
  'version',
  'startedAt',
  'promoteAt',
  'requestsBefore',
  'badBefore',
  'endedAt',
  'ending',
  'why',
] as const;

const toRow = (columns: Omit<Selectable<Tables['canaries']>, 'change'>): Omit<CanaryRow, 'change'> => ({
  ...columns,
  nodes: fromJson(columns.nodes, `canary ${columns.id}`),
  promoteAt: columns.promoteAt ?? undefined,
  endedAt: columns.endedAt ?? undefined,
});
