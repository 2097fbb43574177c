// What one request, and what is over, may take of memory and time: no more than its size.
import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { ActiveService } from '../../data-plane/active-service.ts';
import { forwardedValues } from '../../data-plane/forwarded.ts';
import { Gathered } from '../../data-plane/gathered.ts';
import { createBodyRoom } from '../../data-plane/held-body.ts';
import { DEFAULT_LIMITS } from '../../data-plane/limits.ts';
import { createMetrics } from '../../data-plane/metrics.ts';
import { openBody } from '../../data-plane/request-body.ts';
import { createLimitMemory, openSharedLimits } from '../../data-plane/shared/limits.ts';
import type { Arriving, BodyReader } from '../../data-plane/transport/types.ts';
import type { Head } from '../../data-plane/wire.ts';
import { until } from '../kit/deadline.ts';
import { withApi } from './proving.ts';
import { ask, soon } from './recorder.ts';

/** A request whose body is what is written to a stream. */
function arriving(source: PassThrough): Arriving {
  return {
    read: ({ data, end }: BodyReader) => void source.on('data', data).on('end', end),
    release: () => void source.removeAllListeners('data').removeAllListeners('end'),
    pause: () => void source.pause(),
    resume: () => void source.resume(),
  } as Arriving;
}

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');
const heap = (): number => {
  collect();
  return process.memoryUsage().heapUsed;
};

test('parts are put together in their order, and one alone is not copied', () => {
  const gathered = new Gathered();
  const text = Array.from({ length: 5000 }, (_, at) => String(at % 10)).join('');
  for (const letter of text) gathered.add(Buffer.from(letter));
  expect(gathered.length).toBe(5000);
  expect(gathered.take().toString()).toBe(text);
  expect([gathered.length, gathered.take().length]).toEqual([0, 0]);
  const alone = Buffer.from('alone');
  gathered.add(alone);
  expect(gathered.take()).toBe(alone);
  gathered.add(alone);
  gathered.add(Buffer.from('!'));
  expect([gathered.take().toString(), alone.toString()]).toEqual(['alone!', 'alone']);
});

test('what waits for the upstream comes in one piece, and then no more is read', async () => {
  const request = new PassThrough();
  const { stream } = await (() => {
    const opening = openBody(arriving(request), DEFAULT_LIMITS, () => undefined);
    request.write('a');
    return opening;
  })();
  for (let at = 0; at < 100_000; at += 1) request.write('b');
  await soon(() => request.isPaused());
  const parts: Buffer[] = [];
  const { promise: ended, resolve: end, reject: failed } = Promise.withResolvers<void>();
  stream.begin({ data: (part) => void parts.push(Buffer.from(part)), end, failed });
  request.end('c');
  await ended;
  expect(Buffer.concat(parts).toString()).toBe(`a${'b'.repeat(100_000)}c`);
  expect(parts[0]?.length).toBeGreaterThan(60_000);
});

test('a body in chunks of one byte that a rule looks into takes no more than its bytes', async () => {
  const request = new PassThrough();
  const head = { chunked: true, contentLength: undefined } as Head;
  const before = heap();
  const shared = openSharedLimits(createLimitMemory(DEFAULT_LIMITS, 0), 0, DEFAULT_LIMITS, Date.now);
  const holding = createBodyRoom(DEFAULT_LIMITS, shared.heldBytes, createMetrics()).hold(
    arriving(request),
    head,
    () => undefined,
  );
  for (let at = 0; at < 100_000; at += 1) {
    request.write(Buffer.from(' '));
    await turn();
  }
  await soon(() => request.writableLength + request.readableLength === 0);
  expect(heap() - before).toBeLessThan(5 * 1024 * 1024);
  request.end('{}');
  expect((await holding).bytes.length).toBe(100_002);
});

test('the fields of a request are sorted once, however many rules ask for one', () => {
  let reads = 0;
  const fields = new Proxy(['accept', 'a', 'x-b', '1', 'accept', 'b', 'x-gone', '2'], {
    get(list, name) {
      reads += 1;
      return Reflect.get(list, name);
    },
  });
  const service = { dropsField: (name: string) => name === 'x-dropped' } as unknown as ActiveService;
  const values = forwardedValues(service, { fields, hopNames: new Set(['x-gone']) } as unknown as Head);
  expect(['accept', 'x-b', 'x-gone', 'x-dropped', '__proto__'].map(values)).toEqual([['a', 'b'], ['1'], [], [], []]);
  const once = reads;
  for (let at = 0; at < 1000; at += 1) values('accept');
  expect(reads).toBe(once);
});

test('a token that was used once does not keep the snapshot of then', () =>
  withApi(async (data, _upstream, content) => {
    const used: WeakRef<object>[] = [];
    for (let at = 0; at < 3; at += 1) {
      used.push(new WeakRef(await data.publish(content)));
      expect((await ask(data.port, '/public/a', { token: await data.mint() })).status).toBe(200);
    }
    await data.publish(content);
    expect((await ask(data.port, '/public/a', { token: await data.mint() })).status).toBe(200);
    await until('the old ones are gone', async () => {
      collect();
      await turn();
      return used.filter((one) => one.deref() !== undefined).length === 0;
    });
  }));
