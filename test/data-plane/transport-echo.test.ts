// Bodies of all sizes, cut anyhow, over kept connections and through both ends of the transport, come back as they went.
import { Agent, createServer, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Fixture, startFixture } from './fixture.ts';

const echo = createServer(async (request, response) => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part);
  const body = Buffer.concat(parts);
  const isChunked = request.url?.includes('chunked') === true;
  response.writeHead(200, isChunked ? {} : { 'content-length': body.length });
  for (let at = 0; isChunked && at < body.length; at += 7_000) response.write(body.subarray(at, at + 7_000));
  response.end(isChunked ? undefined : body);
});
const agent = new Agent({ keepAlive: true, maxSockets: 4 });
let data: Fixture;
let token: string;

beforeAll(async () => {
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(echo.address() as AddressInfo).port}`;
  data = await startFixture({
    services: [{ name: 'api', origin, is_default: true, insecure_upstream: true, secret: 's' }],
  });
  token = await data.mint({ allowed: ['POST /**'] });
});
afterAll(async () => {
  agent.destroy();
  await data.server.close();
  echo.closeAllConnections();
  echo.close();
});

/** Sends a body in parts, with pauses between some; returns what comes back. */
async function exchange(path: string, body: Buffer, hasLength: boolean, parts: number): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const headers = { authorization: `Bearer ${token}`, ...(hasLength ? { 'content-length': body.length } : {}) };
  const outgoing = send({ agent, port: data.port, path, method: 'POST', headers }, async (answer) => {
    const got: Buffer[] = [];
    for await (const part of answer) got.push(part);
    resolve(Buffer.concat(got));
  });
  outgoing
    .on('error', reject)
    .setTimeout(5_000, () => outgoing.destroy(new Error(`no answer to ${path} ${body.length}`)));
  const size = Math.ceil(body.length / parts);
  for (let at = 0; at < body.length; at += size) {
    outgoing.write(body.subarray(at, at + size));
    if (at % 3 === 0) await wait(at % 2);
  }
  outgoing.end();
  return promise;
}

const SIZES = [0, 1, 4, 1000, 8_191, 8_192, 16_384, 16_385, 40_000, 65_536, 65_537, 300_000, 2_000_000];

test.each(SIZES)('a body of %d bytes', async (size) => {
  const body = Buffer.from(Array.from({ length: size }, (_none, at) => (at * 31) % 256));
  const all = [];
  for (let turn = 0; turn < 24; turn += 1)
    all.push(exchange(turn % 2 === 0 ? '/plain' : '/chunked', body, turn % 3 === 0, 1 + (turn % 5)));
  for (const got of await Promise.all(all)) expect(got.equals(body)).toBe(true);
});
