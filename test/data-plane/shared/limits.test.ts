// Limits over threads: together they admit exactly what one thread would, and one that ends takes nothing with it.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { DEFAULT_LIMITS } from '../../../data-plane/limits.ts';
import { createLimitMemory, openSharedLimits } from '../../../data-plane/shared/limits.ts';
import { createMutex } from '../../../data-plane/shared/mutex.ts';
import { openTable, tableMemory } from '../../../data-plane/shared/table.ts';
import { until, within } from '../../kit/deadline.ts';
import type { Task } from './hammer.ts';

const NOW = 1_800_000_000_000;

/** Runs a task in several threads at once; returns what each said. */
async function hammer(kind: Task['kind'], rounds: number, threads = 3) {
  const memory = createLimitMemory(DEFAULT_LIMITS, NOW);
  const words = new SharedArrayBuffer(8);
  const run = async (slot: number): Promise<number> => {
    const workerData: Task = { kind, slot, rounds, memory, words };
    const worker = new Worker(new URL('./hammer.ts', import.meta.url), { workerData });
    const ended = once(worker, 'exit');
    const [said] = await within('the thread is done', once(worker, 'message'));
    await ended;
    return said;
  };
  const said = await Promise.all(Array.from({ length: threads }, (_, at) => run(at + 1)));
  return { memory, words, said };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

test('a lock lets one thread in at a time', async () => {
  const { words } = await hammer('count', 50_000);
  expect([...new Int32Array(words)]).toEqual([0, 150_000]);
});

test('buckets give to all threads together what they hold', async () => {
  const { said } = await hammer('buckets', 5_000);
  expect(sum(said)).toBe(1000);
});

test('a proof is taken by one thread alone', async () => {
  const { said, memory } = await hammer('proofs', 3_000);
  expect(sum(said)).toBe(3_000);
  expect(openSharedLimits(memory, 0, DEFAULT_LIMITS, () => NOW).proofs.size()).toBe(3_000);
});

test('no more are in flight over all threads than may be', async () => {
  const { said } = await hammer('tally', 50_000, 8);
  expect(Math.max(...said)).toBeLessThanOrEqual(5);
});

test('what a thread held when it ended is free again', async () => {
  const { memory, words } = await hammer('hold', 0, 1);
  const shared = openSharedLimits(memory, 0, { ...DEFAULT_LIMITS, maxInFlight: 1 }, () => NOW);
  const mutex = createMutex(new Int32Array(words), 0, 0);
  expect([shared.inFlight.enter(1), mutex.tryLock(), mutex.takeFrom(2), mutex.takeFrom(1)]).toEqual([
    false,
    false,
    false,
    true,
  ]);
  mutex.unlock();
  shared.recover(1);
  expect([shared.inFlight.enter(1), mutex.tryLock()]).toEqual([true, true]);
});

test('who waits for a lock gets it when the thread that was woken in its place has ended', async () => {
  const words = new SharedArrayBuffer(4);
  const lock = new Int32Array(words);
  createMutex(lock, 0, 1).lock();
  const worker = new Worker(new URL('./waiter.ts', import.meta.url), { workerData: { slot: 2, words } });
  const said: unknown[] = [];
  worker.on('message', (message) => said.push(message));
  const ended = once(worker, 'exit');
  const hasWaiter = 0x4000_0000;
  await until('it waits', () => (Atomics.load(lock, 0) & hasWaiter) !== 0);
  // Given back, and the one that was told of it has ended: nobody else is told.
  Atomics.store(lock, 0, 0);
  expect(createMutex(lock, 0, 0).takeFrom(3)).toBe(false);
  await within('it has it', ended, 5_000).finally(() => worker.terminate());
  expect(said).toEqual(['waits', 'had it']);
});

test('buckets and proofs that a thread left half changed begin empty and refuse what was before', () => {
  const memory = createLimitMemory(DEFAULT_LIMITS, NOW);
  const clock = { ms: NOW };
  const shared = openSharedLimits(memory, 0, DEFAULT_LIMITS, () => clock.ms);
  const draws = [{ key: 'a', flow: { burst: 2, perMs: 0.001 } }];
  expect(shared.buckets.takeAll(draws)).toBe(0);
  createMutex(new Int32Array(memory.buckets.lock), 0, 7).lock();
  createMutex(new Int32Array(memory.proofs.lock), 0, 7).lock();
  shared.recover(7);
  expect(shared.buckets.takeAll(draws)).toBe(1);
  const used = (iat: number) => {
    let isUsed: boolean | undefined;
    shared.proofs.decide({ key: 'p', iat, owners: ['t', 'c'] }, (standing) => {
      isUsed = standing.isUsed;
      return false;
    });
    return isUsed;
  };
  expect([used(NOW / 1000), used(NOW / 1000 + 6)]).toEqual([true, false]);
  clock.ms += 1_000;
  expect(shared.buckets.takeAll(draws)).toBe(0);
});

test('a table forgets the oldest, and finds what it holds whatever was added and removed', () => {
  const slots = 64;
  const table = openTable(tableMemory(slots), slots);
  const model = new Map<number, number>();
  const keyOf = (number: number) => Int32Array.of(number % 3, number, 1, 2);
  let state = 7;
  const random = (below: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return Math.floor((state / 2_147_483_648) * below);
  };
  for (let round = 0; round < 20_000; round += 1) {
    const number = random(120);
    const known = model.get(number);
    const found = table.find(keyOf(number));
    expect(found).toBe(known ?? -1);
    if (known === undefined) {
      if (model.size === slots) {
        const [[oldest, slot] = [0, 0]] = model;
        expect(table.oldest()).toBe(slot);
        table.remove(slot);
        model.delete(oldest);
      }
      model.set(number, table.insert(keyOf(number)));
    } else {
      model.delete(number);
      if (random(4) === 0) table.remove(known);
      else {
        table.touch(known);
        model.set(number, known);
      }
    }
    if (random(5_000) === 0) {
      table.clear();
      model.clear();
    }
    if (table.size() !== model.size) throw new Error('sizes differ');
  }
});
