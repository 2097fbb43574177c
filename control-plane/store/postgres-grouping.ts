// How PostgreSQL runs a group of transactions: under one lock for all replicas, with a count of groups, telling the others at its commit.
import { DaypassError } from '@daypass/core/errors';
import type { LaterTable, LaterValue } from './later-writes.ts';
import type { PostgresConnection } from './postgres-connection.ts';
import { NUL_REFUSED } from './postgres-text.ts';
import type { Grouping } from './writer.ts';

/** The advisory lock that every transaction that writes holds until its end: "DYPS". */
export const WRITER_LOCK = 0x44595053;

/** Counts the groups of all replicas; no transaction takes a number back. */
export const COUNTER = 'daypass_groups';

export type PostgresGroupingOptions = {
  /** Told the number of a group of this writer, and its process at the server. */
  readonly counted: (group: number, pid: number) => void;
  /** Told that a commit went unanswered: it may have been made. */
  readonly unknown: () => void;
  /** What to tell the other replicas of statements of these texts, in the transaction itself: statements, or nothing. */
  readonly notices: (wrote: ReadonlySet<string>) => string;
};

/** The statements of PostgreSQL. */
export const postgresGrouping = ({
  counted,
  unknown,
  notices,
}: PostgresGroupingOptions): Grouping<PostgresConnection> => {
  /** Changes when a group was not the next one: another replica has written, or this connection is a new one. */
  let version: object = {};
  let last: { readonly connection: PostgresConnection; readonly group: number } | undefined;
  return {
    begin: async (connection) => {
      // What is read after the lock is what the last holder committed: each statement looks anew.
      const group = Number((await connection.exec(BEGIN))?.group);
      if (last?.connection !== connection || last.group + 1 !== group) version = {};
      last = { connection, group };
      counted(group, connection.pid);
      return version;
    },
    commit: async (connection, wrote) => {
      try {
        await connection.exec(`release member; ${notices(wrote)}commit`);
      } catch (cause) {
        if (!connection.broken()) throw cause;
        unknown();
        const message = 'The database went away at the commit: it is not known whether the change was made';
        throw new DaypassError('database_unavailable', message, { cause });
      }
    },
    checkLater: ({ columns, bytes = [] }, rows) => {
      for (const [at, field] of columns.entries()) {
        if (bytes.includes(field) || !rows.some((values) => isRefused(values[at]))) continue;
        throw new DaypassError('invalid_argument', NUL_REFUSED, { field });
      }
    },
    insertLater: (connection, table, rows) => connection.run(insertOf(table), [jsonOf(table, rows)]),
  };
};

const BEGIN = `begin isolation level read committed; select pg_advisory_xact_lock(${WRITER_LOCK}); savepoint member; select nextval('${COUNTER}') as "group"`;

const jsonOf = ({ columns, bytes = [] }: LaterTable, rows: readonly (readonly LaterValue[])[]): string => {
  const jsonValue = (value: LaterValue, column: string): LaterValue => {
    if (typeof value !== 'string') return value;
    if (bytes.includes(column)) return `\\x${Buffer.from(value).toString('hex')}`;
    return value.toWellFormed();
  };
  const objects = rows.map((values) =>
    Object.fromEntries(columns.map((column, i) => [column, jsonValue(values[i] ?? null, column)])),
  );
  return JSON.stringify(objects);
};

const isRefused = (value: LaterValue | undefined): boolean => typeof value === 'string' && value.includes('\0');

const texts = new WeakMap<LaterTable, string>();

/** One text and one bound value however many rows there are; the table itself says the types. */
const insertOf = (table: LaterTable): string => {
  const known = texts.get(table);
  if (known !== undefined) return known;
  const columns = table.columns.join(', ');
  const text = `insert into ${table.name} (${columns}) select ${columns} from json_populate_recordset(null::${table.name}, $1::json)`;
  texts.set(table, text);
  return text;
};
