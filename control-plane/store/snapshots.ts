// Signed manifests in the database: versions go on rising after a restart, and any of them can be shown or sent again.
import { DaypassError } from '@daypass/core/errors';
import type { Selectable } from 'kysely';
import type { SnapshotRow, SnapshotStore } from './interface.ts';
import { changesBetween, entriesAt, pruneEntries, writeChanges } from './snapshot-entries.ts';
import { type Db, limitOf, type Tables } from './tables.ts';

export const createSnapshotStore = (db: Db): SnapshotStore => ({
  latest: async (pool) => {
    const found = await rowsOf(db, pool).orderBy('version', 'desc').limit(1).executeTakeFirst();
    return found && toRow(found);
  },
  insert: async (row, changes) => {
    const { numInsertedOrUpdatedRows } = await db
      .insertInto('snapshots')
      .values(toColumns(row))
      .onConflict((conflict) => conflict.columns(['pool', 'version']).doNothing())
      .executeTakeFirstOrThrow();
    if (numInsertedOrUpdatedRows === 0n) {
      throw new DaypassError('already_exists', `Pool ${row.pool} has a snapshot ${row.version} already`);
    }
    await writeChanges(db, row, changes);
  },
  at: async (pool, version) => {
    const found = await rowsOf(db, pool).where('version', '=', version).executeTakeFirst();
    return found && toRow(found);
  },
  list: async (pool, page) => {
    const query = rowsOf(db, pool).orderBy('version', 'desc').limit(limitOf(page));
    const found = await (page.after === undefined ? query : query.where('version', '<', page.after)).execute();
    return found.map(toRow);
  },
  entriesAt: (pool, version, page) => entriesAt(db, { pool, version }, page),
  changesBetween: (pool, from, to) => changesBetween(db, pool, { from, to }),
  prune: async (pool, before, limit) => {
    const [newest] = await db
      .selectFrom('snapshots')
      .select('version')
      .where('pool', '=', pool)
      .orderBy('version', 'desc')
      .limit(1)
      .execute();
    if (newest === undefined) return 0;
    const end = Math.min(before, newest.version);
    const due = await db
      .selectFrom('snapshots')
      .select('version')
      .where('pool', '=', pool)
      .where('version', '<', end)
      .orderBy('version')
      .limit(limitOf({ limit }))
      .execute();
    const last = due.at(-1)?.version;
    if (last !== undefined) {
      await db.deleteFrom('snapshots').where('pool', '=', pool).where('version', '<=', last).execute();
    }
    // What was in these versions alone; the entries of versions that are still there stay whole.
    return due.length + (await pruneEntries(db, { pool, version: due.length < limit ? end : (last ?? 0) + 1 }, limit));
  },
});

const rowsOf = (db: Db, pool: string) => db.selectFrom('snapshots').selectAll().where('pool', '=', pool);

const toColumns = (row: SnapshotRow): Tables['snapshots'] => ({
  ...row,
  signature: row.signature ?? null,
  keyStatement: row.keyStatement ?? null,
  keySignature: row.keySignature ?? null,
});

const toRow = (found: Selectable<Tables['snapshots']>): SnapshotRow => ({
  ...found,
  manifest: new Uint8Array(found.manifest),
  signature: bytesOf(found.signature),
  keyStatement: bytesOf(found.keyStatement),
  keySignature: bytesOf(found.keySignature),
});

const bytesOf = (column: Uint8Array | null): Uint8Array | undefined =>
  column === null ? undefined : new Uint8Array(column);
