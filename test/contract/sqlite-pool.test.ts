// The pool behind a SQLite store: who waits, how long, and what becomes of them.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openPool, type SqlitePoolOptions } from '../../control-plane/store/sqlite-pool.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-pool-'));
  await writeFile(join(folder, 'a.db'), '');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (changes: Partial<SqlitePoolOptions> = {}) =>
  openPool({ file: join(folder, 'a.db'), size: 1, pragmas: [], ...changes });
const unavailable = { code: 'database_unavailable' };

test('a connection goes to those who wait, in the order in which they came', async () => {
  const pool = await open();
  const first = await pool.acquire();
  const order: number[] = [];
  const waiting = [1, 2, 3].map(async (turn) => {
    const connection = await pool.acquire();
    order.push(turn);
    pool.release(connection);
  });
  pool.release(first);
  await Promise.all(waiting);
  expect(order).toEqual([1, 2, 3]);
  await pool.close();
});

test('who waits too long is refused, as in a transaction that begins another inside itself', async () => {
  const pool = await open({ waitMs: 20 });
  const held = await pool.acquire();
  await expect(pool.acquire()).rejects.toMatchObject(unavailable);
  pool.release(held);
  expect(await pool.acquire()).toBe(held);
  pool.release(held);
  await pool.close();
});

test('no more wait than may', async () => {
  const pool = await open({ waitingMax: 1 });
  const held = await pool.acquire();
  const waiting = pool.acquire();
  await expect(pool.acquire()).rejects.toMatchObject(unavailable);
  pool.release(held);
  pool.release(await waiting);
  await pool.close();
});

test('closing refuses those who wait, and waits no longer than they may for who keeps a connection', async () => {
  const pool = await open({ waitMs: 20 });
  await pool.acquire();
  const waiting = expect(pool.acquire()).rejects.toMatchObject(unavailable);
  await pool.close();
  await waiting;
  await expect(pool.acquire()).rejects.toMatchObject(unavailable);
});

test('a pool that cannot open all its connections opens none', async () => {
  await expect(open({ file: join(folder, 'none.db') })).rejects.toMatchObject(unavailable);
  await expect(open({ size: 2, pragmas: ['no such pragma'] })).rejects.toMatchObject({ code: 'internal' });
});
