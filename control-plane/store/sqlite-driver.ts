// Kysely's dialect over the `sqlite3` package.
import { DaypassError } from '@daypass/core/errors';
import {
  type DatabaseConnection,
  type Dialect,
  type Driver,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
} from 'kysely';
import { type Lease, lend } from './sqlite-lease.ts';
import type { Pool } from './sqlite-pool.ts';

/** The dialect over a pool. Transactions begin `immediate`: the write lock is taken before anything is read. */
export const sqliteDialect = (pool: Pool): Dialect => dialectOf(() => createDriver(pool));

/** The dialect over one connection whose transaction is somebody else's. */
export const memberDialect = (connection: DatabaseConnection): Dialect => dialectOf(() => memberDriver(connection));

const dialectOf = (makeDriver: () => Driver): Dialect => ({
  createDriver: makeDriver,
  createQueryCompiler: () => new SqliteQueryCompiler(),
  createAdapter: () => new PooledSqliteAdapter(),
  createIntrospector: (db) => new SqliteIntrospector(db),
});

const memberDriver = (connection: DatabaseConnection): Driver => {
  const refuse = async (): Promise<void> => {
    throw new DaypassError('internal', 'A transaction is under way already');
  };
  return {
    init: async () => {},
    acquireConnection: async () => connection,
    beginTransaction: refuse,
    commitTransaction: refuse,
    rollbackTransaction: refuse,
    releaseConnection: async () => {},
    destroy: async () => {},
  };
};

// Kysely's own adapter speaks for one shared connection; the pool does the sharing here, so a migration can be a transaction.
class PooledSqliteAdapter extends SqliteAdapter {
  override get supportsMultipleConnections(): boolean {
    return true;
  }
  override get supportsTransactionalDdl(): boolean {
    return true;
  }
}

const createDriver = (pool: Pool): Driver => {
  const leases = new Map<DatabaseConnection, Lease>();
  return {
    init: async () => {},
    acquireConnection: async () => {
      const lease = lend(await pool.acquire());
      leases.set(lease.connection, lease);
      return lease.connection;
    },
    beginTransaction: async (connection) => {
      await leases.get(connection)?.control('begin immediate');
    },
    commitTransaction: async (connection) => {
      await leases.get(connection)?.end('commit');
    },
    // A failed write may have rolled back already; then there is nothing left to roll back.
    rollbackTransaction: async (connection) => {
      await leases
        .get(connection)
        ?.end('rollback')
        .catch(() => {});
    },
    releaseConnection: async (connection) => {
      const lease = leases.get(connection);
      leases.delete(connection);
      await lease?.settled();
      if (lease !== undefined) pool.release(lease.borrowed);
    },
    destroy: () => pool.close(),
  };
};
