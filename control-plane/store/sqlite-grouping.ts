// How SQLite runs a group of transactions, and how it is handed many rows at once.

import type { Connection } from './connection.ts';
import type { LaterTable, LaterValue } from './later-writes.ts';
import type { Grouping } from './writer.ts';

/** The statements of SQLite; `check` is run before each group, and what it throws fails the group. */
export const sqliteGrouping = (check: () => Promise<void>): Grouping<Connection> => ({
  begin: async (connection) => {
    await check();
    await connection.exec('begin immediate; savepoint member');
    // Changes when another process has changed the database.
    return (await connection.all('pragma data_version'))[0]?.data_version;
  },
  commit: (connection) => connection.exec('release member; commit'),
  insertLater: async (connection, table, rows) => {
    const json = JSON.stringify(rows, (_, value) => (typeof value === 'string' ? value.toWellFormed() : value));
    if (!json.includes('\\u0000')) return connection.run(insertOf(table), [json]);
    // SQLite ends a JSON string at its first NUL: such rows are bound value by value.
    return insertEach(connection, table, rows);
  },
});

const insertEach = async (
  connection: Connection,
  { name, columns, bytes = [] }: LaterTable,
  rows: readonly (readonly LaterValue[])[],
): Promise<void> => {
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
