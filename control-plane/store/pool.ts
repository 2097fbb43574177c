// A pool of connections, each lent to one user at a time; one that broke is replaced when the next is wanted.
import { DaypassError } from '@daypass/core/errors';
import type { Connection } from './connection.ts';

const DEFAULT_WAITING_MAX = 2000;
const DEFAULT_WAIT_MS = 15_000;

export type PoolOptions<One extends Connection> = {
  /** Opens one more. Throws `database_unavailable`. */
  readonly open: () => Promise<One>;
  readonly size: number;
  /** How long one waits for a connection, and how many may. */
  readonly waitMs?: number | undefined;
  readonly waitingMax?: number | undefined;
};

/** Connections of one kind. Who waits too long, or behind too many, gets `database_unavailable`. */
export type Pool<One extends Connection = Connection> = {
  acquire(): Promise<One>;
  release(connection: One): void;
  /** Turns newcomers away, waits for who is at work (as long as one waits for a connection), and closes. */
  close(): Promise<void>;
};

type Place<One> = { take(connection: One): void; refuse(error: unknown): void };

const unavailable = (message: string): DaypassError => new DaypassError('database_unavailable', message);

/** Makes a pool that opens its connections when they are first wanted. */
export const createPool = <One extends Connection>(options: PoolOptions<One>): Pool<One> => {
  const { open, size, waitMs = DEFAULT_WAIT_MS, waitingMax = DEFAULT_WAITING_MAX } = options;
  let free: One[] = [];
  const lent = new Set<One>();
  /** How many are being opened. */
  let opening = 0;
  const waiting = new Set<Place<One>>();
  let idle: (() => void) | undefined;
  let closing: Promise<void> | undefined;

  const lend = (connection: One): One => {
    lent.add(connection);
    return connection;
  };

  const wait = () =>
    new Promise<One>((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        waiting.delete(place);
      };
      const place = {
        take: (connection: One) => {
          leave();
          resolve(lend(connection));
        },
        refuse: (error: unknown) => {
          leave();
          reject(error);
        },
      };
      const timer = setTimeout(() => place.refuse(unavailable('The database is too busy')), waitMs);
      waiting.add(place);
    });

  const openOne = async (): Promise<One> => {
    opening += 1;
    try {
      return await open();
    } finally {
      opening -= 1;
    }
  };

  /** Gives a place that has come free to who waits longest. */
  const openNext = (): void => {
    if (waiting.size === 0 || closing !== undefined || free.length + lent.size + opening >= size) return;
    openOne().then(give, (error: unknown) => {
      const [next] = waiting;
      next?.refuse(error);
      openNext();
    });
  };

  const give = (connection: One): void => {
    const [next] = waiting;
    if (next !== undefined) {
      next.take(connection);
      return;
    }
    free.push(connection);
    if (lent.size === 0 && opening === 0) idle?.();
  };

  const shut = async () => {
    for (const place of waiting) place.refuse(unavailable('The database is closed'));
    if (lent.size > 0 || opening > 0) {
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        idle = resolve;
        timer = setTimeout(resolve, waitMs);
      });
      clearTimeout(timer);
    }
    await Promise.all([...free, ...lent].map((connection) => connection.close()));
  };

  return {
    acquire: async () => {
      if (closing !== undefined) throw unavailable('The database is closed');
      free = free.filter((connection) => !connection.broken());
      const connection = free.pop();
      if (connection !== undefined) return lend(connection);
      if (free.length + lent.size + opening >= size) {
        if (waiting.size >= waitingMax) throw unavailable('The database is too busy');
        return wait();
      }
      try {
        return lend(await openOne());
      } catch (error) {
        // Who came meanwhile waits for a place that is empty again.
        openNext();
        if (lent.size === 0 && opening === 0) idle?.();
        throw error;
      }
    },
    release: (connection) => {
      lent.delete(connection);
      if (!connection.broken()) {
        give(connection);
        return;
      }
      void connection.close().catch(() => {});
      if (lent.size === 0 && opening === 0) idle?.();
      openNext();
    },
    close: () => {
      closing ??= shut();
      return closing;
    },
  };
};
