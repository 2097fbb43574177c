// The operations that rules of a service may name by `op:ID`.
import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';

/** Forward only; never edited once landed. */
export const operations: Migration = {
  up: async ({ schema }: Kysely<unknown>) => {
    await schema
      .createTable('operations')
      .addColumn('service', 'text', (column) => column.notNull())
      .addColumn('id', 'text', (column) => column.notNull())
      .addColumn('rule', 'text', (column) => column.notNull())
      .addColumn('summary', 'text', (column) => column.notNull())
      .addColumn('search', 'text', (column) => column.notNull())
      .addPrimaryKeyConstraint('operations_key', ['service', 'id'])
      .execute();
  },
};
