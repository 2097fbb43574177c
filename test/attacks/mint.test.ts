// The control cases MNT-*: what a caller asks of Mint and Exchange that it may not have.
import { create, toBinary } from '@bufbuild/protobuf';
import { ConnectError } from '@connectrpc/connect';
import { readToken, readUnverifiedClaims } from '@daypass/core/token';
import { MintRequestSchema, TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { errorOf, type Running, sealFor, startControl } from '../control-plane/fixture.ts';

let control: Running;
let key: string;
let bot: ReturnType<typeof tokensOf>;
const tokensOf = (apiKey: string) => control.client(TokenService, apiKey);

beforeAll(async () => {
  control = await startControl();
  const { services, callers } = control.admin;
  for (const name of ['plain', 'secret', 'capped'])
    await services.create({ service: { name, upstream: 'https://api.example.com', maxTtl: { seconds: 3600n } } });
  const caller = {
    ...{ name: 'bot', services: ['plain', 'capped'] },
    ceilings: { capped: { rules: ['GET /repos/acme/**', 'POST /repos/acme/{repo}/issues'] } },
  };
  key = (await callers.create({ caller })).apiKey;
  bot = tokensOf(key);
});
afterAll(() => control?.[Symbol.asyncDispose]());

/** Code, field and reason of what was refused. */
async function refusal(work: Promise<unknown>): Promise<readonly (string | null)[]> {
  const { metadata } = ConnectError.from(await errorOf(work));
  return [metadata.get('daypass-error-code'), metadata.get('daypass-error-field')];
}

const minted = async (): Promise<number> => (await control.admin.tokens.list({ pageSize: 1000 })).tokens.length;

test.each([
  ['another path', 'GET /repos/other/x'],
  ['a sibling of the same beginning', 'GET /repos/acme2/x'],
  ['another method', 'DELETE /repos/acme/x'],
  ['HEAD, which GET does not imply', 'HEAD /repos/acme/x'],
  ['a wider glob', 'GET /repos/**'],
  ['all', '* /**'],
  ['all methods', '* /repos/acme/**'],
  ['a pattern', 'GET ~/repos/acme/.*'],
  ['one segment more', 'POST /repos/acme/{repo}/issues/**'],
])('MNT-01 a rule that the caller does not hold is refused whole, and audited: %s', async (_name, rule) => {
  const before = await minted();
  const asked = bot.mint({ service: 'capped', allow: ['GET /repos/acme/a', rule] });
  expect(await refusal(asked)).toEqual(['permission_denied', 'allow[1]']);
  expect(await minted()).toBe(before);
  const { events } = await control.admin.audit.query({ filter: { kind: 2, outcome: 2 } });
  expect(events[0]).toMatchObject({ caller: 'bot', reason: 'permission_denied', service: 'capped' });
});

test.each([
  'GET /a/../b',
  'GET /a/%2e%2e/b',
  'GET //a',
  'GET /a//b',
  'GET /a;b',
  'GET /a/%00',
  'GET /a\0b',
  'GET /ü',
  'GET /a%',
  'GET /a\\b',
  'get /a',
  'GeT /a',
  'GET /a?b=c',
  'GET /a#b',
  'GET a',
  'GET https://evil.example/',
  'CONNECT /a',
  'TRACE /a',
  'GET /**/a',
  'GET /a**',
  'GET /{a',
  'GET /a\nPOST /b',
  'GET /a\u2028',
  '',
  ' ',
])('MNT-03 the rule %j is refused as the data plane would', async (rule) => {
  const [code] = await refusal(bot.mint({ service: 'plain', allow: [rule] }));
  expect(['invalid_rule', 'invalid_argument']).toContain(code);
});

test('MNT-03 blanks around a rule make no other rule', async () => {
  // They are no part of the canonical text, which is what the token carries.
  for (const rule of ['GET /a ', ' GET /a', 'GET  /a']) {
    const work = bot.mint({ service: 'plain', allow: [rule] });
    const allow = await work.then(
      (answer) => answer.allow,
      () => 'refused',
    );
    expect(['refused', JSON.stringify(['GET /a'])]).toContain(allow === 'refused' ? allow : JSON.stringify(allow));
  }
});

test.each([
  ['0s'],
  ['-1s'],
  ['NaN'],
  ['NaNs'],
  ['1e18s'],
  ['1000000000000000000s'],
  ['315576000001s'],
  ['1h'],
  ['Infinity'],
  [''],
  [0],
  [-1],
  [1e18],
  [{}],
  [[]],
  ['9223372036854775807s'],
])('MNT-05 the lifetime %j is refused, and is never without an end', async (ttl) => {
  const answer = await fetch(`${control.url}/daypass.v1.TokenService/Mint`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ service: 'plain', allow: ['GET /a'], ttl }),
  });
  expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([400, 'invalid_argument']);
});

