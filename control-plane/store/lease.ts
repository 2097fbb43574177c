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
import type { Connection } from './connection.ts';

/** Run before each statement of the lease; what it throws fails the statement. */
export type BeforeStatement = (query: CompiledQuery) => Promise<void>;

/** A loan of a connection. */
export type Lease = {
  readonly borrowed: Connection;
  readonly connection: DatabaseConnection;
  control(sql: string): Promise<unknown>;
  /** Ends the transaction after what is under way, and takes no statement from then on. */
  end(sql: string): Promise<unknown>;
  /** Takes no more statements, and waits for those under way. */
  settled(): Promise<void>;
  /** Whether it takes no more statements. */
  ended(): boolean;
  /** What broke the transaction: the database may have rolled it back, and what came after would be no part of it. */
  broken(): DaypassError | undefined;
  /** The first refusal of a statement. */
  refused(): unknown;
};

/** One statement at a time: what an abandoned promise still sends must not slip out of its own transaction into the next. */
export const lend = (borrowed: Connection, before?: BeforeStatement): Lease => {
  let tail: Promise<unknown> = Promise.resolve();
  let ended = false;
  let broken: DaypassError | undefined;
  let refused: unknown;
  const queue = <T>(step: () => Promise<T>): Promise<T> => {
    const result = tail.then(step);
    tail = result.catch(() => {});
    return result;
  };
  const run = async <R>(query: CompiledQuery): Promise<QueryResult<R>> => {
    if (broken !== undefined) throw broken;
    try {
      borrowed.check?.(query);
      await before?.(query);
      return await execute<R>(borrowed, query);
    } catch (error) {
      refused ??= error;
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
    control: (sql) => queue(() => borrowed.exec(sql)),
    end: (sql) => {
      ended = true;
      return queue(() => borrowed.exec(sql));
    },
    settled: async () => {
      ended = true;
      await tail;
    },
    ended: () => ended,
    broken: () => broken,
    refused: () => refused,
  };
};

const execute = async <R>(
  connection: Connection,
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
export const writes = ({ query }: CompiledQuery): boolean => !SelectQueryNode.is(query);
