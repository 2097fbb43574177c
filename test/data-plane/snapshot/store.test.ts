// What lies on disk of a snapshot: that all that was said to be kept is there at the next start.
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openJournal } from '../../../data-plane/snapshot/journal.ts';
import { openSnapshotStore } from '../../../data-plane/snapshot/store.ts';
import { freshFolder } from '../audit/records.ts';

const MIB = 1024 * 1024;
const version = (number: number) => ({ version: number, digest: `${number % 10}`.repeat(64) });

test('a journal takes no record that the next start would not read', async () => {
  const path = join(freshFolder(), 'journal.bin');
  const { journal } = await openJournal(path, 1_000);
  const kept: Buffer[] = [];
  const appending = async () => {
    for (let at = 0; at < 10; at += 1) {
      const record = Buffer.alloc(200, at);
      await journal.append(record);
      kept.push(record);
    }
  };
  await expect(appending()).rejects.toThrow('is full');
  expect(kept).toHaveLength(4);
  expect((await openJournal(path, 1_000)).records).toEqual(kept);
});

test('a snapshot that is written while another is leaves one of both, whole, and what was appended meanwhile', async () => {
  const folder = freshFolder();
  const store = await openSnapshotStore(folder);
  await store.save(Buffer.alloc(10, 1), version(1));
  const [large, small] = [Buffer.alloc(64 * MIB, 2), Buffer.alloc(8 * MIB, 3)];
  const rewriting = [store.rewrite(large), store.rewrite(small)];
  await Promise.all([...rewriting, store.append(Buffer.alloc(20, 4), version(2))]);
  const file = readFileSync(store.path);
  expect([large, small].some((whole) => whole.equals(file))).toBe(true);
  const stored = await (await openSnapshotStore(folder)).load();
  const deltas = stored?.deltas.map((delta) => delta[0]);
  expect(deltas).toEqual([4]);
  // The next one is not kept from it.
  await store.rewrite(small);
  expect(readFileSync(store.path).equals(small)).toBe(true);
});

test('a rewrite that fails, or that a newer snapshot overtakes, does not keep the next from being done', async () => {
  const store = await openSnapshotStore(freshFolder());
  await store.save(Buffer.alloc(10, 1), version(1));
  const overtaken = store.rewrite(Buffer.alloc(MIB, 2));
  await Promise.all([overtaken, store.save(Buffer.alloc(10, 3), version(2))]);
  rmSync(`${store.path}.next`, { force: true });
  mkdirSync(`${store.path}.next`);
  await expect(store.rewrite(Buffer.alloc(10, 5))).rejects.toMatchObject({ code: 'EISDIR' });
  rmSync(`${store.path}.next`, { recursive: true });
  await store.rewrite(Buffer.alloc(10, 4));
  expect(readFileSync(store.path)).toEqual(Buffer.alloc(10, 4));
});
