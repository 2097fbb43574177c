// Kysely's dialect over the `sqlite3` package.
import { DaypassError } from '@daypass/core/errors';
import {
  type CompiledQuery,
  type DatabaseConnection,
  DeleteQueryNode,
  type Dialect,
  type Driver,
  InsertQueryNode,
  type QueryResult,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  UpdateQueryNode,
} from 'kysely';
import type { SqliteConnection } from './sqlite-connection.ts';
import type { Pool } from './sqlite-pool.ts';

/** The dialect over a pool. Transactions begin `immediate`: the write lock is taken before anything is read. */
export const sqliteDialect = (pool: Pool): Dialect => ({
  createDriver: () => createDriver(pool),
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

type Lease = {
  readonly borrowed: SqliteConnection;
  readonly connection: DatabaseConnection;
  control(sql: string): Promise<unknown>;
  /** Ends the transaction after what is under way, and takes no statement from then on. */
  end(sql: string): Promise<unknown>;
  settled(): Promise<void>;
};

// One statement at a time: what an abandoned promise still sends must not slip out of its own transaction into the next.
const lend = (borrowed: SqliteConnection): Lease => {
  let tail: Promise<unknown> = Promise.resolve();
  let ended = false;
  const queue = <T>(step: () => Promise<T>): Promise<T> => {
    const result = tail.then(step);
    tail = result.catch(() => {});
    return result;
  };
  return {
    borrowed,
    connection: {
      executeQuery: <R>(query: CompiledQuery) => {
        if (ended) return Promise.reject(new DaypassError('internal', 'The transaction has ended'));
        return queue(() => execute<R>(borrowed, query));
      },
      streamQuery: () => {
        throw new DaypassError('internal', 'Streaming is not supported');
      },
    },
    control: (sql) => queue(() => borrowed.run(sql)),
    end: (sql) => {
      ended = true;
      return queue(() => borrowed.run(sql));
    },
    settled: async () => {
      ended = true;
      await tail;
    },
  };
};

const execute = async <R>(
  connection: SqliteConnection,
  { query, sql, parameters }: CompiledQuery,
): Promise<QueryResult<R>> => {
  const writes = InsertQueryNode.is(query) || UpdateQueryNode.is(query) || DeleteQueryNode.is(query);
  if (writes && query.returning === undefined) {
    return { rows: [], numAffectedRows: BigInt(await connection.run(sql, parameters)) };
  }
  return { rows: (await connection.all(sql, parameters)) as R[] };
};
