// Where the runtime does not let sockets read into one buffer, they are read by events; and without its parser nothing starts.
import { spawnSync } from 'node:child_process';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readInto } from '../../data-plane/transport/shared-read.ts';
import { until } from '../kit/deadline.ts';
import { dialRaw, echo, startTransport } from './transport-fixture.ts';

// The first of this process: what is not found on it is not looked for again.
const stranger = new EventEmitter() as Socket;
const taken: Buffer[] = [];
readInto(stranger, (bytes, length) => taken.push(Buffer.from(bytes.subarray(0, length))));

test('a socket without a handle is read by events', () => {
  const bytes = Buffer.from(Array.from({ length: 200_000 }, (_none, at) => (at * 7) % 256));
  stranger.emit('data', bytes);
  expect(Buffer.concat(taken).equals(bytes)).toBe(true);
});

test('a server whose sockets are read by events answers, holds back and notices ends like any other', async () => {
  let closed = 0;
  await using server = await startTransport(echo, { onSocketClose: () => (closed += 1) });
  using client = dialRaw(server.port);
  const body = 'abc'.repeat(100_000);
  await client.send(
    `GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await client.send('GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n');
  await client.over();
  expect(client.octets().match(/<[A-Z]+ \/[0-9]/g)).toEqual(['<GET /1', '<POST /2', '<GET /3']);
  expect(client.octets().includes(body)).toBe(true);
  client.socket.end();
  await until('the end of the connection', () => closed === 1);
});

test.each([
  ['is not there', "if (name.includes('llhttp')) throw new Error('no ' + name);"],
  ['is something else', "if (name.includes('llhttp')) name = 'undici/package.json';"],
])('a parser that %s ends the start of the process', (_name, change) => {
  const hook = `import M from 'node:module'; const find = M._resolveFilename; M._resolveFilename = function (name, ...rest) { ${change} return find.call(this, name, ...rest); };`;
  const parser = join(import.meta.dirname, '../../data-plane/transport/llhttp.ts');
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--import', `data:text/javascript,${encodeURIComponent(hook)}`, parser],
    { encoding: 'utf8' },
  );
  expect(status).not.toBe(0);
  expect(stderr).toMatch(/llhttp/);
});
