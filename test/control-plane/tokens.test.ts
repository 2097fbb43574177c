// Tokens: what Mint grants and refuses, and what Introspect, Revoke and List say to whom.
import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { generateSigningKey, importEd25519 } from '@daypass/core/key';
import type { KeyEntry } from '@daypass/core/service';
import { importVerificationKey, readToken, readUnverifiedClaims, signToken, verifyToken } from '@daypass/core/token';
import { type MintRequestSchema, TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { errorOf, type Running, sealFor, startControl } from './fixture.ts';

type Init = MessageInitShape<typeof MintRequestSchema>;
const ID = '0123456789abcdef0123456789abcdef';
const ALL = ['* /**'];

let control: Running;
let botKey: string;
let otherKey: string;
let bot: ReturnType<typeof tokensOf>;
let other: ReturnType<typeof tokensOf>;
const tokensOf = (key: string) => control.client(TokenService, key);

beforeAll(async () => {
  control = await startControl();
  const { services, callers } = control.admin;
  const upstream = 'https://api.example.com';
  const sealedCredential = await sealFor(control.home, 'stored');
  await services.create({
    service: { name: 'stored', upstream, place: { kind: 1 }, sealedCredential, credentialId: ID },
  });
  await services.create({ service: { name: 'stateless', upstream, place: { kind: 1 } } });
  await services.create({
    service: {
      name: 'plain',
      upstream,
      maxTtl: { seconds: 600n },
      scopes: { triage: { rules: ['GET /issues'] }, none: { rules: [] } },
    },
  });
  await services.create({ service: { name: 'closed', upstream, clients: { labels: ['ci'] } } });
  botKey = (await callers.create({ caller: { name: 'bot', services: ['stored', 'plain', 'closed'] } })).apiKey;
  otherKey = (await callers.create({ caller: { name: 'other', services: ['plain'] } })).apiKey;
  bot = tokensOf(botKey);
  other = tokensOf(otherKey);
});
afterAll(async () => {
  await control[Symbol.asyncDispose]();
});

test('a token holds what was granted and verifies with the published keys', async () => {
  const before = Date.now();
  const minted = await bot.mint({
    service: 'plain',
    allow: ['POST,GET /a', 'scope:triage', 'GET,POST /a'],
    ttl: { seconds: 90n },
    client: 'ci',
    subject: 'job 7',
  });
  expect(minted.allow).toEqual(['GET,POST /a', 'scope:triage']);
  const { jwks } = await control.admin.keys.getVerificationKeys({});
  const [jwk] = (JSON.parse(jwks) as { keys: (Record<string, string> & { kid: string })[] }).keys;
  if (jwk === undefined) throw new Error('no key');
  expect(jwk).toMatchObject({ kty: 'OKP', crv: 'Ed25519', alg: 'Ed25519', use: 'sig' });
  expect(jwk).not.toHaveProperty('d');
  const { kid, x = '' } = jwk;
  const entry: KeyEntry = { kid, alg: 'Ed25519', issuer: 'http://issuer.test', jwk: { kty: 'OKP', crv: 'Ed25519', x } };
  const keys = new Map([[kid, await importVerificationKey(entry)]]);
  const claims = await verifyToken(minted.token, { keys, audience: control.home.fleet });
  expect(claims).toMatchObject({
    iss: 'http://issuer.test',
    sub: 'job 7',
    client_id: 'ci',
    caller: 'bot',
    jti: minted.jti,
    service: 'plain',
    allowed: ['GET,POST /a', 'scope:triage'],
    scope_version: 1,
    status: { status_list: { uri: 'http://issuer.test/statuslists/0' } },
  });
  expect(claims.credential).toBeUndefined();
  expect(claims.exp - claims.iat).toBeCloseTo(90, 3);
  expect(claims.iat * 1000).toBeGreaterThanOrEqual(before);
  expect(Number(minted.expireTime?.seconds) * 1000).toBeGreaterThan(before + 80_000);
});

test('by default a token lives 15 minutes, or as long as the service lets it, and bears the name of its caller', async () => {
  const lifetime = async (service: string) => {
    const { token } = await control.admin.tokens.mint({
      service,
      allow: ALL,
      ...(service === 'stateless' ? { sealedCredential: await sealFor(control.home, service) } : {}),
    });
    const claims = readUnverifiedClaims(readToken(token));
    expect([claims.sub, claims.client_id, claims.caller]).toEqual(['admin', 'admin', 'admin']);
    return Math.round(claims.exp - claims.iat);
  };
  expect(await lifetime('stateless')).toBe(900);
  expect(await lifetime('plain')).toBe(600);
});

test('a token may carry its own seal, and then it is in the token alone', async () => {
  const sealedCredential = await sealFor(control.home, 'stateless');
  const { token } = await control.admin.tokens.mint({ service: 'stateless', allow: ALL, sealedCredential });
  expect(readUnverifiedClaims(readToken(token)).credential).toBe(sealedCredential);
});

const rules = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `GET /a/rather/long/path/number/${i}`);
const wrong: Readonly<Record<string, readonly [Init, Code, string, string]>> = {
  'no service': [{ allow: ALL }, Code.InvalidArgument, 'invalid_argument', 'service'],
  'a service that is not there': [{ service: 'nowhere', allow: ALL }, Code.NotFound, 'not_found', 'service'],
  'no rule': [{ service: 'plain' }, Code.InvalidArgument, 'invalid_argument', 'allow'],
  'an empty rule': [{ service: 'plain', allow: [''] }, Code.InvalidArgument, 'invalid_argument', 'allow[0]'],
  'a rule that is none': [
    { service: 'plain', allow: ['GET /a', 'GET b'] },
    Code.InvalidArgument,
    'invalid_rule',
    'allow[1]',
  ],
  'a named scope that is not there': [
    { service: 'plain', allow: ['scope:no'] },
    Code.InvalidArgument,
    'invalid_rule',
    'allow[0]',
  ],
  'a named scope by the name of a method of objects': [
    { service: 'plain', allow: ['scope:constructor'] },
    Code.InvalidArgument,
    'invalid_rule',
    'allow[0]',
  ],
  'a lifetime above the service’s': [
    { service: 'plain', allow: ALL, ttl: { seconds: 601n } },
    Code.InvalidArgument,
    'invalid_argument',
    'ttl',
  ],
  'a lifetime of nothing': [{ service: 'plain', allow: ALL, ttl: {} }, Code.InvalidArgument, 'invalid_argument', 'ttl'],
  'a lifetime above a year': [
    { service: 'plain', allow: ALL, ttl: { seconds: 40000000n } },
    Code.InvalidArgument,
    'invalid_argument',
    'ttl',
  ],
  'a label with a blank': [
    { service: 'plain', allow: ALL, client: 'a b' },
    Code.InvalidArgument,
    'invalid_argument',
    'client',
  ],
  'a seal where none is used': [
    { service: 'plain', allow: ALL, sealedCredential: 'x' },
    Code.InvalidArgument,
    'invalid_argument',
    'sealed_credential',
  ],
  'no seal where one is needed': [
    { service: 'stateless', allow: ALL },
    Code.FailedPrecondition,
    'credential_missing',
    'sealed_credential',
  ],
  'a seal that is none': [
    { service: 'stateless', allow: ALL, sealedCredential: 'a.b.c.d.e' },
    Code.InvalidArgument,
    'invalid_argument',
    'sealed_credential',
  ],
  'a seal above 2 KiB': [
    { service: 'stateless', allow: ALL, sealedCredential: 'a'.repeat(2049) },
    Code.InvalidArgument,
    'invalid_argument',
    'sealed_credential',
  ],
  'a token above 6,000 bytes': [
    { service: 'plain', allow: rules(200) },
    Code.InvalidArgument,
    'invalid_argument',
    'allow',
  ],
  'more rules than a request may hold': [
    { service: 'plain', allow: rules(1001) },
    Code.InvalidArgument,
    'invalid_argument',
    'allow',
  ],
};
test.each(Object.entries(wrong))('Mint refuses %s', async (_name, [request, code, name, field]) => {
  const error = ConnectError.from(await errorOf(control.admin.tokens.mint(request)));
  expect([error.code, error.metadata.get('daypass-error-code'), error.metadata.get('daypass-error-field')]).toEqual([
    code,
    name,
    field,
  ]);
  expect(error.rawMessage.startsWith(`${field}: `)).toBe(true);
});

