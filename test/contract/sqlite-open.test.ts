// Opening a SQLite store: what it makes, what it refuses, and that a refusal changes nothing.
import {
  copyFile,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { migrations } from '../../control-plane/store/migrations/all.ts';
import { openStore } from '../../control-plane/store/open.ts';
import { openConnection } from '../../control-plane/store/sqlite-connection.ts';
import { inspectFile } from '../../control-plane/store/sqlite-file.ts';
import { event, record, service } from './rows.ts';

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-open-'));
  file = join(folder, 'daypass.db');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const openFile = (path = file) => openStore({ url: `sqlite:${path}`, busyTimeoutMs: 50 });

const fillAndClose = async () => {
  const store = await openFile();
  await store.transact(async (tx) => {
    for (let i = 0; i < 50; i += 1) await tx.services.insert(service(`s${i}`));
    await tx.audit.insertEvents(Array.from({ length: 500 }, (_, i) => event(`d${i}`, { seq: i })));
  });
  await store.close();
};

const change = async (sql: string, path = file) => {
  const connection = await openConnection(path);
  await connection.run(sql);
  await connection.close();
};

const expectRefusal = async (path: string, about: RegExp) => {
  const error = await openFile(path).then(
    (store) => store.close(),
    (thrown: unknown) => thrown,
  );
  expect(error).toMatchObject({ code: 'database_unavailable', message: expect.stringContaining(path) });
  expect(error).toMatchObject({ message: expect.stringMatching(about) });
};

/** The refusal, and that it left every byte as it was. */
const expectUntouched = async (about: RegExp) => {
  const before = await readFile(file);
  await expectRefusal(file, about);
  expect((await readFile(file)).equals(before)).toBe(true);
  expect(await readdir(folder)).toEqual(['daypass.db']);
};

test('a new database is readable by its owner alone, with its log', async () => {
  const store = await openFile();
  await store.transact((tx) => tx.services.insert(service('a')));
  const names = await readdir(folder);
  expect(names).toContain('daypass.db-wal');
  for (const name of names) expect((await stat(join(folder, name))).mode & 0o777).toBe(0o600);
  await store.close();
  expect(await readdir(folder)).toEqual(['daypass.db']);
});

test('a path with signs that a URL would take for its own is a path', async () => {
  const path = join(folder, 'a b?mode=ro#%41.db');
  await (await openFile(path)).close();
  expect(await readdir(folder)).toEqual(['a b?mode=ro#%41.db']);
});

test.each([
  '',
  'sqlite:',
  'sqlite::memory:',
  'mysql://user:pw@host/db',
  'postgres://:pw@host/db',
  'postgres://user:pw@host',
  'postgres://user:pw@host/db/pw',
  'postgres://user:pw@host/db?sslmode=pw',
  'postgres://user:pw@host/db?pw=1',
  'postgresql://user:pw%@host/db',
  'postgres://user:pw@host:x/db',
  'postgres://user:pw@host/db?sslmode=disable&sslrootcert=pw',
  '/tmp/x.db',
  'sqlite:a\u0000b',
])('the URL %j is refused, and not repeated', async (url) => {
  const error: unknown = await openStore({ url }).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'config_invalid', field: 'DAYPASS_DATABASE_URL' });
  expect(String(error)).not.toContain('pw');
});

test('a folder that is not there is named and not made', async () => {
  await expectRefusal(join(folder, 'none', 'daypass.db'), /folder/);
  expect(await readdir(folder)).toEqual([]);
});

test('a folder in the place of the file is refused', async () => {
  await mkdir(file);
  await expectRefusal(file, /not a file/);
});

test.each([
  ['the file is something else', (path: string) => writeFile(path, 'not a database '.repeat(600))],
  ['the file was cut off', async (path: string) => truncate(path, Math.floor((await stat(path)).size / 8192) * 4096)],
  ['a page was overwritten', (path: string) => overwrite(path, 4096 * 6)],
  ['the table of tables was overwritten', (path: string) => overwrite(path, 100)],
])('a damaged database is refused and left alone: %s', async (_, damage) => {
  await fillAndClose();
  await damage(file);
  await expectUntouched(/damaged/);
});

