// The end of a listener: answers in flight are finished, everything else is ended, and it is told when.

import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { answerFields } from '../../data-plane/transport/head-text.ts';
import type { Arrival } from '../../data-plane/transport/types.ts';
import { until, within } from '../kit/deadline.ts';
import { answer, certificate, dialRaw, startTransport } from './transport-fixture.ts';

const get = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: h\r\n\r\n`;

async function started(options: Parameters<typeof startTransport>[1] = {}) {
  const arrivals: Arrival[] = [];
  const server = await startTransport((arrival) => arrivals.push(arrival), options);
  const nth = (at: number): Promise<Arrival> => until('a request', () => arrivals[at]);
  return { ...server, arrivals, nth };
}

test('an answer whose head was sent before is finished, and its connection ended though it was to be kept', async () => {
  await using server = await started({ headTimeoutMs: 200 });
  using client = dialRaw(server.port);
  await client.send(get('/1'));
  const { response } = await server.nth(0);
  response.begin(200, '', answerFields(['content-length', '4']));
  response.write(Buffer.from('ab'));
  await client.got('keep-alive');
  let isDrained = false;
  const drained = server.server.drain().then(() => (isDrained = true));
  await client.got('ab');
  expect(isDrained).toBe(false);
  response.end(Buffer.from('cd'));
  await client.over();
  client.socket.end();
  await within('the drain', drained);
  expect(client.octets()).toMatch(/abcd$/);
});

test('an answer that begins while it drains says so, and what was sent ahead of it is not begun', async () => {
  await using server = await started();
  using client = dialRaw(server.port, false);
  await client.send(get('/1') + get('/2'));
  const { response } = await server.nth(0);
  const drained = server.server.drain();
  answer(response, 'whole');
  await within('the drain', drained);
  await client.over();
  expect(client.octets()).toMatch(/^HTTP\/1\.1 200 [\s\S]*connection: close\r\n[\s\S]*whole$/);
  expect(server.arrivals).toHaveLength(1);
});

test('connections without a request are ended, new ones are not taken', async () => {
  await using server = await started({ headTimeoutMs: 300 });
  using silent = dialRaw(server.port, false);
  // The head of one is on its way: it has its time, and no more.
  using slow = dialRaw(server.port, false);
  await slow.send('GET / HTTP/1.1\r\nHo');
  using kept = dialRaw(server.port, false);
  await kept.send(get('/1'));
  answer((await server.nth(0)).response, 'ok');
  await kept.got('ok');
  await until('all connections', () => silent.socket.readyState === 'open');
  const drained = server.server.drain();
  await Promise.all([silent.over(), kept.over()]);
  const refused = connect(server.port, '127.0.0.1');
  await new Promise<void>((resolve) => refused.once('error', () => resolve()));
  await within('the drain', drained);
  await slow.over();
  expect(server.errors).toEqual(['ERR_HTTP_REQUEST_TIMEOUT']);
});

test('a client that does not take its answer holds the drain no longer than it may stall', async () => {
  await using server = await started({ stallTimeoutMs: 200 });
  using client = dialRaw(server.port);
  client.socket.pause();
  await client.send(get('/1'));
  answer((await server.nth(0)).response, Buffer.alloc(32 * 1024 * 1024));
  await within('the drain', server.server.drain());
  expect(server.errors).toEqual([]);
});

test('every caller of drain and close waits for the last connection', async () => {
  await using server = await started();
  using client = dialRaw(server.port);
  await client.send(get('/1'));
  const { response } = await server.nth(0);
  let isAnswered = false;
  const drains = [server.server.drain(), server.server.drain()].map((drained) => drained.then(() => isAnswered));
  setImmediate(() => {
    isAnswered = true;
    answer(response, 'ok');
  });
  expect(await Promise.all(drains)).toEqual([true, true]);
});

test('closing ends connections whose TLS is still being agreed on', async () => {
  const server = await started({ tls: await certificate(), headTimeoutMs: 60_000 });
  using client = dialRaw(server.port);
  await until('the connection', () => client.socket.readyState === 'open');
  client.socket.write('\x16\x03\x01', 'latin1');
  await new Promise<void>((resolve) => setImmediate(resolve));
  await within('the close', server.server.close(), 5_000);
  await client.over();
  expect(server.arrivals).toEqual([]);
});
