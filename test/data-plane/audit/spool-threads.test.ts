// The spool of several threads: one chain, every record once, and one thread that ends takes nothing with it.

import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { GENESIS, readChain } from '@daypass/core/audit';
import { expect, test } from 'vitest';
import { linesOf } from '../../../data-plane/audit/segment.ts';
import { openSpool, type Spool } from '../../../data-plane/audit/spool.ts';
import { within } from '../../kit/deadline.ts';
import { decision, outcome } from './drafts.ts';
import { chainOn, freshFolder, memoryLog } from './records.ts';
import type { Task } from './spool-thread.ts';

const MIB = 1024 * 1024;

const open = (folder: string, bytesMax: number): Spool =>
  openSpool({ folder, node: 'node-1', bytesMax, now: Date.now, log: memoryLog().log });

function startThread(task: Task) {
  const worker = new Worker(new URL('./spool-thread.ts', import.meta.url), { workerData: task });
  return within('the thread is done', once(worker, 'exit'), 60_000);
}

test('records of several threads are one chain, each once, while they are uploaded and deleted', async () => {
  const folder = freshFolder();
  const bytesMax = 2 * MIB;
  const spool = open(folder, bytesMax);
  const threads = [1, 2, 3].map((slot) =>
    startThread({ folder, memory: spool.memory, slot, rounds: 2_000, bytesMax, dies: false }),
  );
  const stored: Uint8Array[] = [];
  const upload = async (): Promise<boolean> => {
    const batch = await spool.read({ records: 1_000, bytes: MIB });
    if (batch === undefined) return false;
    stored.push(...[...linesOf(batch.lines)].map((record) => Buffer.from(record)));
    await spool.acknowledge(batch, batch.firstSeq + batch.count - 1);
    return true;
  };
  let running = true;
  const ended = Promise.all(threads).finally(() => {
    running = false;
  });
  while (running) if (!(await upload())) await new Promise((resolve) => setTimeout(resolve, 1));
  await ended;
  while (await upload());
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
  const records = readChain(stored, { node: 'node-1', firstSeq: 1, prev: GENESIS }, sha256).map(({ record }) => record);
  const outcomes = records.filter(({ kind }) => kind === 'outcome').map(({ id }) => id);
  expect([outcomes.length, new Set(outcomes).size]).toEqual([6_000, 6_000]);
  const decisions = records.filter((record) => record.kind === 'decision' && record.source === '').map(({ id }) => id);
  expect([decisions.length, new Set(decisions).size]).toEqual([6_000, 6_000]);
  expect(spool.usage()).toMatchObject({ lastSeq: records.length, acknowledgedSeq: records.length });
  spool.close();
}, 90_000);

test('a thread that ends with the lock held leaves a whole chain, and its requests have failed', async () => {
  const folder = freshFolder();
  const spool = open(folder, MIB);
  await startThread({ folder, memory: spool.memory, slot: 1, rounds: 3, bytesMax: MIB, dies: true });
  await spool.bury(1);
  spool.append([decision('after'), outcome('after')]);
  spool.close();
  const ends = chainOn(folder)
    .slice(-6)
    .map((record) => `${record.id} ${record.kind === 'outcome' ? record.result : 'decided'}`);
  expect(ends).toEqual([
    's1-open decided',
    's1-last decided',
    's1-open failed',
    's1-last failed',
    'after decided',
    'after completed',
  ]);
});
