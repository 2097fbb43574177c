// Enrolment tokens in the database: their hashes alone, until they have ended.
import { DaypassError } from '@daypass/core/errors';
import type { EnrolmentStore } from './interface.ts';
import type { Db } from './tables.ts';

export const createEnrolmentStore = (db: Db): EnrolmentStore => ({
  insert: async (row) => {
    const { numInsertedOrUpdatedRows } = await db
      .insertInto('enrolments')
      .values(row)
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow();
    if (numInsertedOrUpdatedRows === 0n) throw new DaypassError('already_exists', 'There is such an enrolment already');
  },
  get: (tokenHash) => db.selectFrom('enrolments').selectAll().where('tokenHash', '=', tokenHash).executeTakeFirst(),
  count: async () => {
    const { rows } = await db
      .selectFrom('enrolments')
      .select(({ fn }) => fn.countAll<number | string | bigint>().as('rows'))
      .executeTakeFirstOrThrow();
    return Number(rows);
  },
  use: async (tokenHash, node) => {
    const { numUpdatedRows } = await db
      .updateTable('enrolments')
      .set({ node })
      .where('tokenHash', '=', tokenHash)
      .where('node', '=', '')
      .executeTakeFirstOrThrow();
    return numUpdatedRows > 0n;
  },
  deleteEnded: async (at) => {
    await db.deleteFrom('enrolments').where('expiresAt', '<=', at).execute();
  },
});
