// The database file: making it, and looking at it before anything is written to it.
import { open, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { DaypassError } from '@daypass/core/errors';
import type { Connection } from './connection.ts';
import { openConnection } from './sqlite-connection.ts';

/** `application_id` of a Daypass database: "DYPS". */
export const APPLICATION_ID = 0x44595053;

// A whole check reads the whole file, at some 500 MB/s. In a larger one only what guards access is read through.
const CHECKED_WHOLE_BYTES = 256 * 1024 * 1024;
const RETRY_MS = 20;
const GUARDING_TABLES = ['services', 'callers', 'ceilings', 'cut_offs', 'snapshots', 'nodes'];

/** Makes the file, mode 0600, in a folder that exists; one that is there is left as it is. Throws `database_unavailable`. */
export const makeFile = async (file: string): Promise<void> => {
  try {
    const made = await open(file, 'wx', 0o600);
    await made.close();
    const folder = await open(dirname(file), 'r');
    await folder.sync().finally(() => folder.close());
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    if (code === 'EEXIST') return;
    const why =
      code === 'ENOENT' ? 'its folder does not exist' : code === 'EACCES' ? 'permission denied' : String(code);
    throw new DaypassError('database_unavailable', `The database cannot be made: ${why}`, { cause });
  }
};

export type InspectOptions = {
  /** Names of the migrations that this version has. */
  readonly known: readonly string[];
  readonly busyTimeoutMs: number;
  /** Up to this size the whole file is checked. */
  readonly checkedWholeBytes?: number;
};

/** Which file it is: device and inode. Throws `database_unavailable` when it is gone. */
export const identityOf = async (file: string): Promise<string> => {
  try {
    const { dev, ino } = await stat(file, { bigint: true });
    return `${dev}:${ino}`;
  } catch (cause) {
    throw new DaypassError('database_unavailable', 'The database file is gone', { cause });
  }
};

/**
 * Reads a database through before it is used. Throws `database_unavailable` when it is damaged, locked, of another
 * program, or has a migration that is not among `known`: a newer Daypass wrote it.
 */
export const inspectFile = async (
  file: string,
  { known, busyTimeoutMs, checkedWholeBytes = CHECKED_WHOLE_BYTES }: InspectOptions,
): Promise<void> => {
  const found = await stat(file);
  if (!found.isFile()) throw new DaypassError('database_unavailable', 'The database is not a file');
  if (found.size === 0) return;
  const connection = await openConnection(file);
  try {
    await connection.all(`pragma busy_timeout = ${busyTimeoutMs}`);
    await refuseForeign(connection, known);
    if (found.size <= checkedWholeBytes) await check(connection, 'quick_check(1)');
    else for (const table of await guardingTables(connection)) await check(connection, `quick_check(${table})`);
  } finally {
    await connection.close();
  }
};

/**
 * Turns the write-ahead log on, for good. SQLite fails at once, without waiting, when two processes turn it on at the
 * same time, so the waiting is done here. Throws `database_unavailable`.
 */
export const keepLog = async (file: string, busyTimeoutMs: number): Promise<void> => {
  const connection = await openConnection(file);
  const end = Date.now() + busyTimeoutMs;
  const turnOn = (): Promise<Record<string, unknown>[]> =>
    connection.all('pragma journal_mode = wal').catch(async (error: unknown) => {
      if (Date.now() >= end) throw error;
      await setTimeout(RETRY_MS);
      return turnOn();
    });
  try {
    const [mode] = await turnOn();
    if (mode?.journal_mode === 'wal') return;
    throw new DaypassError('database_unavailable', 'The database cannot keep a write-ahead log in its folder');
  } finally {
    await connection.close();
  }
};

const refuseForeign = async (connection: Connection, known: readonly string[]): Promise<void> => {
  const tables = await connection.all(`select name from sqlite_master where type = 'table'`);
  if (tables.length === 0) return;
  const [header] = await connection.all('pragma application_id');
  if (header?.application_id !== APPLICATION_ID || !tables.some(({ name }) => name === 'kysely_migration')) {
    throw new DaypassError('database_unavailable', 'The database is not one of Daypass');
  }
  const migrated = await connection.all('select name from kysely_migration');
  if (migrated.some(({ name }) => !known.includes(String(name)))) {
    throw new DaypassError('database_unavailable', 'The database was written by a newer version of Daypass');
  }
};

/** Those that are there: an older database gets the others only when it is migrated. */
const guardingTables = async (connection: Connection): Promise<readonly string[]> => {
  const found = await connection.all(`select name from sqlite_master where type = 'table'`);
  const names = new Set(found.map(({ name }) => name));
  return GUARDING_TABLES.filter((table) => names.has(table));
};

const check = async (connection: Connection, pragma: string): Promise<void> => {
  const findings = await connection.all(`pragma ${pragma}`);
  if (findings.every((finding) => finding.quick_check === 'ok')) return;
  const cause = new Error(findings.map((finding) => String(finding.quick_check)).join('; '));
  throw new DaypassError('database_unavailable', 'The database is damaged', { cause });
};
