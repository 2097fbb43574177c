// What each snapshot held, how it was signed, and who made it.
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';

/** Forward only; never edited once landed. */
export const snapshotEntries: Migration = {
  up: async ({ schema }: Kysely<unknown>) => {
    for (const name of ['signature', 'key_statement', 'key_signature']) {
      await schema.alterTable('snapshots').addColumn(name, 'blob').execute();
    }
    for (const name of ['caller', 'method', 'subject']) {
      await schema
        .alterTable('snapshots')
        .addColumn(name, 'text', (column) => column.notNull().defaultTo(''))
        .execute();
    }
    await schema
      .createTable('snapshot_entries')
      .addColumn('pool', 'text', (column) => column.notNull())
      .addColumn('kind', 'text', (column) => column.notNull())
      .addColumn('name', 'text', (column) => column.notNull())
      .addColumn('content', 'blob', (column) => column.notNull())
      .addColumn('from_version', 'bigint', (column) => column.notNull())
      .addColumn('to_version', 'bigint')
      .addPrimaryKeyConstraint('snapshot_entries_key', ['pool', 'kind', 'name', 'from_version'])
      .execute();
    // What came and what went between two versions is read along these, a part at a time.
    await schema
      .createIndex('snapshot_entries_from')
      .on('snapshot_entries')
      .columns(['pool', 'from_version', 'kind', 'name'])
      .execute();
    await schema
      .createIndex('snapshot_entries_to')
      .on('snapshot_entries')
      .columns(['pool', 'to_version', 'kind', 'name'])
      .where(sql.ref('to_version'), 'is not', null)
      .execute();
  },
};
