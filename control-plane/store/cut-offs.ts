// Revocation cut-offs in the database.
import { DaypassError } from '@daypass/core/errors';
import type { CutOffStore } from './interface.ts';
import { type Db, fromJson } from './tables.ts';

export const createCutOffStore = (db: Db): CutOffStore => ({
  insert: async ({ id, entry, createdAt }) => {
    const mintedBefore = Math.round(entry.minted_before * 1000);
    const { numInsertedOrUpdatedRows } = await db
      .insertInto('cutOffs')
      .values({ id, entry: JSON.stringify(entry), mintedBefore, createdAt })
      .onConflict((conflict) => conflict.column('id').doNothing())
      .executeTakeFirstOrThrow();
    if (numInsertedOrUpdatedRows === 0n)
      throw new DaypassError('already_exists', 'There is a cut-off of that id already');
  },
  all: async (since) => {
    const found = await db
      .selectFrom('cutOffs')
      .select(['id', 'entry', 'createdAt'])
      .where('mintedBefore', '>', since)
      .orderBy('mintedBefore')
      .orderBy('id')
      .execute();
    return found.map((columns) => ({ ...columns, entry: fromJson(columns.entry, `cut-off ${columns.id}`) }));
  },
});
