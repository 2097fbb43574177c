// What bounds a caller beyond the list of its services, and what an exchanged or bound token remembers.
import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';

/** Forward only; never edited once landed. */
export const ceilings: Migration = {
  up: async (db: Kysely<unknown>) => {
    await callers(db);
    await tokens(db);
  },
};

const callers = async ({ schema }: Kysely<unknown>): Promise<void> => {
  await schema.alterTable('callers').addColumn('max_ttl_seconds', 'bigint').execute();
  await schema.alterTable('callers').addColumn('clients', 'text').execute();
  await schema.alterTable('callers').addColumn('subjects', 'text').execute();
  await schema
    .alterTable('callers')
    .addColumn('edits_scopes', 'integer', (column) => column.notNull().defaultTo(0))
    .execute();
  await schema
    .alterTable('callers')
    .addColumn('etag', 'text', (column) => column.notNull().defaultTo(''))
    .execute();
  await schema
    .createTable('ceilings')
    .addColumn('caller', 'text', (column) => column.notNull())
    .addColumn('service', 'text', (column) => column.notNull())
    .addColumn('rules', 'text', (column) => column.notNull())
    .addPrimaryKeyConstraint('ceilings_key', ['caller', 'service'])
    .execute();
  await schema.createIndex('ceilings_service').on('ceilings').column('service').execute();
};

const tokens = async ({ schema }: Kysely<unknown>): Promise<void> => {
  await schema.alterTable('tokens').addColumn('jkt', 'text').execute();
  for (const list of ['parents', 'actors']) {
    await schema
      .alterTable('tokens')
      .addColumn(list, 'text', (column) => column.notNull().defaultTo('[]'))
      .execute();
  }
};
