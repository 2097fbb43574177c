// What a failure of PostgreSQL means (https://www.postgresql.org/docs/current/errcodes-appendix.html).
import { DaypassError } from '@daypass/core/errors';

/** An error of the store, and whether the connection is of no use after it. The statement stays in the cause. */
export class PostgresError extends DaypassError {
  readonly ends: boolean;
  constructor(
    code: 'database_unavailable' | 'already_exists' | 'invalid_argument' | 'internal',
    message: string,
    cause: unknown,
    ends: boolean,
  ) {
    super(code, message, { cause });
    this.ends = ends;
  }
}

/** Reads what the driver threw. */
export const databaseError = (cause: unknown): PostgresError => {
  const state = stateOf(cause);
  const isFatal = cause instanceof Error && ['FATAL', 'PANIC'].includes(String(Reflect.get(cause, 'severity')));
  const unavailable = (message: string, ends = isFatal) =>
    new PostgresError('database_unavailable', message, cause, ends);
  // Without a state it was not the server that spoke.
  if (state === '') return unavailable('The connection to the database was lost', true);
  switch (state) {
    case '23505':
      return new PostgresError('already_exists', 'It exists already', cause, isFatal);
    case '22021':
    case '22P05':
      return new PostgresError('invalid_argument', 'holds a character that the database cannot store', cause, isFatal);
    case '25006':
      return unavailable('The database takes no writes: it is a standby', true);
    case '3D000':
      return unavailable('There is no such database on the server');
    case '42501':
      return unavailable('The user of the database lacks a right');
    case '55P03':
    case '57014':
      return unavailable('The database is too busy');
    default:
  }
  switch (state.slice(0, 2)) {
    case '23':
      return new PostgresError('internal', 'The database refused a row', cause, isFatal);
    case '28':
      return unavailable('The database refused the user or its password');
    case '40':
      return unavailable('The database gave up a transaction for another');
    case '53':
      return unavailable('The database has no space, memory or connection left');
    case '08':
    case '57':
      return unavailable('The connection to the database was lost', true);
    case '58':
    case 'XX':
      return unavailable('The database is damaged, or its disk is');
    default:
      return isFatal
        ? unavailable('The connection to the database was lost', true)
        : new PostgresError('internal', 'The database refused a statement', cause, false);
  }
};

/** The SQLSTATE, or an empty text. */
const stateOf = (error: unknown): string => {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : '';
};
