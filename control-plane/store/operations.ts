// The operations of services' OpenAPI documents in the database.
import { sql } from 'kysely';
import type { OperationFilter, OperationRow, OperationStore, Page } from './interface.ts';
import { type Db, inParts, limitOf } from './tables.ts';

export const createOperationStore = (db: Db): OperationStore => ({
  replaceAll: async (service, rows) => {
    await deleteAll(db, service);
    const values = rows.map((row) => ({ ...row, service, search: searchText(row) }));
    for (const part of inParts(values, 5)) await db.insertInto('operations').values(part).execute();
  },
  get: async (service, ids) => {
    const found: OperationRow[] = [];
    for (const part of inParts(ids, 1)) {
      const rows = await rowsOf(db, service).where('id', 'in', part).execute();
      found.push(...rows);
    }
    return found;
  },
  ids: async (service) => {
    const found = await db.selectFrom('operations').select('id').where('service', '=', service).orderBy('id').execute();
    return found.map(({ id }) => id);
  },
  list: (service, filter, page) => listQuery(db, service, filter, page).execute(),
  deleteAll: (service) => deleteAll(db, service),
});

const deleteAll = async (db: Db, service: string): Promise<void> => {
  await db.deleteFrom('operations').where('service', '=', service).execute();
};

const rowsOf = (db: Db, service: string) =>
  db.selectFrom('operations').select(['id', 'rule', 'summary']).where('service', '=', service);

const listQuery = (db: Db, service: string, { contains, ids }: OperationFilter, page: Page<string>) => {
  const first = rowsOf(db, service).orderBy('id').limit(limitOf(page));
  const after = page.after === undefined ? first : first.where('id', '>', page.after);
  const named = ids === undefined ? after : after.where('id', 'in', [...ids]);
  if (contains === undefined) return named;
  const pattern = `%${contains.toLowerCase().replace(/[\\%_]/g, '\\$&')}%`;
  return named.where(sql<boolean>`search like ${pattern} escape '\\'`);
};

/** Lower case made here: databases differ in what they take for it. No text that is looked for holds the separator. */
const searchText = ({ id, rule, summary }: OperationRow): string => `${id}\n${rule}\n${summary}`.toLowerCase();
