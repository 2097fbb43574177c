// Upstream connections by themselves: what is kept, what is not, and what becomes of exchanges that wait.
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { createServer as createTls } from 'node:tls';
import { buildConnector } from 'undici';
import { expect, test } from 'vitest';
import { ONREAD } from '../../data-plane/transport/upstream.ts';
import { until } from '../kit/deadline.ts';
import { certificate, dispatch, ended, poolTo, startUpstream } from './transport-fixture.ts';

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

test('over TLS answers come whole, the connection is kept, and a byte out of turn ends it', async () => {
  const { cert, key } = await certificate();
  const sockets = new Set<Socket>();
  const body = 'x'.repeat(300_000);
  let connections = 0;
  const server = createTls({ cert, key }, (socket) => {
    connections += 1;
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    socket.on('data', () => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const connect = buildConnector({ ca: cert, onread: ONREAD });
  const to = { hostname: '127.0.0.1', host: '127.0.0.1', protocol: 'https:', port: String(port) };
  using pool = poolTo(port, { dial: (opened) => connect(to, (error, socket) => opened(error, socket)) });
  for (const end of ['whole', 'whole']) {
    const exchanged = await ended(dispatch(pool));
    expect([exchanged.end, exchanged.body === body]).toEqual([end, true]);
  }
  expect(connections).toBe(1);
  for (const socket of sockets) socket.write('H');
  await until('the end of the connection', () => sockets.size === 0);
  expect(await ended(dispatch(pool))).toMatchObject({ end: 'whole' });
  expect(connections).toBe(2);
  server.close();
});

test('an answer that came before all of the body did is told, and its connection is not kept', async () => {
  using upstream = await startUpstream((socket, _octets, nth) => {
    if (nth === 0) socket.write(OK);
  });
  using pool = poolTo(upstream.port);
  const body = new Readable({ read: () => undefined }).on('error', () => undefined);
  body.push('first');
  const noted = await ended(dispatch(pool, { method: 'POST', body }));
  expect(noted).toMatchObject({ end: 'whole', status: 200 });
  await until('the end of the connection', () => upstream.sockets.size === 0 && body.destroyed);
});

test.each([
  ['longer', ['content-length', '3'], 'abcd'],
  ['shorter', ['content-length', '5'], 'abcd'],
])('a body that is %s than its head says is not sent as whole', async (_name, fields, text) => {
  let octets = '';
  using upstream = await startUpstream((_socket, bytes) => {
    octets += bytes;
  });
  using pool = poolTo(upstream.port);
  const noted = await ended(dispatch(pool, { method: 'POST', fields, body: Readable.from([Buffer.from(text)]) }));
  expect(noted.end).toBe('failed');
  await until('an empty pool', () => pool.isEmpty());
  expect(octets.endsWith('abcd')).toBe(text.length < Number(fields[1]) && octets !== '');
});

test('a field of the framing, a line in a value or a blank in the target is never sent', async () => {
  using upstream = await startUpstream(() => undefined);
  using pool = poolTo(upstream.port);
  for (const request of [
    { fields: ['transfer-encoding', 'chunked'] },
    { fields: ['connection', 'close'] },
    { fields: ['host', 'other'] },
    { fields: ['x', 'a\r\nb: c'] },
    { fields: ['x\r\nb', 'c'] },
    { fields: ['x', '\u0100'] },
    { fields: ['content-length', '1'] },
    { path: '/ HTTP/1.1\r\nX: y' },
    { path: '/a b' },
    { method: 'GET /x' },
  ])
    expect((await ended(dispatch(pool, request))).error).toBeInstanceOf(TypeError);
  await until('an empty pool', () => pool.isEmpty());
});
