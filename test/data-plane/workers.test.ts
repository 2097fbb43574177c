// The supervision of workers, with threads that serve nothing: all or none take a snapshot, and what ends is replaced.
import { Worker } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { createBackoff } from '../../data-plane/backoff.ts';
import { sumFamilies } from '../../data-plane/metrics.ts';
import type { Handover, Whole } from '../../data-plane/snapshot/handover.ts';
import { wrapWorker } from '../../data-plane/workers/thread.ts';
import { createWorkers } from '../../data-plane/workers/workers.ts';
import { until, within } from '../kit/deadline.ts';
import { memoryLog } from './audit/records.ts';

const ADMIN = { host: '127.0.0.1', port: 1 };
const handover = (digest: string): Handover => ({
  version: 1,
  digest,
  generation: 0,
  bytes: 1,
  lead: () => ({ head: { digest } }) as Whole,
});

async function start(count: number) {
  const { log, lines } = memoryLog();
  const buried: number[] = [];
  const failed = Promise.withResolvers<unknown>();
  const workers = createWorkers({
    count,
    spawn: (slot) =>
      wrapWorker(new Worker(new URL('./fake-worker.ts', import.meta.url), { workerData: { slot } }), {
        slot,
        log,
        appended: () => undefined,
        keyless: () => undefined,
      }),
    bury: async (slot) => void buried.push(slot),
    listenAt: { at: { host: '127.0.0.1', port: 0 }, reusePort: true },
    leaveMs: 1_000,
    hangMs: 400,
    backoff: createBackoff(1, 5, () => 0.5),
    log,
    nowMs: Date.now,
    failed: failed.resolve,
  });
  onTestFinished(workers.close);
  workers.start();
  expect(await workers.listen(ADMIN)).toEqual({ host: '127.0.0.1', port: 4711 });
  const said = (slot?: number) =>
    lines.filter((line) => slot === undefined || line.worker === slot).map(({ message }) => String(message));
  return { workers, said, buried, failed: failed.promise };
}

test('a snapshot is kept when all have prepared it, and activated after that', async () => {
  const { workers, said } = await start(3);
  const order: string[] = [];
  await workers.install(handover('one'), async () => void order.push(...said().filter((text) => text.includes('one'))));
  expect(order).toEqual(['prepare one', 'prepare one', 'prepare one']);
  expect(said().filter((text) => text === 'activate one')).toHaveLength(3);
});

test('one that refuses a snapshot keeps it from all', async () => {
  const { workers, said } = await start(3);
  let isKept = false;
  const installing = workers.install(handover('refuse 2'), async () => {
    isKept = true;
  });
  await expect(installing).rejects.toMatchObject({ code: 'snapshot_inconsistent' });
  expect([isKept, said().filter((text) => text.startsWith('activate'))]).toEqual([false, []]);
});

test('one that ends is replaced by one that has the snapshot, and the others go on', async () => {
  const { workers, said, buried } = await start(2);
  await workers.install(handover('one'), async () => undefined);
  await workers.install(handover('end 1'), async () => undefined);
  await until('two serve again', () => buried.length === 1 && workers.serving() === 2);
  expect(buried).toEqual([1]);
  expect(said(2).slice(-2)).toEqual(['prepare end 1', 'activate end 1']);
  expect(said().filter((text) => text === 'listen')).toHaveLength(3);
});

test.each([
  'hang 1',
  'stall 1',
])('one that hangs (%s) is ended, the others do not wait for it, and only then it is said', async (digest) => {
  const { workers, said, buried } = await start(3);
  await workers.install(handover('one'), async () => undefined);
  let isAcknowledged = false;
  const installing = workers
    .install(handover(digest), async () => undefined)
    .then(() => {
      isAcknowledged = true;
    });
  await until('the others decide by it', () => [2, 3].every((slot) => said(slot).includes(`activate ${digest}`)));
  expect([isAcknowledged, buried]).toEqual([false, []]);
  await within('it is said', installing, 5_000);
  expect(said()).toContain('a worker did not take a snapshot, and is ended');
  await until('it is buried', () => buried.length === 1);
  expect(buried).toEqual([1]);
});

test('one that is slow to start does not keep a snapshot from those that serve', async () => {
  const { workers, said } = await start(2);
  await workers.install(handover('hang 3'), async () => undefined);
  const rolling = workers.roll().catch(() => undefined);
  await until('it is asked to catch up', () => workers.serving() === 2 && said(3).length === 0);
  await within(
    'they take the next one',
    workers.install(handover('next'), async () => undefined),
    2_000,
  );
  expect([1, 2].map((slot) => said(slot).at(-1))).toEqual(['activate next', 'activate next']);
  await workers.close();
  await rolling;
});

