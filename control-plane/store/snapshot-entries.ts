// The entries of all versions of a pool: each is written once, with the versions that it is in.
import { compareEntries, type Entry, type EntryChange } from '@daypass/core/snapshot';
import type { ChangeCount, Page } from './interface.ts';
import { type Db, inParts, limitOf } from './tables.ts';

type Version = { readonly pool: string; readonly version: number };
type Name = Pick<Entry, 'kind' | 'name'>;

/** Rows become objects on the loop: so many at a time. More than elsewhere, as a part may be looked for from the first row on. */
const PART = 4000;

/** Ends what is replaced or gone with this version, and begins what is new in it. */
export const writeChanges = async (db: Db, at: Version, changes: readonly EntryChange[]): Promise<void> => {
  const { pool, version } = at;
  for (const [kind, ofKind] of Map.groupBy(changes, (change) => change.kind)) {
    for (const part of inParts(ofKind, 1)) {
      const names = part.map(({ name }) => name);
      await db
        .updateTable('snapshotEntries')
        .set({ toVersion: version })
        .where('pool', '=', pool)
        .where('kind', '=', kind)
        .where('name', 'in', names)
        .where('toVersion', 'is', null)
        .execute();
    }
  }
  const rows = changes.flatMap(({ kind, name, content }) =>
    content === undefined ? [] : [{ pool, kind, name, content, fromVersion: version, toVersion: null }],
  );
  for (const part of inParts(rows, 6)) await db.insertInto('snapshotEntries').values(part).execute();
};

/** A page of those of a version, in the order of kind and name. */
export const entriesAt = async (db: Db, at: Version, page: Page<Name>): Promise<readonly Entry[]> => {
  const { pool, version } = at;
  const { kind, name } = page.after ?? BEFORE_ALL;
  const rows = await db
    .selectFrom('snapshotEntries')
    .select(['kind', 'name', 'content'])
    .where('pool', '=', pool)
    .where((where) => where(where.refTuple('kind', 'name'), '>', where.tuple(kind, name)))
    .where('fromVersion', '<=', version)
    .where((where) => where.or([where('toVersion', 'is', null), where('toVersion', '>', version)]))
    .orderBy('kind')
    .orderBy('name')
    .limit(limitOf(page))
    .execute();
  return rows.map(entryOf);
};

/** No entry has such a name; by it the first page is read along the same index as the others. */
const BEFORE_ALL: Name = { kind: '', name: '' };

/** What leads from one version to another, older or newer, in the order of kind and name. */
export const changesBetween = async (
  db: Db,
  pool: string,
  { from, to }: { readonly from: number; readonly to: number },
): Promise<readonly EntryChange[]> => {
  const span = { pool, older: Math.min(from, to), newer: Math.max(from, to) };
  const [gone, come] = [await partsOf(db, span, 'toVersion'), await partsOf(db, span, 'fromVersion')];
  const [before, after] = from <= to ? [gone, come] : [come, gone];
  const changes = new Map<string, EntryChange>(after);
  for (const [key, entry] of before) {
    const now = after.get(key);
    if (now === undefined) changes.set(key, { kind: entry.kind, name: entry.name, content: undefined });
    // What was changed and changed back is no change.
    else if (Buffer.compare(now.content, entry.content) === 0) changes.delete(key);
  }
  return [...changes.values()].sort(compareEntries);
};

type Span = { readonly pool: string; readonly older: number; readonly newer: number };
type Bound = 'fromVersion' | 'toVersion';

/** Those of the older version that end in the span (`toVersion`), or those of the newer that begin in it (`fromVersion`). */
const partsOf = async (db: Db, span: Span, bound: Bound): Promise<ReadonlyMap<string, Entry>> => {
  const found = new Map<string, Entry>();
  for (let after: Row | undefined; ; ) {
    const rows: readonly Row[] = await partOf(db, span, bound, after);
    for (const row of rows) found.set(`${row.kind} ${row.name}`, entryOf(row));
    after = rows.at(-1);
    if (rows.length < PART) return found;
  }
};

type Row = Entry & { readonly version: number | null };

