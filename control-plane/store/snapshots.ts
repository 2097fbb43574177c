// Signed manifests in the database: versions go on rising after a restart, and any of them can be shown or sent again.
import { DaypassError } from '@daypass/core/errors';
import type { Selectable } from 'kysely';
import type { SnapshotRow, SnapshotStore, SnapshotsKept } from './interface.ts';
import { changeCounts, changesBetween, entriesAt, pruneEntries, writeChanges } from './snapshot-entries.ts';
import { type Db, fromJson, limitOf, type Tables } from './tables.ts';

export const createSnapshotStore = (db: Db): SnapshotStore => ({
  latest: async (pool) => {
    const found = await rowsOf(db, pool).orderBy('version', 'desc').limit(1).executeTakeFirst();
    return found && toRow(found);
  },
  latestForAll: async (pool) => {
    const newest = rowsOf(db, pool).where('nodes', 'is', null).orderBy('version', 'desc').limit(1);
    const found = await newest.executeTakeFirst();
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
  changeCounts: (pool, first, last) => changeCounts(db, { pool, first, last }),
  prune: async (pool, keep, limit) => {
    const due = await dueVersions(db, pool, keep, limit);
    const last = due.at(-1);
    if (last !== undefined) {
      await db.deleteFrom('snapshots').where('pool', '=', pool).where('version', '<=', last).execute();
    }
    const oldest = await versionsOf(db, pool).orderBy('version').limit(1).executeTakeFirst();
    if (oldest === undefined) return due.length;
    return due.length + (await pruneEntries(db, { pool, version: oldest.version }, limit));
  },
});

const versionsOf = (db: Db, pool: string) =>
  db.selectFrom('snapshots').select(['version', 'issuedAt']).where('pool', '=', pool);

/** Those that may go, from the oldest on. */
const dueVersions = async (
  db: Db,
  pool: string,
  { issuedSince, least, most }: SnapshotsKept,
  limit: number,
): Promise<readonly number[]> => {
  const kept = versionsOf(db, pool).orderBy('version', 'desc');
  const newest = await kept.limit(limitOf({ limit: least })).execute();
  const old = versionsOf(db, pool).where('version', '<', newest.at(-1)?.version ?? 0);
  const found = await old.orderBy('version').limit(limitOf({ limit })).execute();
  // Versions rise by one.
  const tooMany = (newest[0]?.version ?? 0) - most;
  const stays = found.findIndex(({ version, issuedAt }) => version > tooMany && issuedAt >= issuedSince);
  return (stays < 0 ? found : found.slice(0, stays)).map(({ version }) => version);
};

const rowsOf = (db: Db, pool: string) => db.selectFrom('snapshots').selectAll().where('pool', '=', pool);

const toColumns = (row: SnapshotRow): Tables['snapshots'] => ({
  ...row,
  signature: row.signature ?? null,
  keyStatement: row.keyStatement ?? null,
  keySignature: row.keySignature ?? null,
  nodes: row.nodes === undefined ? null : JSON.stringify(row.nodes),
});

const toRow = (found: Selectable<Tables['snapshots']>): SnapshotRow => ({
  ...found,
  manifest: new Uint8Array(found.manifest),
  signature: bytesOf(found.signature),
  keyStatement: bytesOf(found.keyStatement),
  keySignature: bytesOf(found.keySignature),
  nodes: found.nodes === null ? undefined : fromJson(found.nodes, `snapshot ${found.version}`),
});

const bytesOf = (column: Uint8Array | null): Uint8Array | undefined =>
  column === null ? undefined : new Uint8Array(column);
