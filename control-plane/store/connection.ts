// What the store asks of a connection, whichever database is behind it.
import { DaypassError } from '@daypass/core/errors';
import type { CompiledQuery } from 'kysely';

/** What a statement may bind: text, bytes, null, or a number that a database can hold exactly. */
export type Bindable = string | number | null | Uint8Array;

/** An open connection. Statements are to be awaited one by one; every failure is a DaypassError. */
export type Connection = {
  /** The rows of a statement. */
  all(sql: string, parameters?: readonly unknown[]): Promise<Record<string, unknown>[]>;
  /** How many rows a statement changed. */
  run(sql: string, parameters?: readonly unknown[]): Promise<number>;
  /** Runs statements that bind nothing, as far as the first that fails. */
  exec(sql: string): Promise<unknown>;
  /** Throws `invalid_argument` for a query that binds what this database cannot hold, before anything is sent. */
  check?(query: CompiledQuery): void;
  /** Whether the transaction takes nothing but a rollback: a statement of it was refused. */
  aborted(): boolean;
  /** Whether it is of no use any more. */
  broken(): boolean;
  close(): Promise<void>;
};

/** A value as it may be bound: drivers bind what they do not know as NULL or text and round what is too large, so both are refused. */
export const bindable = (value: unknown): Bindable => {
  if (typeof value === 'string' || value === null) return value;
  if (typeof value === 'number' && (Number.isInteger(value) ? Number.isSafeInteger(value) : Number.isFinite(value))) {
    return value;
  }
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  throw new DaypassError('internal', 'A value cannot be stored exactly');
};