test('a caller mints for its services alone, and a refusal is in the audit', async () => {
  const refused = async (service: string, client = '') => {
    const error = ConnectError.from(await errorOf(bot.mint({ service, allow: ALL, client })));
    return [error.code, error.metadata.get('daypass-error-code')];
  };
  const denied = [Code.PermissionDenied, 'permission_denied'];
  expect(await refused('stateless')).toEqual(denied);
  // One that is not there is refused the same way: a caller learns nothing of it.
  expect(await refused('nowhere')).toEqual(denied);
  expect(await refused('closed', 'laptop')).toEqual([Code.PermissionDenied, 'client_refused']);
  expect((await bot.mint({ service: 'closed', allow: ALL, client: 'ci' })).allow).toEqual(ALL);
  const { events } = await control.admin.audit.query({ filter: { kind: 2, outcome: 2 } });
  expect(events.map(({ caller, reason, service, client }) => [caller, reason, service, client])).toEqual([
    ['bot', 'client_refused', 'closed', 'laptop'],
    ['bot', 'permission_denied', 'nowhere', ''],
    ['bot', 'permission_denied', 'stateless', ''],
  ]);
});

test('Introspect tells the minter what a token says, and others that it is not known', async () => {
  const minted = await bot.mint({ service: 'plain', allow: ['GET /a'] });
  const known = await bot.introspect({ token: minted.token });
  expect(known).toMatchObject({
    active: true,
    token: { jti: minted.jti, service: 'plain', caller: 'bot', allow: ['GET /a'] },
  });
  expect(await control.admin.tokens.introspect({ token: minted.token })).toMatchObject({ active: true });
  const unknown = await other.introspect({ token: minted.token });
  expect([unknown.active, unknown.reason, unknown.token]).toEqual([false, 'not_found', undefined]);
});

