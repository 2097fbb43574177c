// One PostgreSQL connection as promises: bounds every wait, and turns every failure into a DaypassError.
import { Socket } from 'node:net';
import { DaypassError } from '@daypass/core/errors';
import pg from 'pg';
import { bindable, type Connection } from './connection.ts';
import { databaseError } from './postgres-errors.ts';
import { checkTexts } from './postgres-text.ts';
import type { PostgresTarget } from './postgres-url.ts';

/** An open connection to a server. */
export type PostgresConnection = Omit<Connection, 'exec'> & {
  /** Runs statements that bind nothing, as far as the first that fails; the first row of the last. */
  exec(sql: string): Promise<Record<string, unknown> | undefined>;
  /** The server's process, which its notices name. */
  readonly pid: number;
  /** Hears the notices of the channels that are listened to. */
  onNotice(listener: (notice: { readonly pid: number; readonly payload: string }) => void): void;
  /** Hears, once, that the connection is gone. */
  onEnd(listener: () => void): void;
};

/** How long things may take, in milliseconds. */
export type PostgresTimes = {
  readonly connectMs: number;
  readonly statementMs: number;
  /** Beyond the server's own limit of a statement: then it does not answer at all. */
  readonly silenceMs: number;
  /** A lock that others hold. */
  readonly lockMs: number;
  /** A transaction between two statements: who is frozen must not hold up all replicas. */
  readonly idleInTransactionMs: number;
};

export const TIMES: PostgresTimes = {
  connectMs: 5000,
  statementMs: 30_000,
  silenceMs: 3000,
  lockMs: 15_000,
  idleInTransactionMs: 30_000,
};

/** To say goodbye. */
const CLOSE_MS = 1000;

/** Opens a connection. Throws `database_unavailable`. */
export const openPostgres = async (
  target: PostgresTarget,
  times: PostgresTimes = TIMES,
): Promise<PostgresConnection> => {
  const { password, ...to } = target;
  const socket = new Socket();
  const client = new pg.Client({
    ...to,
    stream: () => socket,
    password: password?.reveal() ?? '',
    application_name: 'daypass',
    connectionTimeoutMillis: times.connectMs,
    statement_timeout: times.statementMs,
    lock_timeout: times.lockMs,
    idle_in_transaction_session_timeout: times.idleInTransactionMs,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    types: { getTypeParser },
  });
  let ended = false;
  let aborted = false;
  const listeners: (() => void)[] = [];
  const end = (): void => {
    if (ended) return;
    ended = true;
    for (const listener of listeners) listener();
  };
  client.on('error', end).on('end', end);
  const pid = await client
    .connect()
    .then(() => client.query(SETTLE))
    .then(({ rows }) => Number(rows[0]?.pid))
    .catch(async (error: unknown) => {
      end();
      socket.destroy();
      throw databaseError(error);
    });

  /** A server that is gone without a word is taken for gone. */
  const ask = async (query: pg.QueryConfig): Promise<pg.QueryResult> => {
    if (ended) throw new DaypassError('database_unavailable', 'The connection to the database is closed');
    const timer = setTimeout(() => {
      end();
      socket.destroy();
    }, times.statementMs + times.silenceMs);
    try {
      const result = await client.query(query);
      aborted = false;
      return result;
    } catch (error) {
      const known = databaseError(error);
      aborted = true;
      if (known.ends) end();
      throw known;
    } finally {
      clearTimeout(timer);
    }
  };
  const askBound = (text: string, parameters: readonly unknown[]): Promise<pg.QueryResult> =>
    ask({ ...named(text, parameters.length), text, values: parameters.map(bound) });
  return {
    pid,
    all: async (text, parameters = []) => (await askBound(text, parameters)).rows,
    run: async (text, parameters = []) => (await askBound(text, parameters)).rowCount ?? 0,
    exec: async (text) => {
      const results: unknown = await ask({ text });
      return (Array.isArray(results) ? results.at(-1) : results)?.rows[0];
    },
    check: checkTexts,
    // From a refused statement to the rollback, the next statement that succeeds.
    aborted: () => aborted,
    broken: () => ended,
    onNotice: (listener) => {
      client.on('notification', ({ processId, payload = '' }) => listener({ pid: processId, payload }));
    },
    onEnd: (listener) => {
      if (ended) listener();
      else listeners.push(listener);
    },
    close: async () => {
      end();
      const timer = setTimeout(() => socket.destroy(), CLOSE_MS);
      await client.end().catch(() => {});
      clearTimeout(timer);
      socket.destroy();
    },
  };
};

/**
 * An answer promises that a change outlasts a power cut: `off` and `local` do not, and what is stronger is kept. Texts of
 * statements mean the same whatever the server is set to.
 */
const SETTLE = `select pg_backend_pid() as pid,
  set_config('synchronous_commit', case when current_setting('synchronous_commit') in ('off', 'local') then 'on' else current_setting('synchronous_commit') end, false),
  set_config('standard_conforming_strings', 'on', false),
  set_config('bytea_output', 'hex', false)`;

/** Kysely's own questions about the schema bind truth values. */
const bound = (value: unknown): unknown => (typeof value === 'boolean' ? value : bindable(value));

const INT8 = 20;

/** 64-bit numbers are numbers: none that is stored is beyond what a number holds exactly. */
const getTypeParser = (oid: number, format?: 'text' | 'binary') =>
  oid === INT8 ? Number : pg.types.getTypeParser(oid, format);

/** Statements that the server keeps prepared for a connection. */
const NAMED_MAX = 200;
/** Lists have a text for each length: only short ones are worth it. */
const NAMED_PARAMETERS_MAX = 16;
const names = new Map<string, string>();

/**
 * The name to prepare a statement under. A statement that says `*` has none: a newer release may add a column while this
 * one runs, and what was prepared before would be refused from then on.
 */
const named = (text: string, parameters: number): { readonly name?: string } => {
  if (text.includes('*') || parameters > NAMED_PARAMETERS_MAX) return {};
  const known = names.get(text);
  if (known !== undefined) return { name: known };
  if (names.size >= NAMED_MAX) return {};
  const name = `d${names.size}`;
  names.set(text, name);
  return { name };
};
