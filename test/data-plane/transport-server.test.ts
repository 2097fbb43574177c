// A client's connection by itself: order, ends of either side, and what a client does who takes his time.

import { describe, expect, test } from 'vitest';
import { answerFields } from '../../data-plane/transport/head-text.ts';
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

test('what is written to an answer behind its end goes nowhere', async () => {
  const arrivals: Arrival[] = [];
  await using server = await startTransport((arrival) => arrivals.push(arrival));
  using client = dialRaw(server.port);
  await client.send(get('/1') + get('/2', 'Connection: close'));
  const first = await until('the first request', () => arrivals[0]?.response);
  answer(first, 'one');
  const second = await until('the second request', () => arrivals[1]?.response);
  first.proceed();
  first.write(Buffer.from('HTTP/1.1 200 OK'));
  first.flush();
  first.end(Buffer.from('late'));
  answer(second, 'two');
  await client.over();
  expect(client.octets().match(/HTTP|one|two|late/g)).toEqual(['HTTP', 'one', 'HTTP', 'two']);
});

describe('who closes his side', () => {
  test('in the middle of a head is told so', async () => {
    await using server = await startTransport(echo);
    using client = dialRaw(server.port);
    client.socket.end('GET / HTTP/1.1\r\nHo');
    await client.over();
    expect([client.octets().slice(0, 12), server.errors]).toEqual(['HTTP/1.1 400', ['HPE_INVALID_EOF_STATE']]);
  });

  test.each([
    '',
    'Content-Length: 9\r\n',
    'Transfer-Encoding: chunked\r\n',
  ])('while his request is answered is gone (%j)', async (framing) => {
    const arrivals: Arrival[] = [];
    await using server = await startTransport((arrival) => arrivals.push(arrival));
    using client = dialRaw(server.port);
    await client.send(`POST / HTTP/1.1\r\nHost: h\r\n${framing}\r\n`);
    const { request, cancellation, response } = await until('the request', () => arrivals[0]);
    const reason = Promise.withResolvers<unknown>();
    const cut = Promise.withResolvers<void>();
    cancellation.follow({ cancelled: reason.resolve });
    if (framing === '') cut.resolve();
    else request.read({ data: () => undefined, end: () => undefined, cut: cut.resolve });
    client.socket.end();
    expect(await reason.promise).toMatchObject({ name: 'ClientGone' });
    await cut.promise;
    expect(response.isDestroyed).toBe(true);
  });

  test('while the end of his answer is on its way has all of it', async () => {
    const big = Buffer.alloc(16 * 1024 * 1024, 'x');
    await using server = await startTransport(({ response }) => answer(response, big));
    using client = dialRaw(server.port);
    client.socket.pause();
    await client.send(get('/'));
    client.socket.end();
    client.socket.resume();
    await client.over();
    expect(client.octets().length - client.octets().indexOf('\r\n\r\n') - 4).toBe(big.length);
  });
});

test.each([
  ['HEAD', 200, '1.1', true, 'content-length: 2', ''],
  ['HEAD', 200, '1.1', false, '', ''],
  ['GET', 204, '1.1', false, '', ''],
  ['GET', 304, '1.1', true, 'content-length: 2', ''],
  ['GET', 200, '1.1', true, 'content-length: 2', 'ab'],
  ['GET', 200, '1.1', false, 'transfer-encoding: chunked', '1\r\na\r\n1\r\nb\r\n0\r\n\r\n'],
  ['GET', 200, '1.0', false, 'connection: close', 'ab'],
])('the answer to %s of %i in HTTP/%s, its length given: %j', async (method, status, version, hasLength, field, body) => {
  await using server = await startTransport(({ response }) => {
    response.begin(status, '', answerFields(hasLength ? ['content-length', '2'] : []));
    response.write(Buffer.from('a'));
    response.end(Buffer.from('b'));
  });
  using client = dialRaw(server.port);
  await client.send(`${method} / HTTP/${version}\r\nHost: h\r\n\r\n`);
  await client.send(`GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
  await client.over();
  const [head = '', ...rest] = client.octets().split('\r\n\r\n');
  expect(head).toContain(`HTTP/1.1 ${status} `);
  expect(head.includes('transfer-encoding')).toBe(field.startsWith('transfer-encoding'));
  expect(head).toContain(field);
  const first = rest.join('\r\n\r\n').split('HTTP/1.1 ')[0];
  expect(first).toBe(body);
  // What follows is the next answer, or none.
  expect(client.octets().split('HTTP/1.1 ')).toHaveLength(version === '1.0' ? 2 : 3);
});

describe('a client that takes his time', () => {
  const limits = { headTimeoutMs: 250, requestTimeoutMs: 250, keepAliveTimeoutMs: 250, stallTimeoutMs: 250 };
  const drip = async (client: ReturnType<typeof dialRaw>, piece: string): Promise<void> => {
    const drops = setInterval(() => client.socket.write(piece, 'latin1'), 20);
    await client.over();
    clearInterval(drops);
  };

  test.each([
    ['over his first head', 'GET / HTTP/1.1\r\nHost: h\r\n', 'X: y\r\n'],
    ['over empty lines', '', '\r\n'],
    ['over his second head', 'GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\n', 'X: y\r\n'],
    ['over empty lines between two', 'GET /1 HTTP/1.1\r\nHost: h\r\n\r\n', '\r\n'],
    ['over chunks', 'POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n', '1\r\na\r\n'],
    ['over a chunk extension', 'POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;', 'a'],
    ['over trailers', 'POST /1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n', 'X: y\r\n'],
  ])('%s is let go', async (_name, start, piece) => {
    const arrivals: Arrival[] = [];
    await using server = await startTransport((arrival) => {
      arrivals.push(arrival);
      const { cancellation, response } = arrival;
      cancellation.follow({ cancelled: () => response.destroy() });
      echo(arrival);
    }, limits);
    using client = dialRaw(server.port);
    await client.send(start);
    await drip(client, piece);
    expect(arrivals.length).toBeLessThanOrEqual(1);
  });
});
