// Signed manifests in the database, so that versions go on rising after a restart.
import { DaypassError } from '@daypass/core/errors';
import type { SnapshotStore } from './interface.ts';
import type { Db } from './tables.ts';

export const createSnapshotStore = (db: Db): SnapshotStore => ({
  latest: async (pool) => {
    const found = await db
      .selectFrom('snapshots')
      .selectAll()
      .where('pool', '=', pool)
      .orderBy('version', 'desc')
      .limit(1)
      .executeTakeFirst();
    return found && { ...found, manifest: new Uint8Array(found.manifest) };
  },
  insert: async (row) => {
    const { numInsertedOrUpdatedRows } = await db
      .insertInto('snapshots')
      .values(row)
      .onConflict((conflict) => conflict.columns(['pool', 'version']).doNothing())
      .executeTakeFirstOrThrow();
    if (numInsertedOrUpdatedRows === 0n) {
      throw new DaypassError('already_exists', `Pool ${row.pool} has a snapshot ${row.version} already`);
    }
  },
});
