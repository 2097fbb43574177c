// What the transport keeps of its clients: bytes of nobody else, a bounded number of them, and nothing of those that are gone.

import { connect as connectPlain } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { answerFields } from '../../data-plane/transport/head-text.ts';
import type { Arrival } from '../../data-plane/transport/types.ts';
import { createRandom } from '../fuzz/mutator.ts';
import { until } from '../kit/deadline.ts';
import { answer, certificate, dialRaw, echo, startTransport, whole } from './transport-fixture.ts';

setFlagsFromString('--expose-gc');
const collect: () => void = runInNewContext('gc');
const random = createRandom(20261122);

/** Answers late and bit by bit, so that parts of a body are kept while other connections are read. */
function slowEcho({ request, response }: Arrival): void {
  setImmediate(() => {
    whole(request, (body) => {
      response.begin(200, '', answerFields([]));
      const half = Math.floor(body.length / 2);
      if (half > 0) response.write(body.subarray(0, half));
      setImmediate(() => response.end(body.subarray(half)));
    });
    request.pause();
    setImmediate(() => request.resume());
  });
}

test.each(['cleartext', 'TLS'])('no byte of one connection is seen by another (%s)', async (kind) => {
  const tls = kind === 'TLS' ? await certificate() : undefined;
  await using server = await startTransport(slowEcho, { tls });
  const one = async (letter: string): Promise<void> => {
    const socket =
      tls === undefined
        ? connectPlain(server.port, '127.0.0.1')
        : connectTls({ port: server.port, host: '127.0.0.1', ca: tls.cert });
    let got = '';
    socket.on('data', (bytes: Buffer) => {
      got += bytes.toString('latin1');
    });
    const sizes = [1, 700, 8_192, 20_000, 65_536, 150_000];
    for (const [nth, size] of sizes.entries()) {
      const body = letter.repeat(size);
      const isChunked = nth % 2 === 0;
      const head = `POST /${letter} HTTP/1.1\r\nHost: h\r\nX: ${letter.repeat(500)}\r\n`;
      const sent = isChunked
        ? `${head}Transfer-Encoding: chunked\r\n\r\n1\r\n${letter}\r\n${(size - 1).toString(16)}${size === 1 ? '' : `\r\n${letter.repeat(size - 1)}\r\n0`}\r\n\r\n`
        : `${head}Content-Length: ${size}\r\n\r\n${body}`;
      const from = got.length;
      for (let at = 0; at < sent.length; ) {
        const to = at + 1 + random.int(40_000);
        socket.write(sent.slice(at, to), 'latin1');
        at = to;
        if (random.onceIn(2)) await new Promise<void>((resolve) => setImmediate(resolve));
      }
      await until('an answer', () => got.slice(from).endsWith('\r\n0\r\n\r\n'), 15_000);
      const text = got.slice(from);
      const bodies = text.slice(text.indexOf('\r\n\r\n') + 4).replaceAll(/(?:^|\r\n)[0-9a-f]+\r\n(?:\r\n$)?/g, '');
      expect(bodies === body, `${letter} ${size}`).toBe(true);
    }
    socket.destroy();
  };
  await Promise.all([...'GHIJKLMNOPQRSTUVWXYZ'].map(one));
});

test('a thousand connections that are reset at any moment leave nothing behind', async () => {
  await using server = await startTransport((arrival) => {
    if (random.onceIn(3)) return;
    if (random.onceIn(4)) arrival.response.destroy();
    else echo(arrival);
  });
  const octets =
    'POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n';
  const one = async (): Promise<void> => {
    using client = dialRaw(server.port);
    await new Promise<void>((resolve) => client.socket.once('connect', () => resolve()));
    client.socket.write(octets.repeat(2).slice(0, random.int(2 * octets.length)), 'latin1');
    for (let left = random.int(6); left > 0; left -= 1) await new Promise<void>((resolve) => setImmediate(resolve));
    client.socket.resetAndDestroy();
  };
  const round = async (): Promise<number> => {
    for (let left = 8; left > 0; left -= 1) await Promise.all(Array.from({ length: 50 }, one));
    collect();
    const { heapUsed, external } = process.memoryUsage();
    return heapUsed + external;
  };
  await round();
  const before = await round();
  expect((await round()) - before).toBeLessThan(2 * 1024 * 1024);
}, 60_000);

test('of a body that nobody reads little waits, and of one that is read slowly as well', async () => {
  const arrivals: Arrival[] = [];
  await using server = await startTransport((arrival) => arrivals.push(arrival));
  using client = dialRaw(server.port);
  const body = Buffer.alloc(32 * 1024 * 1024, 'x');
  client.socket.write(`POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n`);
  client.socket.write(body);
  const { request, response } = await until('the request', () => arrivals[0]);
  const before = process.memoryUsage().external;
  for (let left = 50; left > 0; left -= 1) await new Promise<void>((resolve) => setImmediate(resolve));
  expect(client.socket.writableNeedDrain).toBe(true);
  expect(process.memoryUsage().external - before).toBeLessThan(4 * 1024 * 1024);
  let got = 0;
  let most = 0;
  request.read({
    data(part) {
      got += part.length;
      most = Math.max(most, part.length);
      request.pause();
      setImmediate(() => request.resume());
    },
    end: () => answer(response, String(got)),
    cut: () => undefined,
  });
  await client.got(String(body.length));
  expect(most).toBeLessThanOrEqual(512 * 1024);
});

test('of requests sent ahead little waits, and a client that is gone has none of them begun', async () => {
  const arrivals: Arrival[] = [];
  let closed = 0;
  await using server = await startTransport((arrival) => arrivals.push(arrival), {
    onSocketClose: () => (closed += 1),
  });
  using client = dialRaw(server.port);
  const before = process.memoryUsage().external;
  client.socket.write('GET / HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(500_000), 'latin1');
  const { response, cancellation } = await until('the request', () => arrivals[0]);
  const reason = Promise.withResolvers<unknown>();
  cancellation.follow({ cancelled: reason.resolve });
  for (let left = 50; left > 0; left -= 1) await new Promise<void>((resolve) => setImmediate(resolve));
  expect(client.socket.writableNeedDrain).toBe(true);
  expect(process.memoryUsage().external - before).toBeLessThan(20 * 1024 * 1024);
  client.socket.resetAndDestroy();
  // Who is not read on is known to be gone when he is written to.
  await until('that the client is gone', () => {
    if (!response.isBegun) response.begin(200, '', answerFields([]));
    response.write(Buffer.from('x'));
    return closed === 1;
  });
  expect(await reason.promise).toMatchObject({ name: 'ClientGone' });
  expect(arrivals).toHaveLength(1);
});
