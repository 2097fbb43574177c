// Loaded into the data plane by `bench:tail`, never part of it: a profile and the collections of each of its threads,
// taken while the file `go` is in the folder BENCH_TAIL, and written there afterwards.
import { existsSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { join } from 'node:path';
import { PerformanceObserver } from 'node:perf_hooks';
import { threadId } from 'node:worker_threads';

const folder = process.env.BENCH_TAIL;
const INTERVAL_MICROS = 100;

if (folder !== undefined && /data-plane.main\.ts$/.test(process.argv[1] ?? '')) watch(folder);

function watch(dir: string): void {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: INTERVAL_MICROS });
  const collections: { micros: number }[] = [];
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) collections.push({ micros: duration * 1000 });
  }).observe({ entryTypes: ['gc'] });
  let isOn = false;
  setInterval(() => {
    const wanted = existsSync(join(dir, 'go'));
    if (wanted === isOn) return;
    isOn = wanted;
    if (wanted) {
      collections.length = 0;
      session.post('Profiler.start');
      return;
    }
    session.post('Profiler.stop', (_error, stopped) => {
      const text = JSON.stringify({ profile: stopped.profile, collections });
      writeFileSync(join(dir, `${process.pid}-${threadId}.json`), text);
    });
  }, 50).unref();
}
