// Following a control plane: how soon a stream is taken up again.
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { DEFAULT_TIMING, watchForever } from '../../../data-plane/snapshot/watch.ts';
import { until } from '../../kit/deadline.ts';
import { memoryLog } from '../audit/records.ts';

test('one that sends by turns what is refused and what is known is not asked without end', async () => {
  let asked = 0;
  let acceptsDelta = true;
  const ended = new AbortController();
  const following = watchForever({
    feed: {
      get: async () => undefined,
      async *watch() {
        asked += 1;
        yield { kind: 'delta', bytes: Buffer.alloc(0) };
      },
    },
    position: () => ({ version: 1n, digest: 'ab', acceptsDelta }),
    async onReceived() {
      acceptsDelta = !acceptsDelta;
    },
    onConnected: () => undefined,
    onDisconnected: () => undefined,
    onPolling: () => undefined,
    isRefusing: () => !acceptsDelta,
    random: () => 0.5,
    log: memoryLog().log,
    timing: { ...DEFAULT_TIMING, pollMs: 60_000 },
    signal: ended.signal,
  });
  // A delta that is refused, the whole, and deltas again: at once.
  await until('it has healed', () => asked >= 3);
  for (let turn = 0; turn < 200; turn += 1) await setImmediate();
  expect(asked).toBe(3);
  ended.abort();
  await following;
});
