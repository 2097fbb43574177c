// Enrolled nodes in the database, and what each reported last.
import { DaypassError } from '@daypass/core/errors';
import type { NodeStore } from './interface.ts';
import type { Db } from './tables.ts';

export const createNodeStore = (db: Db): NodeStore => ({
  get: (name) => db.selectFrom('nodes').selectAll().where('name', '=', name).executeTakeFirst(),
  ofPool: (pool) => db.selectFrom('nodes').selectAll().where('pool', '=', pool).orderBy('name').execute(),
  enrol: async ({ name, pool, jwk }) => {
    const nothing = {
      version: 0,
      digest: '',
      leaseExpiresAt: 0,
      nackVersion: 0,
      nackCode: '',
      software: '',
      reportedAt: 0,
    };
    await db
      .insertInto('nodes')
      .values({ name, pool, jwk, ...nothing })
      .onConflict((conflict) => conflict.column('name').doUpdateSet({ pool, jwk }))
      .execute();
  },
  report: async ({ name, version, digest, leaseExpiresAt, nackVersion, nackCode, software, reportedAt }) => {
    const { numUpdatedRows } = await db
      .updateTable('nodes')
      .set({ version, digest, leaseExpiresAt, nackVersion, nackCode, software, reportedAt })
      .where('name', '=', name)
      .executeTakeFirstOrThrow();
    if (numUpdatedRows === 0n) throw new DaypassError('not_found', `There is no node ${name}`);
  },
  pools: async () => {
    const found = await db.selectFrom('nodes').select('pool').distinct().orderBy('pool').execute();
    return found.map(({ pool }) => pool);
  },
});
