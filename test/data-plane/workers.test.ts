// The supervision of workers, with threads that serve nothing: all or none take a snapshot, and what ends is replaced.
import { Worker } from 'node:worker_threads';
import { expect, onTestFinished, test } from 'vitest';
import { createBackoff } from '../../data-plane/backoff.ts';
import { sumFamilies } from '../../data-plane/metrics.ts';
import { wrapWorker } from '../../data-plane/workers/thread.ts';
import { createWorkers } from '../../data-plane/workers/workers.ts';
import { until } from '../kit/deadline.ts';
import { memoryLog } from './audit/records.ts';

const ADMIN = { host: '127.0.0.1', port: 1 };
const handover = (digest: string) => ({ bytes: new SharedArrayBuffer(1), digest });

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
      }),
    bury: async (slot) => void buried.push(slot),
    listenAt: { at: { host: '127.0.0.1', port: 0 }, reusePort: true },
    leaveMs: 1_000,
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
