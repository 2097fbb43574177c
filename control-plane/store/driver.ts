// Kysely's drivers: over a pool of connections, and over one connection whose transaction is somebody else's.
import { DaypassError } from '@daypass/core/errors';
import type { DatabaseConnection, Driver } from 'kysely';
import { type Lease, lend } from './lease.ts';
import type { Pool } from './pool.ts';

/** The driver of a pool; `begin` is the statement that begins its transactions. */
export const poolDriver = (pool: Pool, begin: string): Driver => {
  const leases = new Map<DatabaseConnection, Lease>();
  return {
    init: async () => {},
    acquireConnection: async () => {
      const lease = lend(await pool.acquire());
      leases.set(lease.connection, lease);
      return lease.connection;
    },
    beginTransaction: async (connection) => {
      await leases.get(connection)?.control(begin);
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

/** The driver of a member of a transaction. */
export const memberDriver = (connection: DatabaseConnection): Driver => {
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
