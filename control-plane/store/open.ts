// Opens a store by its URL.
import { resolve } from 'node:path';
import { DaypassError } from '@daypass/core/errors';
import type { Store } from './interface.ts';
import { openPostgresStore } from './postgres-store.ts';
import { isPostgresUrl, parsePostgresUrl, readTarget } from './postgres-url.ts';
import { openSqlite } from './sqlite-store.ts';

export type StoreOptions = {
  /** `sqlite:` and a path, absolute or relative to the working folder; or `postgres:`. */
  readonly url: string;
  /** How long a statement waits for another process's lock. SQLite only. */
  readonly busyTimeoutMs?: number;
  /** Most connections at a time, 3 or more. PostgreSQL only. */
  readonly connectionsMax?: number;
};

/**
 * Opens the store, making the schema if there is none. Throws `config_invalid` for a URL that it does not know, and
 * `database_unavailable`, naming the file or the server, when it cannot be made, is locked, damaged, foreign or of a newer
 * version. No message repeats a password.
 */
export const openStore = async ({ url, busyTimeoutMs = 5000, connectionsMax = 10 }: StoreOptions): Promise<Store> => {
  if (isPostgresUrl(url)) {
    const target = await readTarget(parsePostgresUrl(url));
    const open = () => openPostgresStore({ target, connectionsMax });
    return named(`postgres://${target.host}:${target.port}/${target.database}`, open);
  }
  const file = fileOf(url);
  return named(file, () => openSqlite(file, busyTimeoutMs));
};

/** Whatever keeps it from being opened is said with where it is. */
const named = async (where: string, open: () => Promise<Store>): Promise<Store> => {
  try {
    return await open();
  } catch (cause) {
    if (cause instanceof DaypassError && cause.code === 'database_unavailable') {
      throw new DaypassError(cause.code, `${where}: ${cause.message}`, { cause });
    }
    throw new DaypassError('database_unavailable', `${where}: The database cannot be opened`, { cause });
  }
};

const fileOf = (url: string): string => {
  const path = url.startsWith('sqlite:') ? url.slice('sqlite:'.length) : '';
  if (path !== '' && path !== ':memory:' && !path.includes('\0')) return resolve(path);
  const message = 'DAYPASS_DATABASE_URL must be sqlite:<path of a file> or postgres://…';
  throw new DaypassError('config_invalid', message, { field: 'DAYPASS_DATABASE_URL' });
};
