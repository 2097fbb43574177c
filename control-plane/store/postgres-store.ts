// A store in PostgreSQL, which any number of control planes share: brings its schema up to date, and joins the aggregates.
import { CamelCasePlugin, type Dialect, Kysely } from 'kysely';
import { createAggregates } from './aggregates.ts';
import { appendLater } from './append.ts';
import type { Store } from './interface.ts';
import { migrations as allMigrations, type Migrations } from './migrations/all.ts';
import { createPool } from './pool.ts';
import { openPostgres, type PostgresTimes, TIMES } from './postgres-connection.ts';
import { postgresDialect, postgresMember } from './postgres-driver.ts';
import { postgresGrouping } from './postgres-grouping.ts';
import { migratePostgres } from './postgres-migrate.ts';
import { createNotices } from './postgres-notices.ts';
import { createTakeOnce } from './postgres-taken.ts';
import { noteChains } from './postgres-topics.ts';
import type { PostgresTarget } from './postgres-url.ts';
import { rememberReads } from './read-memory.ts';
import type { Db, Tables } from './tables.ts';
import { createWriter } from './writer.ts';

export type PostgresOptions = {
  readonly target: PostgresTarget;
  /** One writes and one listens; the others read. */
  readonly connectionsMax: number;
  readonly times?: PostgresTimes;
  readonly migrations?: Migrations;
};

/** Opens the database. Throws `database_unavailable`. */
export const openPostgresStore = async (options: PostgresOptions): Promise<Store> => {
  const { target, connectionsMax, times = TIMES, migrations = allMigrations } = options;
  await migratePostgres(target, times, migrations);
  await using opened = new AsyncDisposableStack();
  const open = () => openPostgres(target, times);
  const reading = createPool({ open, size: Math.max(1, connectionsMax - 2) });
  opened.defer(() => reading.close());
  const writing = createPool({ open, size: 1 });
  opened.defer(() => writing.close());
  const notices = createNotices({ open });
  opened.defer(() => notices.close());
  const writer = createWriter({ pool: writing, grouping: postgresGrouping(notices), groupMs: GROUP_MS });
  opened.defer(() => writer.close());
  const reader = createDb(postgresDialect(reading));
  const closing = opened.move();
  return {
    read: createAggregates(reader),
    transact: (work, options) =>
      writer.transact((connection, memory, add) => {
        const tx = appendLater(createAggregates(createDb(postgresMember(connection))), add);
        return work(rememberReads(noteChains(tx, notices.stored), memory));
      }, options),
    notices,
    takeOnce: createTakeOnce(reader),
    ping: async () => {
      await reader.selectFrom('snapshots').select('version').limit(1).execute();
    },
    close: () => closing.disposeAsync(),
  };
};

/**
 * A group that comes after another control plane's reads all anew that it remembered: it has to take in more than the first
 * for which that was done. The others wait no longer for it than for the lock.
 */
const GROUP_MS = 40;

const plugins = [new CamelCasePlugin()];
const createDb = (dialect: Dialect): Db => new Kysely<Tables>({ dialect, plugins });
