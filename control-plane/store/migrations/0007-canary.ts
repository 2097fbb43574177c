// Changes that some nodes of a pool get first, and which snapshots are for some nodes alone.
import type { Kysely } from 'kysely';
import type { Migration } from 'kysely/migration';

/** Forward only; never edited once landed. */
export const canary: Migration = {
  up: async ({ schema }: Kysely<unknown>) => {
    // NULL: for every node.
    await schema.alterTable('snapshots').addColumn('nodes', 'text').execute();
    await schema
      .createTable('canaries')
      .addColumn('pool', 'text', (column) => column.primaryKey().notNull())
      .addColumn('id', 'text', (column) => column.notNull())
      .addColumn('nodes', 'text', (column) => column.notNull())
      .addColumn('service', 'text', (column) => column.notNull())
      .addColumn('caller', 'text', (column) => column.notNull())
      .addColumn('method', 'text', (column) => column.notNull())
      .addColumn('subject', 'text', (column) => column.notNull())
      .addColumn('version', 'bigint', (column) => column.notNull())
      .addColumn('started_at', 'bigint', (column) => column.notNull())
      .addColumn('promote_at', 'bigint')
      .addColumn('requests_before', 'bigint', (column) => column.notNull())
      .addColumn('bad_before', 'bigint', (column) => column.notNull())
      .addColumn('ended_at', 'bigint')
      .addColumn('ending', 'text', (column) => column.notNull())
      .addColumn('why', 'text', (column) => column.notNull())
      // What is changed, as JSON.
      .addColumn('change', 'text', (column) => column.notNull())
      .execute();
  },
};