test('Introspect answers for every text that is no good token, and never fails', async () => {
  const { token } = await bot.mint({ service: 'plain', allow: ALL });
  const stranger = await generateSigningKey();
  const key = await importEd25519(stranger.privateJwk, 'sign');
  const claims = readUnverifiedClaims(readToken(token));
  const forged = await signToken(claims, { kid: stranger.kid, key });
  const tampered = `${token.slice(0, -10)}${token.at(-10) === 'A' ? 'B' : 'A'}${token.slice(-9)}`;
  for (const [text, reason] of [
    ['x', 'token_malformed'],
    ['a.b.c', 'token_malformed'],
    [forged, 'token_key_unknown'],
    [tampered, 'token_signature_invalid'],
  ] as const) {
    expect(await bot.introspect({ token: text })).toMatchObject({ active: false, reason });
  }
});

test('a token that has ended is not active', async () => {
  let offset = 0;
  await using own = await startControl({ now: () => Date.now() + offset });
  await own.admin.services.create({ service: { name: 'plain', upstream: 'https://api.example.com' } });
  const { token } = await own.admin.tokens.mint({ service: 'plain', allow: ALL, ttl: { seconds: 1n } });
  offset = 7000;
  expect(await own.admin.tokens.introspect({ token })).toMatchObject({ active: false, reason: 'token_expired' });
});

test('a service that is closed to a label ends its tokens, in the answer of Introspect, too', async () => {
  await using own = await startControl();
  await own.admin.services.create({ service: { name: 'plain', upstream: 'https://api.example.com' } });
  const { token } = await own.admin.tokens.mint({ service: 'plain', allow: ALL, client: 'ci' });
  await own.admin.services.update({ service: { name: 'plain', clients: {} }, updateMask: { paths: ['clients'] } });
  expect(await own.admin.tokens.introspect({ token })).toMatchObject({ active: false, reason: 'client_refused' });
});

test('Revoke ends a token by its id or its text, for its minter and the admin alone, twice without an error', async () => {
  const [first, second] = [
    await bot.mint({ service: 'plain', allow: ALL }),
    await bot.mint({ service: 'plain', allow: ALL }),
  ];
  const theirs = other.revoke({ target: { case: 'jti', value: first.jti } });
  await expect(theirs).rejects.toMatchObject({ code: Code.NotFound });
  const receipt = await bot.revoke({ target: { case: 'jti', value: first.jti } });
  expect(receipt.rollout?.version).toBeGreaterThan(0n);
  const again = await bot.revoke({ target: { case: 'jti', value: first.jti } });
  expect(again.rollout?.version).toBe(receipt.rollout?.version);
  expect(await bot.introspect({ token: first.token })).toMatchObject({ active: false, reason: 'token_revoked' });
  expect(await bot.introspect({ token: second.token })).toMatchObject({ active: true });
  await control.admin.tokens.revoke({ target: { case: 'token', value: second.token } });
  expect(await bot.introspect({ token: second.token })).toMatchObject({ active: false, reason: 'token_revoked' });
});

