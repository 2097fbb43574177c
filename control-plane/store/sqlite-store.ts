// A store in one SQLite file: makes the file, checks it, brings its schema up to date, and joins the aggregates.
import { DaypassError } from '@daypass/core/errors';
import { CamelCasePlugin, type Dialect, Kysely, sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import { createAggregates } from './aggregates.ts';
import { appendLater } from './append.ts';
import type { Store } from './interface.ts';
import { migrations } from './migrations/all.ts';
import type { Pool } from './pool.ts';
import { rememberReads } from './read-memory.ts';
import { memberDialect, sqliteDialect } from './sqlite-driver.ts';
import { APPLICATION_ID, identityOf, inspectFile, keepLog, makeFile } from './sqlite-file.ts';
import { sqliteGrouping } from './sqlite-grouping.ts';
import { openPool } from './sqlite-pool.ts';
import type { Db, Tables } from './tables.ts';
import { createWriter } from './writer.ts';

/** Opens the file. Throws `database_unavailable`. */
export const openSqlite = async (file: string, busyTimeoutMs: number): Promise<Store> => {
  await makeFile(file);
  await inspectFile(file, { known: Object.keys(migrations), busyTimeoutMs });
  await keepLog(file, busyTimeoutMs);
  await using opened = new AsyncDisposableStack();
  const openSome = async (use: 'write' | 'read', size: number): Promise<Pool> => {
    const pool = await openPool({ file, size, pragmas: pragmasFor(use, busyTimeoutMs) });
    opened.defer(() => pool.close());
    return pool;
  };
  // SQLite has one writer. Two read, so that a long question does not hold up the short ones.
  const writing = await openSome('write', 1);
  await migrate(createDb(sqliteDialect(writing)));
  const reader = createDb(sqliteDialect(await openSome('read', 2)));
  const identity = await identityOf(file);
  const pools = opened.move();

  // SQLite goes on writing to a file that was deleted or replaced, and all of that would be lost.
  const requireSameFile = async (): Promise<void> => {
    if ((await identityOf(file)) === identity) return;
    throw new DaypassError('database_unavailable', 'The database file was replaced');
  };
  const writer = createWriter({ pool: writing, grouping: sqliteGrouping(requireSameFile) });
  pools.defer(() => writer.close());
  return {
    read: createAggregates(reader),
    transact: (work, options) =>
      writer.transact(
        (connection, memory, add) =>
          work(rememberReads(appendLater(createAggregates(createDb(memberDialect(connection))), add), memory)),
        options,
      ),
    // One process has the file: what it has not done itself did not happen.
    takeOnce: async () => true,
    notices: { on: () => ({ [Symbol.dispose]: () => {} }) },
    ping: async () => {
      await requireSameFile();
      await sql`select name from kysely_migration limit 1`.execute(reader);
    },
    close: () => pools.disposeAsync(),
  };
};

const plugins = [new CamelCasePlugin()];
const createDb = (dialect: Dialect): Db => new Kysely<Tables>({ dialect, plugins });

/**
 * What every connection is told (https://sqlite.org/pragma.html).
 *
 * `synchronous = full` because of what an answer promises. A node forgets audit records once they are acknowledged, a
 * revoked token must not come back to life, and a minted one must be known: all have to outlast a power cut, and in WAL
 * mode the default of other stores, `normal`, only outlasts a kill -9. It costs one fsync a transaction, and audit comes
 * in batches. `fullfsync` makes the same true on macOS, and does nothing elsewhere.
 */
export const pragmasFor = (use: 'write' | 'read', busyTimeoutMs: number): readonly string[] => [
  `busy_timeout = ${busyTimeoutMs}`,
  'synchronous = full',
  'fullfsync = on',
  'checkpoint_fullfsync = on',
  'foreign_keys = on',
  'trusted_schema = off',
  'cell_size_check = on',
  'temp_store = memory',
  'cache_size = -16000',
  'journal_size_limit = 67108864',
  `query_only = ${use === 'read' ? 'on' : 'off'}`,
];

// All pending migrations in one transaction that holds the write lock: two processes that start together take turns.
const migrate = (db: Db): Promise<void> =>
  db
    .withoutPlugins()
    .transaction()
    .execute(async (tx) => {
      const { error } = await new Migrator({
        db: tx,
        provider: { getMigrations: async () => ({ ...migrations }) },
      }).migrateToLatest();
      if (error !== undefined) throw error;
      await sql`pragma application_id = ${sql.lit(APPLICATION_ID)}`.execute(tx);
    });
