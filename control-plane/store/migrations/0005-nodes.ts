// Tokens by which nodes enrol, and what became of each node since.
import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';

/** Forward only; never edited once landed. */
export const nodes: Migration = {
  up: async ({ schema }: Kysely<unknown>) => {
    await schema
      .createTable('enrolments')
      .addColumn('token_hash', 'text', (column) => column.primaryKey().notNull())
      .addColumn('pool', 'text', (column) => column.notNull())
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('node', 'text', (column) => column.notNull())
      .addColumn('caller', 'text', (column) => column.notNull())
      .addColumn('caller_created_at', 'bigint', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addColumn('expires_at', 'bigint', (column) => column.notNull())
      .execute();
    await schema.createIndex('enrolments_expires_at').on('enrolments').column('expires_at').execute();
    // NULL for the nodes of earlier releases: those that the file still names are enrolled at the next start.
    await schema.alterTable('nodes').addColumn('enrolled_at', 'bigint').execute();
    await schema
      .alterTable('nodes')
      .addColumn('enrolled_by', 'text', (column) => column.notNull().defaultTo(''))
      .execute();
    await schema.alterTable('nodes').addColumn('expelled_at', 'bigint').execute();
    await schema
      .alterTable('nodes')
      .addColumn('nack_message', 'text', (column) => column.notNull().defaultTo(''))
      .execute();
    await schema.createIndex('nodes_jwk').on('nodes').column('jwk').execute();
  },
};