test('one that comes while the others take a snapshot does not serve without it', async () => {
  const { workers, said } = await start(3);
  await workers.install(handover('end 1'), async () => {
    await until('the next one is there', () => said().includes('a worker has ended unexpectedly'));
  });
  await until('three serve again', () => said(4).includes('listen') && workers.serving() === 3);
  expect(said(4)).toEqual(['prepare end 1', 'activate end 1', 'listen']);
});

test('the only one, which comes while a snapshot does, decides by that one and not by the one before', async () => {
  const { workers, said } = await start(1);
  await workers.install(handover('dies 1, late 2'), async () => undefined);
  await until('it is replaced', () => said().includes('a worker has ended unexpectedly'));
  // The snapshot before takes it longer to make ready, and is there when this one is to be activated.
  await workers.install(handover('next'), async () => {
    await until('it has both', () => said(2).includes('activate dies 1, late 2'));
  });
  await until('it serves', () => workers.serving() === 1);
  expect(said(2).at(-2)).toBe('activate next');
});

test('one that ends every worker before it is taken is refused, and not kept: they go on with the one before', async () => {
  const { workers, said } = await start(2);
  await workers.install(handover('one'), async () => undefined);
  let isKept = false;
  const overflow = () =>
    workers.install(handover('overflow'), async () => {
      isKept = true;
    });
  await expect(overflow()).rejects.toMatchObject({ code: 'internal' });
  // Whoever has taken their places, or is about to, is asked as well.
  await expect(overflow()).rejects.toMatchObject({ code: 'internal' });
  await until('two serve again', () => workers.serving() === 2);
  expect(isKept).toBe(false);
  expect(said().filter((text) => text.startsWith('activate ') && text !== 'activate one')).toEqual([]);
});

test('those that end again and again are given up', async () => {
  const { workers, failed } = await start(2);
  await workers.install(handover('poison'), async () => undefined);
  expect(await failed).toMatchObject({ message: 'an injected end' });
});

test('they are rolled one by one, and what they have counted stays counted', async () => {
  const { workers, said, buried } = await start(2);
  await workers.install(handover('one'), async () => undefined);
  await workers.roll();
  expect([workers.serving(), buried]).toEqual([2, [1, 2]]);
  expect(said(3)).toEqual(['prepare one', 'activate one', 'listen']);
  // Whoever takes the place of the second one has the slot of the first.
  expect(said(1).slice(0, 6)).toEqual(['listen', 'prepare one', 'activate one', 'leave', 'drain', 'close']);
  const [sum] = sumFamilies(await workers.metrics());
  expect(sum?.samples).toEqual([['a', 4]]);
});

test('one that cannot listen makes room for another one', async () => {
  const { workers, said } = await start(2);
  await Promise.all(['end 1', 'deaf 3'].map((digest) => workers.install(handover(digest), async () => undefined)));
  await until('it could not', () => said().includes('a worker cannot serve'));
  await until('two serve again', () => workers.serving() === 2);
});

test('a node whose workers cannot listen any more is given up', async () => {
  const { workers, failed } = await start(2);
  await Promise.all(['end 1', 'deaf all'].map((digest) => workers.install(handover(digest), async () => undefined)));
  expect(await within('it is given up', failed)).toMatchObject({ code: 'unavailable' });
});

test('those that end before they can take the place of others leave these as they are', async () => {
  const { workers, buried, failed } = await start(2);
  await workers.install(handover('mute'), async () => undefined);
  for (let round = 1; round <= 6; round += 1) {
    await expect(workers.roll()).rejects.toThrow('the worker has ended');
    await until('it is buried', () => buried.length === round);
    expect(workers.serving()).toBe(2);
  }
  expect(await Promise.race([failed, 'they serve'])).toBe('they serve');
});

test('one that ends while they are rolled is replaced once, and the roll ends', async () => {
  const { workers, said, buried } = await start(3);
  await workers.install(handover('one'), async () => undefined);
  const work = [workers.roll(), ...['end 3', 'two'].map((digest) => workers.install(handover(digest), async () => {}))];
  await within('all of it ends', Promise.all(work));
  await until('three serve', () => buried.includes(3) && workers.serving() === 3);
  const listened = () => said().filter((text) => text === 'listen').length;
  const before = listened();
  await within('they are rolled again', workers.roll());
  expect([workers.serving(), listened() - before]).toEqual([3, 3]);
});

test('one that comes to listen while all are drained is drained, too', async () => {
  const { workers, said } = await start(1);
  await workers.install(handover('slow'), async () => undefined);
  const rolling = workers.roll();
  await until('the next one is told to listen', () => said(2).includes('listen'));
  await within('all are drained', workers.drain());
  expect(
    said(2)
      .filter((text) => text !== 'leave')
      .slice(-2),
  ).toEqual(['listens', 'drain']);
  await rolling;
});
