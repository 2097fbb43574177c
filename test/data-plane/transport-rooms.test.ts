// Large bodies go on without a copy: whoever is slow, and whoever leaves, nobody's bytes come to anybody else.
import { createHash, randomBytes } from 'node:crypto';
import { createServer, request as send } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { MessageParser, REQUEST, ROOM } from '../../data-plane/transport/llhttp.ts';
import { keep, ReadRoom } from '../../data-plane/transport/shared-read.ts';
import { type Fixture, startFixture } from './fixture.ts';

/** Sends back what comes, as fast as it is taken. */
const mirror = createServer((request, response) => {
  response.on('error', () => undefined);
  const length = request.headers['content-length'];
  response.writeHead(200, length === undefined ? {} : { 'content-length': length });
  request.pipe(response);
});
let data: Fixture;
let token: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => mirror.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(mirror.address() as AddressInfo).port}`;
  data = await startFixture({
    services: [{ name: 'api', origin, is_default: true, insecure_upstream: true, secret: 's' }],
  });
  token = await data.mint({ allowed: ['POST /**'] });
});
afterAll(async () => {
  await data.server.close();
  mirror.closeAllConnections();
  mirror.close();
});

type Reader = { readonly isSlow: boolean; readonly hasLength: boolean; readonly leaves: boolean };

/** Sends bytes of its own and reads them back; the two digests, or nothing where it leaves before the end. */
async function exchange({ isSlow, hasLength, leaves }: Reader): Promise<readonly string[]> {
  const body = Buffer.concat(Array.from({ length: 64 }, () => randomBytes(128 * 1024)));
  const headers = { authorization: `Bearer ${token}`, ...(hasLength ? { 'content-length': body.length } : {}) };
  const { promise, resolve, reject } = Promise.withResolvers<readonly string[]>();
  const outgoing = send({ port: data.port, path: '/', method: 'POST', headers, agent: false }, async (answer) => {
    try {
      const got = createHash('sha256');
      let bytes = 0;
      for await (const part of answer) {
        got.update(part);
        bytes += part.length;
        if (isSlow) await wait(1);
        if (leaves && bytes > 2_000_000) break;
      }
      resolve(leaves ? [] : [createHash('sha256').update(body).digest('hex'), got.digest('hex')]);
    } catch (error) {
      reject(error);
    }
  });
  outgoing.on('error', (error) => (leaves ? resolve([]) : reject(error)));
  outgoing.end(body);
  return promise;
}

test('bodies of many at once, slow or quick, are each their own', async () => {
  const readers = Array.from({ length: 12 }, (_none, at) => ({
    isSlow: at % 2 === 0,
    hasLength: at % 4 !== 3,
    leaves: at % 5 === 4,
  }));
  for (const [sent, got] of await Promise.all(readers.map(exchange))) expect(got).toBe(sent);
});

/** Reads once; the taker keeps or does not. Returns where the next read goes. */
function read(room: ReadRoom, into: Buffer, length: number, keeps: boolean) {
  let leave: (() => void) | undefined;
  const taker = (bytes: Buffer) => {
    leave = keeps ? keep(bytes.subarray(0, length)) : undefined;
  };
  return { next: room.take(taker, into, length), leave: () => leave?.(), isKept: leave !== undefined };
}

test('a socket that fills the shared buffer gets a room, and goes back when it brings less', () => {
  const room = new ReadRoom();
  const shared = read(room, Buffer.alloc(ROOM), 10, true);
  expect([shared.isKept, shared.next.length]).toEqual([false, ROOM]);
  const own = read(room, shared.next, ROOM, true);
  expect([own.isKept, own.next.length > ROOM]).toEqual([false, true]);
  const again = read(room, own.next, own.next.length, false);
  expect(again.next).toBe(own.next);
  expect(read(room, again.next, 10, false).next).toBe(shared.next);
});

test('what is kept is nobody else’s until it is let go, and letting go twice is as good as once', () => {
  const [one, other] = [new ReadRoom(), new ReadRoom()];
  const shared = read(one, Buffer.alloc(ROOM), 1, false).next;
  const { next: first } = read(one, shared, ROOM, false);
  const kept = read(one, first, first.length, true);
  expect([kept.isKept, kept.next === first]).toEqual([true, false]);
  one.end();
  expect(read(other, shared, ROOM, false).next).not.toBe(first);
  other.end();
  kept.leave();
  kept.leave();
  const [third, fourth] = [new ReadRoom(), new ReadRoom()];
  const rooms = [read(third, shared, ROOM, false).next, read(fourth, shared, ROOM, false).next];
  expect(new Set(rooms).size).toBe(2);
  third.end();
  fourth.end();
});

test('there are only so many rooms, and who gets none shares', () => {
  const shared = read(new ReadRoom(), Buffer.alloc(ROOM), 1, false).next;
  const rooms = Array.from({ length: 100 }, () => new ReadRoom());
  const given = rooms.map((room) => read(room, shared, ROOM, false).next);
  expect(given.filter((next) => next !== shared)).toHaveLength(64);
  for (const room of rooms) room.end();
});

const HEAD = 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\n';
const execute = (parser: MessageParser, text: string) => {
  const code = parser.execute(Buffer.from(text, 'latin1'), 0, text.length)?.code ?? '';
  return [code, parser.body?.toString('latin1') ?? '', parser.isComplete, parser.rest];
};

test('a body of a known length is counted to its end, and what follows is parsed as strictly as ever', () => {
  const parser = new MessageParser(REQUEST, 16_384);
  expect(execute(parser, `${HEAD}ab`)).toEqual(['', 'ab', false, 0]);
  expect(execute(parser, 'cd')).toEqual(['', 'cd', false, 0]);
  expect(execute(parser, 'efGET / HTTP/1.1\r\n')).toEqual(['', 'ef', true, 16]);
  parser.next();
  expect(execute(parser, 'GET /next HTTP/1.1\r\nHost: h\r\n\r\n')).toEqual(['', '', true, 0]);
  expect(parser.line).toBe('/next');
  parser.next();
  expect(execute(parser, 'nonsense')[0]).toMatch(/^HPE_/);
  parser.free();
});

test('an end in the middle of it is a breach, and a parser that was given back counts no more', () => {
  const parser = new MessageParser(REQUEST, 16_384);
  execute(parser, HEAD);
  expect(parser.finish()?.code).toBe('HPE_INVALID_EOF_STATE');
  parser.free();
  const next = new MessageParser(REQUEST, 16_384);
  expect(execute(next, 'abcdef')[0]).toMatch(/^HPE_/);
  next.free();
});

test('a message that ends its connection is left to the parser, which takes nothing behind it', () => {
  const parser = new MessageParser(REQUEST, 16_384);
  execute(parser, HEAD.replace('Host: h', 'Host: h\r\nConnection: close'));
  expect(execute(parser, 'abcdef')).toEqual(['', 'abcdef', true, 0]);
  expect(execute(parser, 'GET / HTTP/1.1\r\n')[0]).toBe('HPE_CLOSED_CONNECTION');
  parser.free();
});

test('what is sent behind a large body waits for its answer', async () => {
  const size = 3_000_000;
  const head = (length: number) =>
    `POST /a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\nContent-Length: ${length}\r\n\r\n`;
  const socket = connect(data.port, '127.0.0.1');
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let got = '';
  socket.on('error', reject).on('data', (bytes) => {
    got += bytes.toString('latin1');
    if (got.endsWith('last')) resolve(got);
  });
  socket.write(Buffer.concat([Buffer.from(head(size)), Buffer.alloc(size, 'x'), Buffer.from(`${head(4)}last`)]));
  expect((await promise).match(/HTTP\/1\.1 200 /g)).toHaveLength(2);
  expect(got.match(/x+/g)?.reduce((most, run) => Math.max(most, run.length), 0)).toBe(size);
  socket.destroy();
});
