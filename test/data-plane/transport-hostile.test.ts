// An upstream that means harm: no answer of it reaches a request that was not its own, and none of its tricks holds a request.

import { setImmediate as turn } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { requestLines } from '../../data-plane/transport/head-text.ts';
import { until } from '../kit/deadline.ts';
import { dispatch, ended, poolTo, startUpstream } from './transport-fixture.ts';

const ok = (body: string): string => `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
const POISON = ok('poison');

describe('answers that nobody asked for', () => {
  test.each([
    ['in the same packet', (first: string) => [first + POISON]],
    ['right behind it', (first: string) => [first, POISON]],
    ['as a lone byte', (first: string) => [first, 'H']],
    ['as an empty line', (first: string) => [first, '\r\n']],
  ])('%s are no answer to the next request', async (_name, parts) => {
    using upstream = await startUpstream((socket, _octets, nth) => {
      // The first connection speaks out of turn.
      for (const part of nth === 0 ? parts(ok('first')) : [ok(`of ${nth}`)]) socket.write(part);
    });
    using pool = poolTo(upstream.port);
    expect(await ended(dispatch(pool))).toMatchObject({ end: 'whole', body: 'first' });
    await until('the end of the connection', () => upstream.sockets.size === 0);
    expect(await ended(dispatch(pool))).toMatchObject({ end: 'whole', body: 'of 1' });
  });

  test('sent before any request end the connection', async () => {
    using upstream = await startUpstream(() => undefined);
    using pool = poolTo(upstream.port);
    const first = dispatch(pool);
    const socket = await until('a connection', () => [...upstream.sockets][0]);
    socket.write(ok('first'));
    await ended(first);
    // It is idle now; a whole answer arrives in the turn in which a request is waiting to leave.
    socket.write(POISON);
    await until('its end', () => upstream.sockets.size === 0);
    const second = dispatch(pool);
    await until('another connection', () => upstream.dialled() === 2);
    for (const other of upstream.sockets) other.write(ok('second'));
    expect(await ended(second)).toMatchObject({ end: 'whole', body: 'second' });
  });

  test.each([
    ['to HEAD', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n'],
    ['of 204', 'GET', 'HTTP/1.1 204 No\r\nContent-Length: 6\r\n\r\n'],
    ['of 304', 'GET', 'HTTP/1.1 304 Not\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ])('in place of a body %s are not read, and the connection is not kept', async (_name, method, head) => {
    using upstream = await startUpstream((socket, _octets, nth) => socket.write(nth === 0 ? head : ok('next')));
    using pool = poolTo(upstream.port);
    const exchanged = await ended(dispatch(pool, { method }));
    expect(exchanged).toMatchObject({ end: 'whole', body: '' });
    await until('its end', () => upstream.sockets.size === 0);
    expect(await ended(dispatch(pool))).toMatchObject({ body: 'next' });
  });
});

describe('an answer that breaks off or does not end', () => {
  const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  test.each([
    ['nothing at all', ''],
    ['half a head', 'HTTP/1.1 200 OK\r\nContent-Le'],
    ['half a body', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab'],
    ['half a chunk', `${chunked}9\r\nab`],
    ['no last chunk', `${chunked}2\r\nab\r\n`],
    ['an interim answer alone', 'HTTP/1.1 103 E\r\n\r\n'],
    ['100 that was not asked for', `HTTP/1.1 100 C\r\n\r\n${ok('x')}`],
    ['101', 'HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nxyz'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab'],
    ['a length and chunks', `HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['a head without end', `HTTP/1.1 200 OK\r\n${'X: y\r\n'.repeat(20_000)}`],
    ['one field without end', `HTTP/1.1 200 OK\r\nX: ${'y'.repeat(100_000)}`],
    ['blanks without end', `HTTP/1.1 200 OK\r\nX:${' '.repeat(100_000)}`],
    ['a chunk extension without end', `${chunked}1;${'x'.repeat(100_000)}`],
    ['trailers without end', `${chunked}0\r\n${'X: y\r\n'.repeat(20_000)}`],
    ['no HTTP', 'SSH-2.0-x\r\n'],
  ])('%s is a failure, at once', async (_name, octets) => {
    using upstream = await startUpstream((socket) => socket.end(octets, 'latin1'));
    using pool = poolTo(upstream.port);
    expect(await ended(dispatch(pool))).toMatchObject({ end: 'failed' });
    await until('its end', () => upstream.sockets.size === 0);
    expect(pool.isEmpty()).toBe(true);
  });

  test('without a length it ends with the connection, which is not kept', async () => {
    using upstream = await startUpstream((socket) => socket.end('HTTP/1.1 200 OK\r\n\r\nall'));
    using pool = poolTo(upstream.port);
    expect(await ended(dispatch(pool))).toMatchObject({ end: 'whole', body: 'all' });
    await until('an empty pool', () => pool.isEmpty());
  });

  test.each([
    ['says nothing', ''],
    ['says a byte of its head at a time', 'HTTP/1.1 200 OK\r\n'],
    ['stops in its body', 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na'],
  ])('who %s is given up in time', async (_name, octets) => {
    using upstream = await startUpstream((socket) => socket.write(octets));
    using pool = poolTo(upstream.port);
    const { error } = await ended(dispatch(pool, { timeoutMs: 100 }));
    expect(error).toMatchObject({ code: 'ETIMEDOUT' });
    await until('an empty pool', () => pool.isEmpty());
  });

  test('who takes no body is given up in time', async () => {
    using upstream = await startUpstream((socket) => socket.pause());
    using pool = poolTo(upstream.port);
    const body = Buffer.alloc(32 * 1024 * 1024);
    const fields = ['content-length', String(body.length)];
    const { error } = await ended(dispatch(pool, { method: 'POST', fields, body, timeoutMs: 200 }));
    expect(error).toMatchObject({ code: 'ETIMEDOUT' });
    await until('an empty pool', () => pool.isEmpty());
  });
});