const partOf = (
  db: Db,
  { pool, older, newer }: Span,
  bound: Bound,
  after: Row | undefined,
): Promise<readonly Row[]> => {
  const { version, kind, name } = after ?? { ...BEFORE_ALL, version: older + 1 };
  return (
    db
      .selectFrom('snapshotEntries')
      .select(['kind', 'name', 'content', `${bound} as version`])
      .where('pool', '=', pool)
      .where((where) => where(where.refTuple(bound, 'kind', 'name'), '>', where.tuple(version, kind, name)))
      // By both bounds PostgreSQL takes the index also where it knows nothing of the table yet.
      .where(bound, '>', older)
      .where(bound, '<=', newer)
      .where((where) =>
        bound === 'toVersion'
          ? where('fromVersion', '<=', older)
          : where.or([where('toVersion', 'is', null), where('toVersion', '>', newer)]),
      )
      .orderBy(bound)
      .orderBy('kind')
      .orderBy('name')
      .limit(PART)
      .execute()
  );
};

type Range = { readonly pool: string; readonly first: number; readonly last: number };

/** What changed with each version of a range, by version and kind. */
export const changeCounts = async (db: Db, range: Range): Promise<readonly ChangeCount[]> => {
  const [come, gone] = [await countsOf(db, range, 'fromVersion'), await countsOf(db, range, 'toVersion')];
  const both = new Map((await replacedIn(db, range)).map((row) => [keyOf(row), row.count]));
  const counts = new Map<string, ChangeCount>();
  for (const row of come) {
    const changed = both.get(keyOf(row)) ?? 0;
    const { version, kind } = row;
    counts.set(keyOf(row), { version, kind, added: row.count - changed, changed, removed: 0 });
  }
  for (const row of gone) {
    const { version, kind } = row;
    const known = counts.get(keyOf(row)) ?? { version, kind, added: 0, changed: 0, removed: 0 };
    counts.set(keyOf(row), { ...known, removed: row.count - known.changed });
  }
  return [...counts.values()]
    .filter(({ added, changed, removed }) => added + changed + removed > 0)
    .sort((a, b) => a.version - b.version || (a.kind < b.kind ? -1 : 1));
};

type Count = { readonly version: number; readonly kind: string; readonly count: number };
const keyOf = ({ version, kind }: Pick<Count, 'version' | 'kind'>): string => `${version} ${kind}`;

const countsOf = async (db: Db, { pool, first, last }: Range, bound: Bound): Promise<readonly Count[]> => {
  const rows = await db
    .selectFrom('snapshotEntries')
    .select((where) => [`${bound} as version`, 'kind', where.fn.countAll<number>().as('count')])
    .where('pool', '=', pool)
    .where(bound, '>=', first)
    .where(bound, '<=', last)
    .groupBy([bound, 'kind'])
    .execute();
  return rows.map(({ version, kind, count }) => ({ version: Number(version), kind, count: Number(count) }));
};

/** Entries that ended where one of the same name began. */
const replacedIn = async (db: Db, { pool, first, last }: Range): Promise<readonly Count[]> => {
  const rows = await db
    .selectFrom('snapshotEntries as fresh')
    .innerJoin('snapshotEntries as old', (join) =>
      join
        .onRef('old.pool', '=', 'fresh.pool')
        .onRef('old.kind', '=', 'fresh.kind')
        .onRef('old.name', '=', 'fresh.name')
        .onRef('old.toVersion', '=', 'fresh.fromVersion'),
    )
    .select((where) => ['fresh.fromVersion as version', 'fresh.kind as kind', where.fn.countAll<number>().as('count')])
    .where('fresh.pool', '=', pool)
    .where('fresh.fromVersion', '>=', first)
    .where('fresh.fromVersion', '<=', last)
    .groupBy(['fresh.fromVersion', 'fresh.kind'])
    .execute();
  return rows.map(({ version, kind, count }) => ({ version, kind, count: Number(count) }));
};

/** Forgets entries that are in neither this version nor a later one, so many at most; how many went. */
export const pruneEntries = async (db: Db, { pool, version }: Version, limit: number): Promise<number> => {
  const { numDeletedRows } = await db
    .deleteFrom('snapshotEntries')
    .where('pool', '=', pool)
    .where((where) =>
      where(
        where.refTuple('kind', 'name', 'fromVersion'),
        'in',
        where
          .selectFrom('snapshotEntries as old')
          .select(['old.kind', 'old.name', 'old.fromVersion'])
          .where('old.pool', '=', pool)
          .where('old.toVersion', '<=', version)
          .orderBy('old.toVersion')
          .limit(limitOf({ limit }))
          .$asTuple('kind', 'name', 'fromVersion'),
      ),
    )
    .executeTakeFirstOrThrow();
  return Number(numDeletedRows);
};

const entryOf = ({ kind, name, content }: Entry): Entry => ({ kind, name, content: new Uint8Array(content) });
