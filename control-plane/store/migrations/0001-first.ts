// The first schema: every aggregate's table, and the indices that its queries use.
import { type Kysely, sql } from 'kysely';
import type { Migration } from 'kysely/migration';

/** Forward only; never edited once landed. */
export const first: Migration = {
  up: async (db: Kysely<unknown>) => {
    await registry(db);
    await tokens(db);
    await rollout(db);
    await audit(db);
  },
};

const registry = async ({ schema }: Kysely<unknown>): Promise<void> => {
  await schema
    .createTable('services')
    .addColumn('name', 'text', (column) => column.primaryKey().notNull())
    .addColumn('pool', 'text', (column) => column.notNull())
    .addColumn('config', 'text', (column) => column.notNull())
    .addColumn('description', 'text', (column) => column.notNull())
    .addColumn('sealed_credential', 'text')
    .addColumn('credential_id', 'text')
    .addColumn('scopes', 'text', (column) => column.notNull())
    .addColumn('etag', 'text', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('updated_at', 'bigint', (column) => column.notNull())
    .execute();
  await schema.createIndex('services_pool').on('services').columns(['pool', 'name']).execute();
  await schema
    .createTable('callers')
    .addColumn('name', 'text', (column) => column.primaryKey().notNull())
    .addColumn('key_hash', 'text', (column) => column.notNull().unique())
    .addColumn('services', 'text', (column) => column.notNull())
    .addColumn('admin', 'integer', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();
};

const tokens = async ({ schema }: Kysely<unknown>): Promise<void> => {
  await schema
    .createTable('tokens')
    .addColumn('jti', 'text', (column) => column.primaryKey().notNull())
    .addColumn('service', 'text', (column) => column.notNull())
    .addColumn('client', 'text', (column) => column.notNull())
    .addColumn('subject', 'text', (column) => column.notNull())
    .addColumn('caller', 'text', (column) => column.notNull())
    .addColumn('allow', 'text', (column) => column.notNull())
    .addColumn('credential_id', 'text')
    .addColumn('status_chunk', 'bigint', (column) => column.notNull())
    .addColumn('status_index', 'bigint', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addColumn('revoked_at', 'bigint')
    .execute();
  // `expires_at` comes last so that ended tokens are passed over within the index.
  const order = ['created_at', 'jti', 'expires_at'];
  await schema.createIndex('tokens_time').on('tokens').columns(order).execute();
  for (const filter of ['service', 'client', 'caller']) {
    await schema
      .createIndex(`tokens_${filter}`)
      .on('tokens')
      .columns([filter, ...order])
      .execute();
  }
  await schema
    .createIndex('tokens_status')
    .on('tokens')
    .columns(['status_chunk', 'status_index', 'expires_at'])
    .execute();
  await schema.createIndex('tokens_chunk').on('tokens').columns(['status_chunk', 'expires_at']).execute();
  await schema
    .createIndex('tokens_revoked')
    .on('tokens')
    .columns(['expires_at', 'status_chunk', 'status_index'])
    .where(sql.ref('revoked_at'), 'is not', null)
    .execute();
};

const rollout = async ({ schema }: Kysely<unknown>): Promise<void> => {
  await schema
    .createTable('cut_offs')
    .addColumn('id', 'text', (column) => column.primaryKey().notNull())
    .addColumn('entry', 'text', (column) => column.notNull())
    .addColumn('minted_before', 'bigint', (column) => column.notNull())
    .addColumn('created_at', 'bigint', (column) => column.notNull())
    .execute();
  await schema.createIndex('cut_offs_minted_before').on('cut_offs').columns(['minted_before', 'id']).execute();
  await schema
    .createTable('snapshots')
    .addColumn('pool', 'text', (column) => column.notNull())
    .addColumn('version', 'bigint', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('manifest', 'blob', (column) => column.notNull())
    .addColumn('issued_at', 'bigint', (column) => column.notNull())
    .addColumn('expires_at', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('snapshots_key', ['pool', 'version'])
    .execute();
  await schema
    .createTable('nodes')
    .addColumn('name', 'text', (column) => column.primaryKey().notNull())
    .addColumn('pool', 'text', (column) => column.notNull())
    .addColumn('jwk', 'text', (column) => column.notNull())
    .addColumn('version', 'bigint', (column) => column.notNull())
    .addColumn('digest', 'text', (column) => column.notNull())
    .addColumn('lease_expires_at', 'bigint', (column) => column.notNull())
    .addColumn('nack_version', 'bigint', (column) => column.notNull())
    .addColumn('nack_code', 'text', (column) => column.notNull())
    .addColumn('software', 'text', (column) => column.notNull())
    .addColumn('reported_at', 'bigint', (column) => column.notNull())
    .execute();
  await schema.createIndex('nodes_pool').on('nodes').columns(['pool', 'name']).execute();
};

const audit = async ({ schema }: Kysely<unknown>): Promise<void> => {
  await schema
    .createTable('audit_records')
    .addColumn('node', 'text', (column) => column.notNull())
    .addColumn('seq', 'bigint', (column) => column.notNull())
    .addColumn('hash', 'text', (column) => column.notNull())
    .addColumn('bytes', 'blob', (column) => column.notNull())
    .addPrimaryKeyConstraint('audit_records_key', ['node', 'seq'])
    .execute();
  await schema
    .createTable('audit_events')
    .addColumn('id', 'integer', (column) => column.primaryKey().autoIncrement())
    .addColumn('decision_id', 'text', (column) => column.notNull())
    .addColumn('kind', 'text', (column) => column.notNull())
    .addColumn('time', 'bigint', (column) => column.notNull())
    .addColumn('node', 'text', (column) => column.notNull())
    .addColumn('seq', 'bigint', (column) => column.notNull())
    .addColumn('outcome', 'text', (column) => column.notNull())
    .addColumn('reason', 'text', (column) => column.notNull())
    .addColumn('jti', 'text', (column) => column.notNull())
    .addColumn('client', 'text', (column) => column.notNull())
    .addColumn('principal', 'text', (column) => column.notNull())
    .addColumn('caller', 'text', (column) => column.notNull())
    .addColumn('service', 'text', (column) => column.notNull())
    .addColumn('method', 'text', (column) => column.notNull())
    .addColumn('path', 'text', (column) => column.notNull())
    .addColumn('rule', 'text', (column) => column.notNull())
    .addColumn('credential_id', 'text', (column) => column.notNull())
    .addColumn('status', 'integer', (column) => column.notNull())
    .addColumn('request_bytes', 'bigint', (column) => column.notNull())
    .addColumn('response_bytes', 'bigint', (column) => column.notNull())
    .addColumn('latency_micros', 'bigint', (column) => column.notNull())
    .addColumn('snapshot_version', 'bigint', (column) => column.notNull())
    .addColumn('count', 'bigint', (column) => column.notNull())
    .addColumn('source', 'text', (column) => column.notNull())
    .execute();
  await schema
    .createIndex('audit_events_decision')
    .unique()
    .on('audit_events')
    .columns(['decision_id', 'node', 'seq'])
    .execute();
  // Kind and outcome have few values and come first: a question without them is asked once for each (audit-query.ts).
  await schema.createIndex('audit_events_time').on('audit_events').columns(['kind', 'outcome', 'time', 'id']).execute();
  for (const filter of ['service', 'client', 'jti']) {
    await schema
      .createIndex(`audit_events_${filter}`)
      .on('audit_events')
      .columns(['kind', 'outcome', filter, 'time', 'id'])
      .execute();
  }
  // Outcomes whose decision has not come yet.
  await schema
    .createTable('audit_outcomes')
    .addColumn('decision_id', 'text', (column) => column.notNull())
    .addColumn('node', 'text', (column) => column.notNull())
    .addColumn('outcome', 'text', (column) => column.notNull())
    .addColumn('reason', 'text', (column) => column.notNull())
    .addColumn('status', 'integer', (column) => column.notNull())
    .addColumn('request_bytes', 'bigint', (column) => column.notNull())
    .addColumn('response_bytes', 'bigint', (column) => column.notNull())
    .addColumn('latency_micros', 'bigint', (column) => column.notNull())
    .addPrimaryKeyConstraint('audit_outcomes_key', ['decision_id', 'node'])
    .execute();
};
