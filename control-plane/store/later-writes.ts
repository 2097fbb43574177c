// Rows that a group of transactions only adds: kept until the group needs them, and then written by one statement a table.
import type { Connection } from './connection.ts';

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
  write(connection: Connection, count: number): Promise<void>;
};

/** Writes rows of one table by as few statements as the database can do it. */
export type InsertLater = (
  connection: Connection,
  table: LaterTable,
  rows: readonly (readonly LaterValue[])[],
) => Promise<unknown>;

type Row = { readonly table: LaterTable; readonly values: readonly LaterValue[] };

/** Makes an empty list. */
export const createLaterWrites = (insert: InsertLater): LaterWrites => {
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
