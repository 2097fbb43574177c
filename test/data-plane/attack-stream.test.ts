// A stream that was begun with a good token, and is still open when the token is revoked.
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { type Content, ISSUER, startFixture } from './fixture.ts';
import { soon, startRecorder } from './recorder.ts';

const credentialId = createHash('sha256').update('api').digest('hex').slice(0, 32);
const statusAt = (idx: number) => ({ status_list: { idx, uri: `${ISSUER}/statuslists/0` } });

/** Opens a stream; returns what its client has seen. */
async function open(port: number, token: string) {
  const socket = connect(port, '127.0.0.1');
  const seen = { got: '', isClosed: false, socket };
  socket.on('data', (bytes) => (seen.got += bytes.toString('latin1'))).on('close', () => (seen.isClosed = true));
  socket.on('error', () => undefined);
  socket.write(`GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n\r\n`);
  await soon(() => seen.got.includes('ok'));
  return seen;
}

const BEGINNING = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n';

test.each<[string, Omit<Content, 'services'>]>([
  ['its token is revoked', { revoked: [9] }],
  ['its client is cut off', { cutoffs: [{ client: 'lost', minted_before: 4e9 }] }],
  [
    'its credential is cut off for its client',
    { cutoffs: [{ client: 'lost', credential_id: credentialId, minted_before: 4e9 }] },
  ],
])('a stream ends on both sides when %s, and another goes on', async (_name, change) => {
  using upstream = await startRecorder();
  const services = [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }];
  await using data = await startFixture({ services });
  upstream.script(BEGINNING);
  upstream.script(BEGINNING);
  const kept = await open(data.port, await data.mint({ status: statusAt(8) }));
  const lost = await open(data.port, await data.mint({ status: statusAt(9), client_id: 'lost' }));
  await data.publish({ services, ...change });
  await soon(() => lost.isClosed && upstream.sockets().length === 1);
  expect(lost.got.endsWith('0\r\n\r\n')).toBe(false);
  expect(data.audit.outcomes).toMatchObject([{ result: 'failed', reason: 'token_revoked', status: 200 }]);
  upstream.sockets()[0]?.write('4\r\nmore\r\n0\r\n\r\n');
  await soon(() => kept.got.endsWith('0\r\n\r\n'));
  expect(kept.got).toContain('more');
  kept.socket.destroy();
});
