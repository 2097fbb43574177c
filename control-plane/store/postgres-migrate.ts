// Brings a PostgreSQL database's schema up to date, one control plane at a time, with others at work.
import { DaypassError } from '@daypass/core/errors';
import { Kysely, sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import type { Migrations } from './migrations/all.ts';
import { createPool } from './pool.ts';
import { openPostgres, type PostgresTimes } from './postgres-connection.ts';
import { postgresDialect } from './postgres-driver.ts';
import { COUNTER, WRITER_LOCK } from './postgres-grouping.ts';
import { TAKEN } from './postgres-taken.ts';
import type { PostgresTarget } from './postgres-url.ts';

/** A migration may rewrite or index a large table. */
const MIGRATION_MS = 60 * 60 * 1000;

/**
 * Runs the migrations that are missing, all in one transaction that holds the lock of all writers: replicas that start
 * together take turns, and one that runs waits. Touches nothing where none is missing.
 * @throws {DaypassError} `database_unavailable` for a database of another program, or one that a newer Daypass has migrated
 */
export const migratePostgres = async (
  target: PostgresTarget,
  times: PostgresTimes,
  migrations: Migrations,
): Promise<void> => {
  const pool = createPool({ open: () => openPostgres(target, { ...times, statementMs: MIGRATION_MS }), size: 1 });
  try {
    const db = new Kysely<unknown>({ dialect: postgresDialect(pool) });
    if (await isCurrent(db, migrations)) return;
    await db.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(${sql.lit(WRITER_LOCK)})`.execute(tx);
      if (await isCurrent(tx, migrations)) return;
      const provider = { getMigrations: async () => ({ ...migrations }) };
      const { error } = await new Migrator({ db: tx, provider }).migrateToLatest();
      if (error !== undefined) throw error;
      await sql`create sequence if not exists ${sql.id(COUNTER)}`.execute(tx);
      await sql`create unlogged table if not exists ${sql.id(TAKEN)}
        (key text collate "C" primary key, until bigint not null)`.execute(tx);
      await sql`create index if not exists ${sql.id(`${TAKEN}_until`)} on ${sql.id(TAKEN)} (until)`.execute(tx);
    });
  } finally {
    await pool.close();
  }
};

/** Whether no migration is missing. */
const isCurrent = async (db: Kysely<unknown>, migrations: Migrations): Promise<boolean> => {
  const { rows: tables } = await sql<{ readonly name: string }>`
    select relname as name from pg_class
    where relnamespace = (select oid from pg_namespace where nspname = current_schema()) and relkind in ('r', 'p', 'v', 'm', 'S')`.execute(
    db,
  );
  if (tables.length === 0) return false;
  if (!tables.some(({ name }) => name === COUNTER) || !tables.some(({ name }) => name === 'kysely_migration')) {
    throw new DaypassError('database_unavailable', 'The database holds tables, and is not one of Daypass');
  }
  const { rows } = await sql<{ readonly name: string }>`select name from kysely_migration`.execute(db);
  const done = new Set(rows.map(({ name }) => name));
  if (![...done].every((name) => Object.hasOwn(migrations, name))) {
    throw new DaypassError('database_unavailable', 'The database was written by a newer version of Daypass');
  }
  return Object.keys(migrations).every((name) => done.has(name));
};
