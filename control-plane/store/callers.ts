// Callers of the control plane in the database: hashes of their keys, and what each may do.
import { DaypassError } from '@daypass/core/errors';
import type { Selectable } from 'kysely';
import type { CallerRow, CallerStore } from './interface.ts';
import { type Db, fromJson, limitOf, type Tables } from './tables.ts';

export const createCallerStore = (db: Db): CallerStore => ({
  insert: async (row) => {
    const { numInsertedOrUpdatedRows } = await db
      .insertInto('callers')
      .values(toColumns(row))
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow();
    if (numInsertedOrUpdatedRows === 0n) {
      throw new DaypassError('already_exists', `There is a caller ${row.name} already`, { field: 'name' });
    }
  },
  get: async (name) => {
    const found = await db.selectFrom('callers').selectAll().where('name', '=', name).executeTakeFirst();
    return found && toRow(found);
  },
  byKeyHash: async (keyHash) => {
    const found = await db.selectFrom('callers').selectAll().where('keyHash', '=', keyHash).executeTakeFirst();
    return found && toRow(found);
  },
  list: async (page) => {
    const query = db.selectFrom('callers').selectAll().orderBy('name').limit(limitOf(page));
    const found = await (page.after === undefined ? query : query.where('name', '>', page.after)).execute();
    return found.map(toRow);
  },
  put: async (row) => {
    const { name, createdAt, ...changed } = toColumns(row);
    // Asked first: PostgreSQL would take nothing more in a transaction in which it has refused a row.
    const taken = db.selectFrom('callers').select('name').where('keyHash', '=', row.keyHash).where('name', '!=', name);
    if ((await taken.executeTakeFirst()) !== undefined) {
      throw new DaypassError('already_exists', 'Another caller has that key', { field: 'key_hash' });
    }
    await db
      .insertInto('callers')
      .values({ name, createdAt, ...changed })
      .onConflict((conflict) => conflict.column('name').doUpdateSet(changed))
      .execute();
  },
  delete: async (name) => {
    const { numDeletedRows } = await db.deleteFrom('callers').where('name', '=', name).executeTakeFirstOrThrow();
    return numDeletedRows > 0n;
  },
});

const toColumns = (row: CallerRow): Tables['callers'] => ({
  name: row.name,
  keyHash: row.keyHash,
  services: JSON.stringify(row.services),
  admin: row.admin ? 1 : 0,
  maxTtlSeconds: row.maxTtlSeconds ?? null,
  clients: row.clients === undefined ? null : JSON.stringify(row.clients),
  subjects: row.subjects === undefined ? null : JSON.stringify(row.subjects),
  editsScopes: row.editsScopes ? 1 : 0,
  etag: row.etag,
  createdAt: row.createdAt,
});

const toRow = (columns: Selectable<Tables['callers']>): CallerRow => {
  const list = (json: string): readonly string[] => fromJson(json, `caller ${columns.name}`);
  return {
    ...columns,
    services: list(columns.services),
    admin: columns.admin === 1,
    maxTtlSeconds: columns.maxTtlSeconds ?? undefined,
    clients: columns.clients === null ? undefined : list(columns.clients),
    subjects: columns.subjects === null ? undefined : list(columns.subjects),
    editsScopes: columns.editsScopes === 1,
  };
};
