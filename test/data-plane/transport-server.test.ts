// A client's connection by itself: order, ends of either side, and what a client does who takes his time.
import { expect, test } from 'vitest';
import type { Arrival } from '../../data-plane/transport/types.ts';
import { until } from '../kit/deadline.ts';
import { answer, dialRaw, echo, startTransport } from './transport-fixture.ts';

const get = (target: string, ...fields: string[]): string =>
  `${[`GET ${target} HTTP/1.1`, 'Host: h', ...fields].join('\r\n')}\r\n\r\n`;

test('a connection is kept after an offer of h2c that was not taken', async () => {
  await using server = await startTransport(echo);
  using client = dialRaw(server.port);
  const offer = ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AA'];
  await client.send(get('/1', ...offer));
  await client.got('/1');
  await client.send(get('/2', ...offer));
  await client.got('/2');
  await client.send(get('/3', ...offer) + get('/4', ...offer) + get('/5'));
  await client.got('/5');
  await client.send(
    `POST /6 HTTP/1.1\r\nHost: h\r\n${offer.join('\r\n')}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n`,
  );
  await client.got('<POST /6 a>');
  await client.send(get('/7'));
  await client.got('/7');
  expect(client.octets().match(/\/[0-9](?= )/g)).toEqual(['/1', '/2', '/3', '/4', '/5', '/6', '/7']);
});

test('requests sent ahead in more than a buffer are answered in their order, even at once', async () => {
  const numbers = Array.from({ length: 12_000 }, (_none, at) => `/${at}`);
  await using server = await startTransport(({ request, response }) => answer(response, `<${request.target}>`));
  using client = dialRaw(server.port);
  await client.send(numbers.map((target) => get(target)).join(''));
  await client.got('</11999>');
  expect(client.octets().match(/<[^>]+>/g)).toEqual(numbers.map((target) => `<${target}>`));
});

test('who takes no answer is let go in time, though he went on with his request after it', async () => {
  const big = Buffer.alloc(32 * 1024 * 1024, 'x');
  const arrivals: Arrival[] = [];
  await using server = await startTransport(
    (arrival) => {
      arrivals.push(arrival);
      answer(arrival.response, big);
    },
    { stallTimeoutMs: 300 },
  );
  using client = dialRaw(server.port);
  client.socket.pause();
  await client.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab');
  await until('the request', () => arrivals.length === 1);
  await client.send('cd');
  await until('the end of the connection', () => arrivals[0]?.response.isDestroyed === true);
  expect(arrivals[0]?.request.isComplete).toBe(true);
});

test('who closes his side in the middle of a body that was answered is let go at once', async () => {
  await using server = await startTransport(({ response }) => answer(response, 'early'));
  using client = dialRaw(server.port);
  await client.send('POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nab');
  await client.got('early');
  client.socket.end();
  await client.over();
  expect(client.octets()).toMatch(/early$/);
});

test('an answer that is not taken is no refused request', async () => {
  const arrivals: Arrival[] = [];
  await using server = await startTransport(
    (arrival) => {
      arrivals.push(arrival);
      answer(arrival.response, Buffer.alloc(32 * 1024 * 1024, 'x'));
    },
    { stallTimeoutMs: 200 },
  );
  using client = dialRaw(server.port);
  client.socket.pause();
  await client.send(get('/', 'Connection: close'));
  await until('the request', () => arrivals.length === 1);
  await server.server.drain();
  expect(server.errors).toEqual([]);
});
