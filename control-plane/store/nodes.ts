// Nodes in the database: who may connect, who might once, and what each reported last.
import { DaypassError } from '@daypass/core/errors';
import type { Selectable } from 'kysely';
import type { NodeRow, NodeStore } from './interface.ts';
import { type Db, limitOf, type Tables } from './tables.ts';

/** What a node reported that never reported. */
const SILENT = {
  version: 0,
  digest: '',
  leaseExpiresAt: 0,
  nackVersion: 0,
  nackCode: '',
  nackMessage: '',
  software: '',
  reportedAt: 0,
} as const;

export const createNodeStore = (db: Db): NodeStore => {
  const all = () => db.selectFrom('nodes').selectAll();
  const enrolled = () => db.selectFrom('nodes').where('enrolledAt', 'is not', null).where('expelledAt', 'is', null);
  return {
    get: async (name) => toRow(await all().where('name', '=', name).executeTakeFirst()),
    byKey: async (jwk) => toRow(await all().where('jwk', '=', jwk).limit(1).executeTakeFirst()),
    list: async (page) => {
      const query = all().orderBy('name').limit(limitOf(page));
      const found = await (page.after === undefined ? query : query.where('name', '>', page.after)).execute();
      return found.map((columns) => toRow(columns));
    },
    ofPool: async (pool) => {
      const found = await enrolled().selectAll().where('pool', '=', pool).orderBy('name').execute();
      return found.map((columns) => toRow(columns));
    },
    count: async () => {
      const { rows } = await enrolled()
        .select(({ fn }) => fn.countAll<number | string | bigint>().as('rows'))
        .executeTakeFirstOrThrow();
      return Number(rows);
    },
    insert: async ({ name, pool, jwk, enrolledAt, enrolledBy }) => {
      const { numInsertedOrUpdatedRows } = await db
        .insertInto('nodes')
        .values({ name, pool, jwk, enrolledAt, enrolledBy, expelledAt: null, ...SILENT })
        .onConflict((conflict) => conflict.doNothing())
        .executeTakeFirstOrThrow();
      if (numInsertedOrUpdatedRows === 0n) {
        throw new DaypassError('already_exists', `There was a node ${name} already`, { field: 'name' });
      }
    },
    replace: async ({ name, pool, jwk, enrolledAt, enrolledBy }) => {
      const { numUpdatedRows } = await db
        .updateTable('nodes')
        .set({ pool, jwk, enrolledAt, enrolledBy })
        .where('name', '=', name)
        .executeTakeFirstOrThrow();
      if (numUpdatedRows === 0n) throw notThere(name);
    },
    withdraw: async (name) => {
      await db.updateTable('nodes').set({ enrolledAt: null }).where('name', '=', name).execute();
    },
    expel: async (name, at) => {
      const { numUpdatedRows } = await db
        .updateTable('nodes')
        .set({ expelledAt: at })
        .where('name', '=', name)
        .where('expelledAt', 'is', null)
        .executeTakeFirstOrThrow();
      return numUpdatedRows > 0n;
    },
    report: async ({ name, ...said }) => {
      const { version, digest, leaseExpiresAt, nackVersion, nackCode, nackMessage, software, reportedAt } = said;
      const { numUpdatedRows } = await db
        .updateTable('nodes')
        .set({ version, digest, leaseExpiresAt, nackVersion, nackCode, nackMessage, software, reportedAt })
        .where('name', '=', name)
        .where('enrolledAt', 'is not', null)
        .where('expelledAt', 'is', null)
        .executeTakeFirstOrThrow();
      if (numUpdatedRows === 0n) throw notThere(name);
    },
    pools: async () => {
      const found = await enrolled().select('pool').distinct().orderBy('pool').execute();
      return found.map(({ pool }) => pool);
    },
  };
};

const notThere = (name: string): DaypassError => new DaypassError('not_found', `There is no node ${name}`);

type Columns = Selectable<Tables['nodes']>;

function toRow(columns: Columns): NodeRow;
function toRow(columns: Columns | undefined): NodeRow | undefined;
function toRow(columns: Columns | undefined): NodeRow | undefined {
  if (columns === undefined) return undefined;
  return {
    ...columns,
    enrolledAt: columns.enrolledAt ?? undefined,
    expelledAt: columns.expelledAt ?? undefined,
  };
}
