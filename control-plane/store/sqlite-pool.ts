// A pool of SQLite connections: all are opened at once, so that a file that cannot be used is known at the start.
import { createPool, type Pool } from './pool.ts';
import { openConnection } from './sqlite-connection.ts';

export type SqlitePoolOptions = {
  readonly file: string;
  readonly size: number;
  /** Run on each connection when it is opened. */
  readonly pragmas: readonly string[];
  /** How long one waits for a connection, and how many may. */
  readonly waitMs?: number;
  readonly waitingMax?: number;
};

/** Opens all connections of a pool. Throws `database_unavailable`. */
export const openPool = async ({ file, pragmas, ...options }: SqlitePoolOptions): Promise<Pool> => {
  const open = async () => {
    const connection = await openConnection(file);
    try {
      for (const pragma of pragmas) await connection.all(`pragma ${pragma}`);
    } catch (error) {
      await connection.close().catch(() => {});
      throw error;
    }
    return connection;
  };
  const pool = createPool({ ...options, open });
  const opened = await Promise.allSettled(Array.from({ length: options.size }, () => pool.acquire()));
  for (const one of opened) if (one.status === 'fulfilled') pool.release(one.value);
  const failed = opened.find((one) => one.status === 'rejected');
  if (failed === undefined) return pool;
  await pool.close();
  throw failed.reason;
};
