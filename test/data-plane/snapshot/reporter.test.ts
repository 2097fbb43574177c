// Reports of a node: one under way at a time, and the newest as soon as it can be heard.
import { afterEach, expect, test, vi } from 'vitest';
import { createReporter } from '../../../data-plane/snapshot/reporter.ts';
import { until } from '../../kit/deadline.ts';
import { memoryLog } from '../audit/records.ts';

afterEach(() => vi.useRealTimers());

test('what there is to say does not wait for the next try of what could not be said before', async () => {
  const versions: bigint[] = [];
  let version = 1;
  // Whoever waits, waits for ever.
  vi.useFakeTimers({ toFake: ['setTimeout'] });
  const reporter = createReporter({
    client: {
      async report(request) {
        versions.push(request.version ?? 0n);
        if (version === 1) throw new Error('away');
        return { $typeName: 'daypass.v1.ReportResponse' };
      },
    },
    node: 'node-1',
    software: '0.1.0',
    standing: () => ({ active: { version, digest: 'ab', expiresAt: 1 }, refused: undefined }),
    random: () => 0.9,
    log: memoryLog().log,
  });
  reporter.report();
  await until('it was tried', () => versions.length === 1);
  version = 2;
  reporter.report();
  await until('it is said', () => versions.length === 2);
  expect(versions).toEqual([1n, 2n]);
  await reporter.stop();
});
