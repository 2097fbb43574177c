// A pool of SQLite connections, each lent to one user at a time.
import { DaypassError } from '@daypass/core/errors';
import { openConnection, type SqliteConnection } from './sqlite-connection.ts';

const DEFAULT_WAITING_MAX = 2000;
const DEFAULT_WAIT_MS = 15_000;

export type PoolOptions = {
  readonly file: string;
  readonly size: number;
  /** Run on each connection when it is opened. */
  readonly pragmas: readonly string[];
  /** How long one waits for a connection, and how many may. */
  readonly waitMs?: number;
  readonly waitingMax?: number;
};

/** Connections of one kind. Who waits too long, or behind too many, gets `database_unavailable`. */
export type Pool = {
  acquire(): Promise<SqliteConnection>;
  release(connection: SqliteConnection): void;
  /** Turns newcomers away, waits for who is at work (as long as one waits for a connection), and closes. */
  close(): Promise<void>;
};

/** Opens all connections of a pool. Throws `database_unavailable`. */
export const openPool = async (options: PoolOptions): Promise<Pool> => {
  const all: SqliteConnection[] = [];
  try {
    while (all.length < options.size) {
      const connection = await openConnection(options.file);
      all.push(connection);
      for (const pragma of options.pragmas) await connection.all(`pragma ${pragma}`);
    }
  } catch (error) {
    await Promise.allSettled(all.map((connection) => connection.close()));
    throw error;
  }
  const { waitMs = DEFAULT_WAIT_MS, waitingMax = DEFAULT_WAITING_MAX } = options;
  const free = [...all];
  const waiting = new Set<{ take(connection: SqliteConnection): void; refuse(message: string): void }>();
  let idle: (() => void) | undefined;
  let closing: Promise<void> | undefined;

  const wait = () =>
    new Promise<SqliteConnection>((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        waiting.delete(place);
      };
      const place = {
        take: (connection: SqliteConnection) => {
          leave();
          resolve(connection);
        },
        refuse: (message: string) => {
          leave();
          reject(new DaypassError('database_unavailable', message));
        },
      };
      const timer = setTimeout(() => place.refuse('The database is too busy'), waitMs);
      waiting.add(place);
    });

  const shut = async () => {
    for (const place of waiting) place.refuse('The database is closed');
    if (free.length < all.length) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        idle = resolve;
        timer = setTimeout(resolve, waitMs);
      });
      clearTimeout(timer);
    }
    await Promise.all(all.map((connection) => connection.close()));
  };

  return {
    acquire: async () => {
      if (closing !== undefined) throw new DaypassError('database_unavailable', 'The database is closed');
      const connection = free.pop();
      if (connection !== undefined) return connection;
      if (waiting.size >= waitingMax) throw new DaypassError('database_unavailable', 'The database is too busy');
      return wait();
    },
    release: (connection) => {
      const [next] = waiting;
      if (next !== undefined) return next.take(connection);
      free.push(connection);
      if (free.length === all.length) idle?.();
    },
    close: () => {
      closing ??= shut();
      return closing;
    },
  };
};
