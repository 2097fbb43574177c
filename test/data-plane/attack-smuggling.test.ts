// Requests that two readers could read in two ways: through the whole proxy, and read by a strict server at its other end.
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { requests } from '../fuzz/http-grammar.ts';
import { createRandom } from '../fuzz/mutator.ts';
import { startFixture } from './fixture.ts';
import { dialRaw } from './transport-fixture.ts';
import { startOracle } from './transport-oracle.ts';

const RUNS = 600;
// Of a request that the client left unfinished.
const CUT = new Set(['ECONNRESET', 'HPE_INVALID_EOF_STATE']);

test('what the upstream reads is what node:http would have read from the client, and nothing else', async () => {
  const random = createRandom(11);
  const words = { dictionary: ['\r\n'], pool: [''], maxCode: 0xff, maxLength: 20_000 };
  let seen: string[] = [];
  const broken: string[] = [];
  const upstream = createServer({ insecureHTTPParser: false }, (request, response) => {
    const parts: Buffer[] = [];
    request.on('error', () => undefined);
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      seen.push(lineOf(request, Buffer.concat(parts)));
      response.end('ok');
    });
  });
  upstream.on('clientError', (error, socket) => {
    const code = String(Reflect.get(error, 'code'));
    if (!CUT.has(code)) broken.push(code);
    socket.destroy();
  });
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve));
  const origin = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  const oracle = await startOracle();
  await using data = await startFixture({ services: [{ name: 'api', origin, is_default: true, secret: 's' }] });
  const token = await data.mint({ allowed: ['* /**'] });
  let forwarded = 0;
  const finds: string[] = [];
  for (let left = RUNS; left > 0; left -= 1) {
    // Most need a host and a token to come as far as the upstream.
    const made = requests(random, '', words);
    const octets = made.replaceAll(/(HTTP\/1\.[01]\r\n)/g, `$1Host: h\r\nAuthorization: Bearer ${token}\r\n`);
    if (octets.length > 60_000) continue;
    seen = [];
    using client = dialRaw(data.port);
    await client.send(octets);
    client.socket.on('end', () => client.socket.end());
    await quiet(() => `${client.octets().length} ${seen.length}`);
    client.socket.destroy();
    forwarded += seen.length;
    const { oracle: read } = await oracle.read([octets], false);
    const known = read.taken.map(({ method, target, body }) => `${method} ${target} ${body}`);
    // In their order; some were refused by the proxy, and end the connection.
    let from = 0;
    for (const one of seen) {
      const at = known.indexOf(one, from);
      if (at < 0) finds.push(`${JSON.stringify(one)} of ${JSON.stringify(octets.replaceAll(token, 'T'))}`);
      from = at + 1;
    }
  }
  expect([finds, broken]).toEqual([[], []]);
  expect(forwarded).toBeGreaterThan(RUNS / 20);
  oracle.close();
  upstream.closeAllConnections();
  upstream.close();
}, 60_000);

const lineOf = ({ method, url }: IncomingMessage, body: Buffer): string =>
  `${method} ${url} ${body.toString('latin1')}`;

/** Waits until nothing has changed for a while of turns. */
async function quiet(state: () => string): Promise<void> {
  for (let left = 40, before = ''; left > 0; left -= 1) {
    await turn();
    const now = state();
    if (now !== before) left = 40;
    before = now;
  }
}
