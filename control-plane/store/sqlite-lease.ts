// A connection as one transaction sees it: one statement at a time, and none once the transaction has ended.
import { DaypassError } from '@daypass/core/errors';
import {
  type CompiledQuery,
  type DatabaseConnection,
  DeleteQueryNode,
  InsertQueryNode,
  type QueryResult,
  SelectQueryNode,
  UpdateQueryNode,
} from 'kysely';
import type { SqliteConnection } from './sqlite-connection.ts';

/** Run before each statement of the lease; what it throws fails the statement. */
export type BeforeStatement = (writes: boolean) => Promise<void>;

/** A loan of a connection. */
export type Lease = {
  readonly borrowed: SqliteConnection;
  readonly connection: DatabaseConnection;
  control(sql: string): Promise<unknown>;
  /** Ends the transaction after what is under way, and takes no statement from then on. */
  end(sql: string): Promise<unknown>;
  /** Takes no more statements, and waits for those under way. */
  settled(): Promise<void>;
  /** Whether it takes no more statements. */
  ended(): boolean;
  /** What broke the transaction: SQLite may have rolled it back, and what came after would be no part of it. */
  broken(): DaypassError | undefined;
};

/** One statement at a time: what an abandoned promise still sends must not slip out of its own transaction into the next. */
export const lend = (borrowed: SqliteConnection, before?: BeforeStatement): Lease => {
  let tail: Promise<unknown> = Promise.resolve();
  let ended = false;
  let broken: DaypassError | undefined;
  const queue = <T>(step: () => Promise<T>): Promise<T> => {
    const result = tail.then(step);
    tail = result.catch(() => {});
    return result;
  };
  const run = async <R>(query: CompiledQuery): Promise<QueryResult<R>> => {
    if (broken !== undefined) throw broken;
    try {
      await before?.(writes(query));
      return await execute<R>(borrowed, query);
    } catch (error) {
      if (error instanceof DaypassError && error.code === 'database_unavailable') broken = error;
      throw error;
    }
  };
  return {
    borrowed,
    connection: {
      executeQuery: <R>(query: CompiledQuery) => {
        if (ended) return Promise.reject(new DaypassError('internal', 'The transaction has ended'));
        return queue(() => run<R>(query));
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
    ended: () => ended,
    broken: () => broken,
  };
};

const execute = async <R>(
  connection: SqliteConnection,
  { query, sql, parameters }: CompiledQuery,
): Promise<QueryResult<R>> => {
  if (isChange(query) && query.returning === undefined) {
    return { rows: [], numAffectedRows: BigInt(await connection.run(sql, parameters)) };
  }
  return { rows: (await connection.all(sql, parameters)) as R[] };
};

type Change = InsertQueryNode | UpdateQueryNode | DeleteQueryNode;

const isChange = (query: CompiledQuery['query']): query is Change =>
  InsertQueryNode.is(query) || UpdateQueryNode.is(query) || DeleteQueryNode.is(query);

/** What is no plain question may write. */
const writes = ({ query }: CompiledQuery): boolean => !SelectQueryNode.is(query);
