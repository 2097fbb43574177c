// A database of the first schema is brought up to date with what it holds.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Kysely, sql } from 'kysely';
import { Migrator } from 'kysely/migration';
import { expect, test } from 'vitest';
import { first } from '../../control-plane/store/migrations/0001-first.ts';
import { openStore } from '../../control-plane/store/open.ts';
import { sqliteDialect } from '../../control-plane/store/sqlite-driver.ts';
import { APPLICATION_ID, inspectFile, makeFile } from '../../control-plane/store/sqlite-file.ts';
import { openPool } from '../../control-plane/store/sqlite-pool.ts';
import { pragmasFor } from '../../control-plane/store/sqlite-store.ts';
import { caller, NOW, token } from './rows.ts';

const makeFirst = async (file: string): Promise<void> => {
  await makeFile(file);
  const pool = await openPool({ file, size: 1, pragmas: pragmasFor('write', 1000) });
  const db = new Kysely<unknown>({ dialect: sqliteDialect(pool) });
  const provider = { getMigrations: async () => ({ '0001-first': first }) };
  expect((await new Migrator({ db, provider }).migrateToLatest()).error).toBeUndefined();
  await sql`insert into callers values ('ci', 'hash of ci', '["github"]', 0, ${NOW})`.execute(db);
  await sql`insert into tokens values ('t1', 'github', 'bot', 'ann', 'ci', '["GET /repos/**"]', null, 0, 7, ${NOW},
    ${NOW + 900_000}, null)`.execute(db);
  await sql`insert into nodes values ('node-1', 'default', '{}', 3, 'd', 0, 0, '', '0.1.0', ${NOW})`.execute(db);
  await sql`pragma application_id = ${sql.lit(APPLICATION_ID)}`.execute(db);
  await pool.close();
};

test('callers and tokens of the first schema are bounded, bound and exchanged by nothing, and no node is enrolled', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'daypass-migrate-'));
  try {
    const file = join(folder, 'daypass.db');
    await makeFirst(file);
    // However large it is, it may lack tables that came later.
    await inspectFile(file, { known: ['0001-first'], busyTimeoutMs: 50, checkedWholeBytes: 0 });
    const store = await openStore({ url: `sqlite:${file}` });
    expect(await store.read.callers.get('ci')).toStrictEqual(caller('ci', { etag: '' }));
    expect(await store.read.ceilings.ofCaller('ci')).toEqual({});
    expect(await store.read.tokens.get('t1')).toStrictEqual(token('t1'));
    expect(await store.read.nodes.get('node-1')).toMatchObject({ enrolledAt: undefined, version: 3, nackMessage: '' });
    expect(await store.read.nodes.ofPool('default')).toEqual([]);
    await store.close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
