// Upstream connections by themselves: what is kept, what is not, and what becomes of exchanges that wait.
import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { until } from '../kit/deadline.ts';
import { dispatch, ended, poolTo, startUpstream } from './transport-fixture.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

test('a kept connection that was ended in this turn is not used for a request of this turn', async () => {
  using upstream = await startUpstream((socket) => socket.write(OK));
  using pool = poolTo(upstream.port);
  for (let turn = 0; turn < 20; turn += 1) {
    expect(await ended(dispatch(pool))).toMatchObject({ end: 'whole', body: 'ok' });
    // Its time is over: it is ended by the sweep, and in the same turn the next request comes.
    pool.sweep(performance.now() + 60_000);
    expect(await ended(dispatch(pool))).toMatchObject({ end: 'whole', body: 'ok' });
  }
});

test('an exchange that is given up while it waits for a connection is forgotten, and dials nothing more', async () => {
  using upstream = await startUpstream((socket) => socket.write(OK));
  let dials = 0;
  using pool = poolTo(upstream.port, {
    dial() {
      dials += 1;
    },
  });
  for (let turn = 0; turn < 200; turn += 1) {
    const noted = dispatch(pool);
    await new Promise<void>((resolve) => setImmediate(resolve));
    noted.control?.abort();
  }
  expect(dials).toBe(1);
});

test('a body that failed while it waited for a connection fails its exchange', async () => {
  using upstream = await startUpstream(() => undefined);
  using pool = poolTo(upstream.port);
  const body = new Readable({ read: () => undefined }).on('error', () => undefined);
  const noted = dispatch(pool, { method: 'POST', body, timeoutMs: 60_000 });
  body.destroy(new Error('too slow'));
  expect((await ended(noted)).error).toMatchObject({ message: 'too slow' });
  await until('the end of the connection', () => upstream.sockets.size === 0);
});