test('Revoke refuses what is no target', async () => {
  const codeOf = async (work: Promise<unknown>) => {
    const error = ConnectError.from(await errorOf(work));
    return [error.code, error.metadata.get('daypass-error-field')];
  };
  expect(await codeOf(bot.revoke({}))).toEqual([Code.InvalidArgument, 'target']);
  expect(await codeOf(bot.revoke({ target: { case: 'jti', value: 'nobody' } }))).toEqual([Code.NotFound, 'jti']);
  expect(await codeOf(bot.revoke({ target: { case: 'token', value: 'x.y.z' } }))).toEqual([
    Code.InvalidArgument,
    'token',
  ]);
  const cutOff = (value: object) => ({ target: { case: 'cutOff' as const, value } });
  expect(await codeOf(control.admin.tokens.revoke(cutOff({})))).toEqual([Code.InvalidArgument, 'cut_off']);
  expect(await codeOf(bot.revoke(cutOff({ service: 'plain' })))).toEqual([Code.PermissionDenied, 'cut_off.caller']);
  expect(await codeOf(bot.revoke(cutOff({ caller: 'other' })))).toEqual([Code.PermissionDenied, 'cut_off.caller']);
  const later = { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600) };
  const future = cutOff({ service: 'plain', mintedBefore: later });
  expect(await codeOf(control.admin.tokens.revoke(future))).toEqual([Code.InvalidArgument, 'cut_off.minted_before']);
});

test('a cut-off ends the tokens that fit all of it and were minted before, and none minted after', async () => {
  const mint = (client: string, subject = '') => bot.mint({ service: 'plain', allow: ALL, client, subject });
  const [hit, label, subject] = [await mint('cut', 'me'), await mint('kept', 'me'), await mint('cut', 'you')];
  await bot.revoke({ target: { case: 'cutOff', value: { caller: 'bot', client: 'cut', subject: 'me' } } });
  const after = await mint('cut', 'me');
  const active = await Promise.all([hit, label, subject, after].map(({ token }) => bot.introspect({ token })));
  expect(active.map((one) => one.active)).toEqual([false, true, true, true]);
});

test('a token minted in the very millisecond of a cut-off is a later one', async () => {
  const at = Date.now();
  await using own = await startControl({ now: () => at });
  await own.admin.services.create({ service: { name: 'plain', upstream: 'https://api.example.com' } });
  const before = await own.admin.tokens.mint({ service: 'plain', allow: ALL });
  const wait = { seconds: 0n };
  await own.admin.tokens.revoke({ target: { case: 'cutOff', value: { service: 'plain' } }, wait });
  const after = await own.admin.tokens.mint({ service: 'plain', allow: ALL });
  expect(await own.admin.tokens.introspect({ token: before.token })).toMatchObject({ active: false });
  expect(await own.admin.tokens.introspect({ token: after.token })).toMatchObject({ active: true });
});

test('List shows a caller its own tokens, an admin all, newest first and never the text', async () => {
  await using own = await startControl();
  await own.admin.services.create({ service: { name: 'plain', upstream: 'https://api.example.com' } });
  const caller = { name: 'bot', services: ['plain'] };
  const mine = own.client(TokenService, (await own.admin.callers.create({ caller })).apiKey);
  const jtis: string[] = [];
  for (let i = 0; i < 3; i += 1) jtis.unshift((await mine.mint({ service: 'plain', allow: ALL })).jti);
  const { jti: admins, token } = await own.admin.tokens.mint({ service: 'plain', allow: ALL, client: 'ci' });
  expect((await mine.list({})).tokens.map(({ jti }) => jti)).toEqual(jtis);
  expect((await own.admin.tokens.list({})).tokens.map(({ jti }) => jti)).toEqual([admins, ...jtis]);
  expect((await own.admin.tokens.list({ client: 'ci' })).tokens.map(({ jti }) => jti)).toEqual([admins]);
  expect(JSON.stringify(await own.admin.tokens.list({}), (_, value) => String(value))).not.toContain(token);

  const first = await mine.list({ pageSize: 2 });
  const second = await mine.list({ pageSize: 2, pageToken: first.nextPageToken });
  expect([...first.tokens, ...second.tokens].map(({ jti }) => jti)).toEqual(jtis);
  expect(second.nextPageToken).toBe('');

  await mine.revoke({ target: { case: 'jti', value: jtis[0] ?? '' } });
  expect((await mine.list({ activeOnly: true })).tokens.map(({ jti }) => jti)).toEqual(jtis.slice(1));
});

test('status indices of living tokens are all different', async () => {
  const minted = await Promise.all(Array.from({ length: 50 }, () => bot.mint({ service: 'plain', allow: ALL })));
  const places = minted.map(({ token }) => readUnverifiedClaims(readToken(token)).status.status_list.idx);
  expect(new Set(places).size).toBe(50);
});
