// A client that gets its request granted and then takes its time over the body: what changed meanwhile counts.
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { type Content, type Fixture, ISSUER, startFixture } from './fixture.ts';
import { parseAnswers, soon, startRecorder } from './recorder.ts';

const credentialId = createHash('sha256').update('api').digest('hex').slice(0, 32);
const status = { status_list: { idx: 9, uri: `${ISSUER}/statuslists/0` } };

type Change = { readonly content?: Partial<Content>; readonly later?: number };

test.each<[string, Change, number, string]>([
  ['the token was revoked', { content: { revoked: [9] } }, 401, 'token_revoked'],
  [
    'its client was cut off',
    { content: { cutoffs: [{ client: 'octo-bot', minted_before: 4e9 }] } },
    401,
    'token_revoked',
  ],
  [
    'its credential was cut off',
    { content: { cutoffs: [{ credential_id: credentialId, minted_before: 4e9 }] } },
    401,
    'token_revoked',
  ],
  ['its key was taken away', { content: { keys: [] } }, 401, 'token_key_unknown'],
  ['the service was deleted', { content: { services: [] } }, 404, 'service_unknown'],
  ['the token ended', { later: 1000 }, 401, 'token_expired'],
  ['the lease ended', { later: 4000 }, 503, 'snapshot_expired'],
])('a body that comes after %s goes nowhere', async (_name, { content, later }, code, reason) => {
  using upstream = await startRecorder();
  const services = [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }];
  await using data: Fixture = await startFixture({ services });
  const head = ['POST /s/api/v1/items HTTP/1.1', 'Host: h', 'Expect: 100-continue', 'Content-Length: 4'];
  const socket = connect(data.port, '127.0.0.1');
  let got = '';
  socket.on('data', (bytes) => (got += bytes.toString('latin1'))).on('error', () => undefined);
  socket.write(`${[...head, `Authorization: Bearer ${await data.mint({ status })}`].join('\r\n')}\r\n\r\n`);
  await soon(() => got.includes('100 Continue'));
  if (content !== undefined) await data.publish({ services, ...content });
  data.clock.nowMs += (later ?? 0) * 1000;
  socket.write('boom');
  await soon(() => parseAnswers(got).length === 2);
  expect(parseAnswers(got).map((answer) => answer.status)).toEqual([100, code]);
  expect(upstream.dialled()).toBe(0);
  expect(data.audit.decisions).toMatchObject([{ result: 'refused', reason, rule: '', credential_id: '' }]);
  expect(data.audit.outcomes).toMatchObject([{ result: 'refused', reason, status: code }]);
  socket.destroy();
});

test('a body that comes after the credential was replaced is sent with the new one', async () => {
  using upstream = await startRecorder();
  const service = { name: 'api', origin: upstream.origin, secret: 'OLD', is_default: true };
  await using data = await startFixture({ services: [service] });
  const socket = connect(data.port, '127.0.0.1');
  let got = '';
  socket.on('data', (bytes) => (got += bytes.toString('latin1'))).on('error', () => undefined);
  const fields = `Host: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\nAuthorization: Bearer ${await data.mint()}`;
  socket.write(`POST /v1/items HTTP/1.1\r\n${fields}\r\n\r\n`);
  await soon(() => got.includes('100 Continue'));
  await data.publish({ services: [{ ...service, secret: 'NEW' }] });
  socket.write('{}');
  await soon(() => got.includes('200 OK'));
  expect(upstream.requests()[0]?.fields).toContainEqual(['authorization', 'Bearer NEW']);
  expect(data.audit.decisions).toMatchObject([{ result: 'allowed', snapshot_version: 2 }]);
  socket.destroy();
});
