// Rows that a group of transactions only adds: kept until the group needs them, and then written by one statement a table.
import type { SqliteConnection } from './sqlite-connection.ts';

/** A value of a row; bytes go as the text that they are. */
export type LaterValue = string | number | null;

/** A table that rows are added to, with its columns in the order of the values. */
export type LaterTable = {
  readonly name: string;
  readonly columns: readonly string[];
  /** Columns whose text is stored as bytes. */
  readonly bytes?: readonly string[];
};

/** Rows that are not written yet, in the order in which they came. */
export type LaterWrites = {
  add(table: LaterTable, rows: readonly (readonly LaterValue[])[]): void;
  /** How many there are: what `dropFrom` and `write` count by. */
  count(): number;
  /** Forgets those that came after the first so many. */
  dropFrom(count: number): void;
  /** Writes the first so many and forgets them. Throws what the database says of a row, whosever it is. */
  write(connection: SqliteConnection, count: number): Promise<void>;
};

type Row = { readonly table: LaterTable; readonly values: readonly LaterValue[] };

/** Makes an empty list. */
export const createLaterWrites = (): LaterWrites => {
  let kept: Row[] = [];
  return {
    add: (table, rows) => {
      for (const values of rows) kept.push({ table, values });
    },
    count: () => kept.length,
    dropFrom: (count) => {
      kept = kept.slice(0, count);
    },
    write: async (connection, count) => {
      const due = kept.slice(0, count);
      kept = kept.slice(count);
      for (const [table, rows] of Map.groupBy(due, (row) => row.table)) {
        await insert(
          connection,
          table,
          rows.map(({ values }) => values),
        );
      }
    },
  };
};

const insert = async (
  connection: SqliteConnection,
  table: LaterTable,
  rows: readonly (readonly LaterValue[])[],
): Promise<void> => {
  const json = JSON.stringify(rows, (_, value) => (typeof value === 'string' ? value.toWellFormed() : value));
  if (!json.includes('\\u0000')) {
    await connection.run(insertOf(table), [json]);
    return;
  }
  // SQLite ends a JSON string at its first NUL: such rows are bound value by value.
  const { name, columns, bytes = [] } = table;
  const places = columns.map((column) => (bytes.includes(column) ? 'cast(? as blob)' : '?'));
  const text = `insert into ${name} (${columns.join(', ')}) values (${places.join(', ')})`;
  for (const values of rows) await connection.run(text, values);
};

const texts = new WeakMap<LaterTable, string>();

/** One text and one bound value however many rows there are: to bind each value costs more than to store it. */
const insertOf = (table: LaterTable): string => {
  const known = texts.get(table);
  if (known !== undefined) return known;
  const { name, columns, bytes = [] } = table;
  const values = columns.map((column, i) => (bytes.includes(column) ? `cast(value->>${i} as blob)` : `value->>${i}`));
  const text = `insert into ${name} (${columns.join(', ')}) select ${values.join(', ')} from json_each(?) order by key`;
  texts.set(table, text);
  return text;
};