test('MNT-05 nanoseconds out of their range are refused', async () => {
  for (const ttl of [
    { seconds: 1n, nanos: 2_000_000_000 },
    { seconds: 0n, nanos: -1 },
    { seconds: -1n, nanos: 999_999_999 },
  ])
    expect((await refusal(bot.mint({ service: 'plain', allow: ['GET /a'], ttl })))[0]).toBe('invalid_argument');
});

test('MNT-07 a token that is exchanged again and again never lives longer than the first', async () => {
  const first = await bot.mint({ service: 'plain', allow: ['GET /**'], ttl: { seconds: 60n } });
  let token = first.token;
  for (let time = 0; time < 4; time += 1) {
    const longer = bot.exchange({ subjectToken: token, allow: [], ttl: { seconds: 3000n } });
    expect((await refusal(longer))[0]).toMatch(/^(invalid_argument|permission_denied)$/);
    token = (await bot.exchange({ subjectToken: token, allow: [] })).token;
    const claims = readUnverifiedClaims(readToken(token));
    expect(claims.exp).toBeLessThanOrEqual(readUnverifiedClaims(readToken(first.token)).exp);
  }
});

test('MNT-09 a caller speaks for nobody that it may not speak for', async () => {
  const caller = { name: 'narrow', services: ['plain'], clients: { labels: ['ci'] }, subjects: { subjects: ['ada'] } };
  const narrow = tokensOf((await control.admin.callers.create({ caller })).apiKey);
  const mint = (client: string, subject: string) =>
    narrow.mint({ service: 'plain', allow: ['GET /a'], client, subject });
  expect(await refusal(mint('ci', 'bob'))).toEqual(['permission_denied', 'subject']);
  expect(await refusal(mint('other', 'ada'))).toEqual(['permission_denied', 'client']);
  expect((await mint('ci', 'ada')).jti).not.toBe('');
});

test("MNT-11 what is another's is refused like what is not there, in the same words", async () => {
  const ask = async (service: string) => {
    const error = ConnectError.from(await errorOf(bot.mint({ service, allow: ['GET /a'] })));
    return [error.code, error.rawMessage.replaceAll(service, 'NAME')];
  };
  expect(await ask('secret')).toEqual(await ask('absent'));
  const theirs = await control.admin.tokens.mint({ service: 'secret', allow: ['GET /a'] });
  expect(await refusal(bot.revoke({ target: { case: 'jti', value: theirs.jti } }))).toEqual(
    await refusal(bot.revoke({ target: { case: 'jti', value: 'absent' } })),
  );
});

test('MNT-13 the same call twice makes two tokens, and lengthens neither', async () => {
  const request = { service: 'plain', allow: ['GET /a'], ttl: { seconds: 60n } };
  const [one, two] = [await bot.mint(request), await bot.mint(request)];
  expect(one.jti).not.toBe(two.jti);
  const before = readUnverifiedClaims(readToken(one.token)).exp;
  const known = await bot.introspect({ token: one.token });
  expect(Math.abs(Number(known.token?.expireTime?.seconds) - before)).toBeLessThanOrEqual(1);
});

test('MNT-17 a credential that is too large, or would end its field, is refused', async () => {
  const service = { name: 'large', upstream: 'https://api.example.com', place: { kind: 1 as const } };
  const credentialId = '0123456789abcdef0123456789abcdef';
  const sealedCredential = `${await sealFor(control.home, 'large')}${'A'.repeat(8192)}`;
  const asked = control.admin.services.create({ service: { ...service, sealedCredential, credentialId } });
  expect((await refusal(asked))[0]).toBe('invalid_argument');
  const carried = control.admin.tokens.mint({ service: 'plain', allow: ['GET /a'], sealedCredential });
  expect((await refusal(carried))[0]).toBe('invalid_argument');
  // CR and LF: see JWE-21, where the client that seals refuses them, and the data plane again.
});

