// Public halves of token keys with their states, and which sealing key the credential of a token is sealed to.
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';

/** Forward only; never edited once landed. */
export const keys: Migration = {
  up: async ({ schema }: Kysely<unknown>) => {
    await schema
      .createTable('keys')
      .addColumn('kid', 'text', (column) => column.primaryKey().notNull())
      .addColumn('use', 'text', (column) => column.notNull())
      .addColumn('jwk', 'text', (column) => column.notNull())
      .addColumn('alg', 'text', (column) => column.notNull())
      .addColumn('issuer', 'text', (column) => column.notNull())
      .addColumn('created_at', 'bigint', (column) => column.notNull())
      .addColumn('activated_at', 'bigint')
      .addColumn('retired_at', 'bigint')
      .addColumn('last_expires_at', 'bigint', (column) => column.notNull().defaultTo(0))
      .execute();
    await schema.alterTable('tokens').addColumn('seal_kid', 'text').execute();
    // Few tokens carry a seal: the index holds those alone.
    await schema
      .createIndex('tokens_seal')
      .on('tokens')
      .columns(['seal_kid', 'expires_at'])
      .where(sql.ref('seal_kid'), 'is not', null)
      .execute();
  },
};
