// One SQLite connection as promises: checks what is bound, and turns every failure into a DaypassError.
import { DaypassError } from '@daypass/core/errors';
import sqlite3 from 'sqlite3';
import { bindable, type Connection } from './connection.ts';

/** Opens an existing file for reading and writing. Throws `database_unavailable`. */
export const openConnection = async (file: string): Promise<Connection> => {
  const database = await new Promise<sqlite3.Database>((resolve, reject) => {
    const opened: sqlite3.Database = new sqlite3.Database(
      file,
      sqlite3.OPEN_READWRITE | sqlite3.OPEN_FULLMUTEX,
      (error) => (error === null ? resolve(opened) : reject(databaseError(error))),
    );
  });
  const statements = createStatements(database);
  return {
    all: async (sql, parameters = []) => {
      const bound = parameters.map(bindable);
      const statement = statements.get(sql) ?? (await statements.prepare(sql));
      return new Promise((resolve, reject) => {
        statement.all<Record<string, unknown>>(bound, (error, rows) =>
          error === null ? resolve(rows) : reject(databaseError(error)),
        );
      });
    },
    run: async (sql, parameters = []) => {
      const bound = parameters.map(bindable);
      const statement = statements.get(sql) ?? (await statements.prepare(sql));
      return new Promise((resolve, reject) => {
        statement.run(bound, function (error) {
          if (error === null) resolve(this.changes);
          else reject(databaseError(error));
        });
      });
    },
    exec: (sql) =>
      new Promise<void>((resolve, reject) => {
        database.exec(sql, (error) => (error === null ? resolve() : reject(databaseError(error))));
      }),
    // A refused statement leaves the rest of a transaction as it is, and a file does not go away like a peer does.
    aborted: () => false,
    broken: () => false,
    close: () => {
      statements.close();
      return new Promise((resolve, reject) => {
        database.close((error) => (error === null ? resolve() : reject(databaseError(error))));
      });
    },
  };
};

/** Prepared statements that a connection keeps; to prepare one anew costs more than to run it. */
const STATEMENTS_MAX = 100;

const createStatements = (database: sqlite3.Database) => {
  /** By text, the one that was used longest ago first. */
  const kept = new Map<string, sqlite3.Statement>();
  return {
    get: (sql: string): sqlite3.Statement | undefined => {
      const statement = kept.get(sql);
      if (statement === undefined) return undefined;
      kept.delete(sql);
      kept.set(sql, statement);
      return statement;
    },
    prepare: async (sql: string): Promise<sqlite3.Statement> => {
      const statement = await new Promise<sqlite3.Statement>((resolve, reject) => {
        const prepared: sqlite3.Statement = database.prepare(sql, (error: Error | null) =>
          error === null ? resolve(prepared) : reject(databaseError(error)),
        );
      });
      // Two may have prepared the same at once.
      kept.get(sql)?.finalize();
      kept.set(sql, statement);
      const [oldest] = kept;
      if (kept.size > STATEMENTS_MAX && oldest !== undefined) {
        kept.delete(oldest[0]);
        oldest[1].finalize();
      }
      return statement;
    },
    close: (): void => {
      for (const statement of kept.values()) statement.finalize();
      kept.clear();
    },
  };
};

const codeOf = (error: Error): string => ('code' in error && typeof error.code === 'string' ? error.code : '');

/** What a failure of SQLite means (https://sqlite.org/rescode.html). The statement stays in the cause. */
const databaseError = (cause: Error): DaypassError => {
  const unavailable = (message: string) => new DaypassError('database_unavailable', message, { cause });
  switch (codeOf(cause)) {
    case 'SQLITE_BUSY':
    case 'SQLITE_LOCKED':
      return unavailable('The database is locked by another process');
    case 'SQLITE_CORRUPT':
    case 'SQLITE_NOTADB':
      return unavailable('The database is damaged, or is not a database');
    case 'SQLITE_FULL':
      return unavailable('The database has no space left');
    case 'SQLITE_READONLY':
    case 'SQLITE_PERM':
    case 'SQLITE_AUTH':
    case 'SQLITE_CANTOPEN':
    case 'SQLITE_IOERR':
    case 'SQLITE_PROTOCOL':
    case 'SQLITE_NOLFS':
    case 'SQLITE_NOMEM':
      return unavailable('The database cannot be read or written');
    case 'SQLITE_MISUSE':
      return unavailable('The database is closed');
    case 'SQLITE_CONSTRAINT':
      return cause.message.includes('UNIQUE')
        ? new DaypassError('already_exists', 'It exists already', { cause })
        : new DaypassError('internal', 'The database refused a row', { cause });
    default:
      return new DaypassError('internal', 'The database refused a statement', { cause });
  }
};