test('MNT-19 the planes themselves are no upstream, whatever a rule names', async () => {
  // The planes never share an origin with a service; what is left of the case is a service that points at one of them.
  await using own = await startControl({ env: { DAYPASS_ALLOW_UPSTREAM_RANGES: '127.0.0.0/8' } });
  for (const upstream of ['http://127.0.0.1:8470', 'http://localhost:8470', 'http://127.0.0.1:8471']) {
    const asked = own.admin.services.create({ service: { name: 'self', upstream, insecureUpstream: true } });
    expect(await refusal(asked)).toEqual(['invalid_argument', 'service.upstream']);
  }
});

test('MNT-21 a deleted caller mints nothing more, and its tokens end', async () => {
  const { apiKey } = await control.admin.callers.create({ caller: { name: 'passing', services: ['plain'] } });
  const passing = tokensOf(apiKey);
  const { token } = await passing.mint({ service: 'plain', allow: ['GET /a'] });
  await control.admin.callers.delete({ name: 'passing', wait: {} });
  expect((await refusal(passing.mint({ service: 'plain', allow: ['GET /a'] })))[0]).toBe('unauthenticated');
  expect(await control.admin.tokens.introspect({ token })).toMatchObject({ active: false });
});

test('MNT-21 a service that is taken from a caller is refused at the next Mint', async () => {
  const { apiKey } = await control.admin.callers.create({ caller: { name: 'narrowed', services: ['plain'] } });
  const narrowed = tokensOf(apiKey);
  await narrowed.mint({ service: 'plain', allow: ['GET /a'] });
  await control.admin.callers.update({ caller: { name: 'narrowed' }, updateMask: { paths: ['services'] } });
  expect((await refusal(narrowed.mint({ service: 'plain', allow: ['GET /a'] })))[0]).toBe('permission_denied');
});

test('MNT-23 a second list of rules or a second service in the bytes is what is checked, too', async () => {
  const part = (value: object) => toBinary(MintRequestSchema, create(MintRequestSchema, value));
  const post = async (bytes: Uint8Array<ArrayBuffer> | string, type: string) => {
    const answer = await fetch(`${control.url}/daypass.v1.TokenService/Mint`, {
      method: 'POST',
      headers: { 'content-type': type, authorization: `Bearer ${key}` },
      body: bytes,
    });
    return [answer.status, answer.headers.get('daypass-error-field')];
  };
  const capped = part({ service: 'capped', allow: ['GET /repos/acme/a'] });
  const rules = part({ allow: ['DELETE /repos/other'] });
  const secret = part({ service: 'secret' });
  // A repeated field goes on, a single one is the last.
  expect(await post(Uint8Array.from([...capped, ...rules]), 'application/proto')).toEqual([403, 'allow[1]']);
  expect(await post(Uint8Array.from([...capped, ...secret]), 'application/proto')).toEqual([403, 'service']);
  // Fields that are not known change nothing.
  const unknown = Uint8Array.from([...capped, 0xfa, 0x3f, 2, 0x2f, 0x2a]);
  expect((await post(unknown, 'application/proto'))[0]).toBe(200);
  const twice = '{"service":"plain","allow":["GET /a"],"service":"secret"}';
  expect((await post(twice, 'application/json'))[0]).not.toBe(200);
});

test.each([
  'TokenService/Mint',
  'TokenService/Exchange',
  'TokenService/Revoke',
  'ServiceRegistry/Create',
  'CallerService/Delete',
])('MNT-25 %s has no GET', async (method) => {
  const message = encodeURIComponent(JSON.stringify({ service: 'plain', allow: ['GET /a'] }));
  const before = await minted();
  const answer = await fetch(`${control.url}/daypass.v1.${method}?connect=v1&encoding=json&message=${message}`, {
    headers: { authorization: `Bearer ${key}` },
  });
  expect([404, 405, 415]).toContain(answer.status);
  expect(await minted()).toBe(before);
});
