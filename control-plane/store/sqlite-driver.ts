// Kysely's dialect over the `sqlite3` package.
import {
  type DatabaseConnection,
  type Dialect,
  type Driver,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { memberDriver, poolDriver } from './driver.ts';
import type { Pool } from './pool.ts';

/** The dialect over a pool. Transactions begin `immediate`: the write lock is taken before anything is read. */
export const sqliteDialect = (pool: Pool): Dialect => dialectOf(() => poolDriver(pool, 'begin immediate'));

/** The dialect over one connection whose transaction is somebody else's. */
export const memberDialect = (connection: DatabaseConnection): Dialect => dialectOf(() => memberDriver(connection));

const dialectOf = (makeDriver: () => Driver): Dialect => ({
  createDriver: makeDriver,
  createQueryCompiler: () => new SqliteQueryCompiler(),
  createAdapter: () => new PooledSqliteAdapter(),
  createIntrospector: (db) => new SqliteIntrospector(db),
});

// Kysely's own adapter speaks for one shared connection; the pool does the sharing here, so a migration can be a transaction.
class PooledSqliteAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true;
  }
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}
