// What `npm run bench -- --json` prints.
import { expect, test } from 'vitest';
import type { Full } from './measure.ts';
import { type Measured, rowsOf } from './report.ts';

const measured = (variant: string, p50: number, full?: Full): Measured => ({
  subject: { variant, title: variant, url: 'http://127.0.0.1/', pid: 0, tokens: async () => '' },
  full,
  paced: [{ p50, p99: p50 * 10, discarded: 0 }],
});
const direct = measured('direct', 50);
const bare = measured('bare', 130, { perSecond: 36_000.4, cpuMicros: 27, wholeMicros: 27, busy: 0.97, rssMiB: 110 });
const daypass = measured('daypass', 200, {
  perSecond: 15_000,
  cpuMicros: 54,
  wholeMicros: 60,
  busy: 0.9,
  rssMiB: 160.25,
});

test('a row holds what was added to the upstream, and its throughput per core in times of the bare one', () => {
  expect(rowsOf(direct, [bare, daypass])).toEqual([
    {
      variant: 'bare',
      requestsPerSecond: 36_000,
      cpuMicros: 27,
      wholeMicros: 27,
      p50Micros: 80,
      p99Micros: 800,
      ratioToPassthrough: 1,
      rssMiB: 110,
    },
    {
      variant: 'daypass',
      requestsPerSecond: 15_000,
      cpuMicros: 54,
      wholeMicros: 60,
      p50Micros: 150,
      p99Micros: 1500,
      ratioToPassthrough: 0.5,
      rssMiB: 160.3,
    },
  ]);
});

test('without the bare one there is no ratio, and without a rate no latency', () => {
  const [row] = rowsOf({ ...direct, paced: [] }, [{ ...daypass, paced: [] }]);
  expect(Object.keys(row ?? {})).toEqual(['variant', 'requestsPerSecond', 'cpuMicros', 'wholeMicros', 'rssMiB']);
});
