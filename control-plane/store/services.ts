// Registered services in the database.
import { DaypassError } from '@daypass/core/errors';
import type { Selectable } from 'kysely';
import type { ServiceRow, ServiceStore } from './interface.ts';
import { type Db, fromJson, limitOf, type Tables } from './tables.ts';

export const createServiceStore = (db: Db): ServiceStore => ({
  insert: async (row) => {
    const { numInsertedOrUpdatedRows } = await db
      .insertInto('services')
      .values(toColumns(row))
      .onConflict((conflict) => conflict.column('name').doNothing())
      .executeTakeFirstOrThrow();
    if (numInsertedOrUpdatedRows === 0n) {
      throw new DaypassError('already_exists', `There is a service ${row.name} already`, { field: 'name' });
    }
  },
  get: async (name) => {
    const found = await db.selectFrom('services').selectAll().where('name', '=', name).executeTakeFirst();
    return found && toRow(found);
  },
  list: async (page) => {
    const query = db.selectFrom('services').selectAll().orderBy('name').limit(limitOf(page));
    const found = await (page.after === undefined ? query : query.where('name', '>', page.after)).execute();
    return found.map(toRow);
  },
  ofPool: async (pool, page) => {
    const query = db.selectFrom('services').selectAll().where('pool', '=', pool).orderBy('name').limit(limitOf(page));
    const found = await (page.after === undefined ? query : query.where('name', '>', page.after)).execute();
    return found.map(toRow);
  },
  sealed: async (pool, page) => {
    const query = db
      .selectFrom('services')
      .select(['name', 'sealedCredential'])
      .where('pool', '=', pool)
      .where('sealedCredential', 'is not', null)
      .orderBy('name')
      .limit(limitOf(page));
    const found = await (page.after === undefined ? query : query.where('name', '>', page.after)).execute();
    return found.map(({ name, sealedCredential }) => ({ name, sealedCredential: sealedCredential ?? '' }));
  },
  replace: async (row) => {
    const { numUpdatedRows } = await db
      .updateTable('services')
      .set(toColumns(row))
      .where('name', '=', row.name)
      .executeTakeFirstOrThrow();
    if (numUpdatedRows === 0n) throw new DaypassError('not_found', `There is no service ${row.name}`);
  },
  delete: async (name) => {
    const { numDeletedRows } = await db.deleteFrom('services').where('name', '=', name).executeTakeFirstOrThrow();
    return numDeletedRows > 0n;
  },
});

const toColumns = (row: ServiceRow): Tables['services'] => ({
  name: row.name,
  pool: row.config.pool,
  config: JSON.stringify(row.config),
  description: row.description,
  sealedCredential: row.sealedCredential ?? null,
  credentialId: row.credentialId ?? null,
  scopes: JSON.stringify(row.scopes),
  etag: row.etag,
  createdAt: row.createdAt,
  updatedAt: row.updatedAt,
});

const toRow = ({ pool: _, ...columns }: Selectable<Tables['services']>): ServiceRow => ({
  ...columns,
  config: fromJson(columns.config, `service ${columns.name}`),
  scopes: fromJson(columns.scopes, `service ${columns.name}`),
  sealedCredential: columns.sealedCredential ?? undefined,
  credentialId: columns.credentialId ?? undefined,
});