test('a flood of interim answers is told one by one, and a handler that has enough ends it', async () => {
  using upstream = await startUpstream((socket) => socket.write('HTTP/1.1 103 E\r\nLink: x\r\n\r\n'.repeat(5_000)));
  using pool = poolTo(upstream.port);
  let count = 0;
  const failure = Promise.withResolvers<unknown>();
  pool.dispatch(
    { method: 'GET', path: '/', lines: requestLines([]), contentLength: undefined, body: null, timeoutMs: 5_000 },
    {
      started: () => undefined,
      interim() {
        count += 1;
        if (count > 10) throw new Error('enough');
      },
      head: () => undefined,
      data: () => undefined,
      end: () => undefined,
      waits: () => undefined,
      failed: failure.resolve,
    },
  );
  expect(await failure.promise).toMatchObject({ message: 'enough' });
  expect(count).toBe(11);
  await until('an empty pool', () => pool.isEmpty());
});

test.each([
  'head',
  'data',
  'end',
] as const)('what is thrown while %s is told fails that exchange alone', async (where) => {
  using upstream = await startUpstream((socket) => socket.write(ok('x')));
  using pool = poolTo(upstream.port);
  const failure = Promise.withResolvers<unknown>();
  const broken = (name: string) => (): void => {
    if (name === where) throw new Error(name);
  };
  pool.dispatch(
    { method: 'GET', path: '/', lines: requestLines([]), contentLength: undefined, body: null, timeoutMs: 5_000 },
    {
      started: () => undefined,
      interim: () => undefined,
      head: broken('head'),
      data: broken('data'),
      end: broken('end'),
      waits: () => undefined,
      failed: failure.resolve,
    },
  );
  expect(await failure.promise).toMatchObject({ message: where });
  expect(await ended(dispatch(pool))).toMatchObject({ end: 'whole', body: 'x' });
});

test('exchanges that are given up at any moment leave no connection, and take no place', async () => {
  using upstream = await startUpstream((socket) => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf');
  });
  using pool = poolTo(upstream.port, { connectionsMax: 4 });
  for (let at = 0; at < 200; at += 1) {
    const noted = dispatch(pool);
    for (let left = at % 7; left > 0; left -= 1) await turn();
    noted.control?.abort();
    noted.control?.abort();
    expect(noted.end).toBe('none');
  }
  await until('an empty pool', () => pool.isEmpty() && upstream.sockets.size === 0);
});

test('connections are no more than may be, and each carries one exchange at a time', async () => {
  let most = 0;
  using upstream = await startUpstream((socket, octets) => {
    most = Math.max(most, upstream.sockets.size);
    expect(octets.match(/GET /g)).toHaveLength(1);
    setTimeout(() => socket.write(ok(/GET (\S+)/.exec(octets)?.[1] ?? '')), 1);
  });
  using pool = poolTo(upstream.port, { connectionsMax: 3 });
  const all = Array.from({ length: 60 }, (_none, at) => dispatch(pool, { path: `/${at}` }));
  for (const [at, noted] of all.entries()) expect(await ended(noted)).toMatchObject({ body: `/${at}` });
  expect(most).toBeLessThanOrEqual(3);
});