test('in a large database the tables that guard access are checked, without reading the rest', async () => {
  await fillAndClose();
  const connection = await openConnection(file);
  const pages = await connection.all(
    `select name, rootpage from sqlite_master where name in ('services', 'audit_events') order by name`,
  );
  await connection.close();
  const [auditPage, servicesPage] = pages.map(({ rootpage }) => (Number(rootpage) - 1) * 4096);
  const inspect = (path: string) =>
    inspectFile(path, { known: Object.keys(migrations), busyTimeoutMs: 50, checkedWholeBytes: 0 });
  await expect(inspect(file)).resolves.toBeUndefined();
  const other = join(folder, 'other.db');
  await copyFile(file, other);
  await overwrite(other, auditPage ?? 0);
  await expect(inspect(other)).resolves.toBeUndefined();
  await overwrite(file, servicesPage ?? 0);
  await expect(inspect(file)).rejects.toMatchObject({ code: 'database_unavailable' });
});

test('a database of a newer version is refused and left alone', async () => {
  await fillAndClose();
  await change(`insert into kysely_migration values ('9999-later', '2099-01-01T00:00:00.000Z')`);
  await expectUntouched(/newer/);
});

test("another program's database is refused and left alone", async () => {
  await writeFile(file, '');
  await change('create table theirs (a)');
  await expectUntouched(/not one of Daypass/);
});

test('a database locked by another is refused, and opens when the lock has gone', async () => {
  await fillAndClose();
  const other = await openConnection(file);
  await other.run('begin immediate');
  await expectRefusal(file, /locked/);
  await other.run('rollback');
  await other.close();
  await (await openFile()).close();
  expect((await stat(file)).size).toBeGreaterThan(0);
});

test('a lock that comes later fails writes, not reads, and does no harm', async () => {
  const store = await openFile();
  const other = await openConnection(file);
  await other.run('begin immediate');
  const insert = () => store.transact((tx) => tx.services.insert(service('a')));
  await expect(insert()).rejects.toMatchObject({ code: 'database_unavailable', message: /locked/ });
  expect(await store.read.services.get('a')).toBeUndefined();
  await expect(store.ping()).resolves.toBeUndefined();
  await other.run('commit');
  await other.close();
  await insert();
  expect(await store.read.services.get('a')).toBeDefined();
  await store.close();
});

test.each([
  ['deleted', () => rm(file)],
  ['replaced', () => rename(file, `${file}.old`).then(() => copyFile(`${file}.old`, file))],
])('nothing is written to a database whose file was %s', async (_, lose) => {
  const store = await openFile();
  await lose();
  const refused = { code: 'database_unavailable' };
  await expect(store.transact((tx) => tx.services.insert(service('a')))).rejects.toMatchObject(refused);
  await expect(store.ping()).rejects.toMatchObject(refused);
  await store.close();
});

test('stores that open one new database at the same time share it', async () => {
  const url = `sqlite:${file}`;
  const stores = await Promise.all(Array.from({ length: 3 }, () => openStore({ url })));
  await Promise.all(
    stores.flatMap((store, index) =>
      Array.from({ length: 10 }, (_, turn) =>
        store.transact(async ({ audit }) => {
          const seq = ((await audit.last('n'))?.seq ?? 0) + 1;
          await audit.insertRecords([record('n', seq, `${index}-${turn}`)]);
        }),
      ),
    ),
  );
  expect((await stores[0]?.read.audit.last('n'))?.seq).toBe(30);
  await Promise.all(stores.map((store) => store.close()));
});

test('a failure says nothing of the statement', async () => {
  const store = await openFile();
  await change('drop table services');
  const error: unknown = await store.read.services.get('a').catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'internal' });
  expect(String(error)).not.toMatch(/select|services/i);
  await store.close();
});

const overwrite = async (path: string, position: number) => {
  const handle = await open(path, 'r+');
  await handle.write(Buffer.alloc(3000, 0xa5), 0, 3000, position);
  await handle.close();
};
