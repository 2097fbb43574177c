// MintBatch: many tokens in one call, all or none.
import { type Client, Code, ConnectError } from '@connectrpc/connect';
import { readToken, readUnverifiedClaims } from '@daypass/core/token';
import { TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { errorOf, type Running, startControl } from './fixture.ts';

let control: Running;
let bot: Client<typeof TokenService>;
beforeAll(async () => {
  control = await startControl();
  const upstream = 'https://api.example.com';
  const wait = { seconds: 0n };
  for (const service of [
    { name: 'plain', upstream, maxTtl: { seconds: 600n }, scopes: { triage: { rules: ['GET /a'] } } },
    { name: 'closed', upstream, clients: { labels: ['ci'] } },
  ]) {
    await control.admin.services.create({ service, wait });
  }
  const caller = {
    name: 'bot',
    services: ['plain', 'closed'],
    ceilings: { plain: { rules: ['GET /**', 'scope:triage'] } },
  };
  bot = control.client(TokenService, (await control.admin.callers.create({ caller })).apiKey);
});
afterAll(() => control[Symbol.asyncDispose]());

const GET = ['GET /a'];
const many = (count: number) => Array.from({ length: count }, (_, i) => ({ allow: GET, client: `c-${i}` }));
const minted = async () => (await control.admin.tokens.list({ pageSize: 1000 })).tokens.length;
const failure = async (work: Promise<unknown>) => {
  const error = ConnectError.from(await errorOf(work));
  return [error.code, error.metadata.get('daypass-error-code'), error.metadata.get('daypass-error-field')];
};

test('each token of a batch has its own rules, label, subject and end, in the order in which they were asked for', async () => {
  const { tokens } = await bot.mintBatch({
    service: 'plain',
    tokens: [
      { allow: ['scope:triage'], client: 'a', subject: 'ann', ttl: { seconds: 60n } },
      { allow: ['GET /b', 'GET /c'], client: 'b' },
      { allow: GET },
    ],
  });
  const claims = tokens.map(({ token }) => readUnverifiedClaims(readToken(token)));
  expect(claims.map(({ allowed, client_id, sub, caller }) => [allowed, client_id, sub, caller])).toEqual([
    [['scope:triage'], 'a', 'ann', 'bot'],
    [['GET /b', 'GET /c'], 'b', 'b', 'bot'],
    [GET, 'bot', 'bot', 'bot'],
  ]);
  expect(claims.map(({ exp, iat }) => Math.round(exp - iat))).toEqual([60, 600, 600]);
  expect(tokens.map(({ jti }) => jti)).toEqual(claims.map(({ jti }) => jti));
  for (const { token } of tokens) expect(await bot.introspect({ token })).toMatchObject({ active: true });
});

test('a hundred tokens have a hundred ids, status places and audit rows, in one chain', async () => {
  const { tokens } = await bot.mintBatch({ service: 'plain', tokens: many(100) });
  const claims = tokens.map(({ token }) => readUnverifiedClaims(readToken(token)));
  expect(new Set(claims.map(({ jti }) => jti)).size).toBe(100);
  expect(new Set(claims.map(({ status }) => status.status_list.idx)).size).toBe(100);
  const { events } = await control.admin.audit.query({ filter: { kind: 2 }, pageSize: 100 });
  expect(events.map(({ jti }) => jti).reverse()).toEqual(claims.map(({ jti }) => jti));
  expect(events.every(({ method, caller }) => method === 'TokenService/MintBatch' && caller === 'bot')).toBe(true);
});

type Init = Parameters<Client<typeof TokenService>['mintBatch']>[0];
const wrong: Readonly<Record<string, readonly [Init, Code, string, string]>> = {
  'no token': [{ service: 'plain' }, Code.InvalidArgument, 'invalid_argument', 'tokens'],
  'more than a hundred': [{ service: 'plain', tokens: many(101) }, Code.InvalidArgument, 'invalid_argument', 'tokens'],
  'more than a thousand rules': [
    {
      service: 'plain',
      tokens: [
        { allow: Array.from({ length: 900 }, () => 'GET /a') },
        { allow: Array.from({ length: 101 }, () => 'GET /a') },
      ],
    },
    Code.InvalidArgument,
    'invalid_argument',
    'tokens',
  ],
  'a service that the caller may not mint for': [
    { service: 'nowhere', tokens: many(2) },
    Code.PermissionDenied,
    'permission_denied',
    'service',
  ],
  'a rule that is none': [
    { service: 'plain', tokens: [...many(2), { allow: ['GET /a', 'GET b'] }] },
    Code.InvalidArgument,
    'invalid_rule',
    'tokens[2].allow[1]',
  ],
  'no rule': [
    { service: 'plain', tokens: [...many(1), {}] },
    Code.InvalidArgument,
    'invalid_argument',
    'tokens[1].allow',
  ],
  'a lifetime above the service’s': [
    { service: 'plain', tokens: [...many(1), { allow: GET, ttl: { seconds: 601n } }] },
    Code.InvalidArgument,
    'invalid_argument',
    'tokens[1].ttl',
  ],
  'a label with a blank': [
    { service: 'plain', tokens: [...many(1), { allow: GET, client: 'a b' }] },
    Code.InvalidArgument,
    'invalid_argument',
    'tokens[1].client',
  ],
  'a rule beyond the ceiling': [
    { service: 'plain', tokens: [...many(3), { allow: ['GET /a', 'POST /a'] }] },
    Code.PermissionDenied,
    'permission_denied',
    'tokens[3].allow[1]',
  ],
  'a label that the service is closed to': [
    {
      service: 'closed',
      tokens: [
        { allow: GET, client: 'ci' },
        { allow: GET, client: 'laptop' },
      ],
    },
    Code.PermissionDenied,
    'client_refused',
    'tokens[1].client',
  ],
  'a token above 6,000 bytes': [
    {
      service: 'plain',
      tokens: [...many(1), { allow: Array.from({ length: 200 }, (_, i) => `GET /a/rather/long/path/number/${i}`) }],
    },
    Code.InvalidArgument,
    'invalid_argument',
    'tokens[1].allow',
  ],
};
test.each(Object.entries(wrong))('MintBatch refuses %s, and mints none of the others', async (_name, [
  request,
  ...said
]) => {
  const before = await minted();
  expect(await failure(bot.mintBatch(request))).toEqual(said);
  expect(await minted()).toBe(before);
});

test('a refusal that says something of the caller is in the audit, with the label at fault', async () => {
  const tokens = [
    { allow: GET, client: 'ci' },
    { allow: GET, client: 'phone' },
  ];
  await errorOf(bot.mintBatch({ service: 'closed', tokens }));
  const { events } = await control.admin.audit.query({ filter: { kind: 2, outcome: 2 }, pageSize: 1 });
  expect(events[0]).toMatchObject({
    method: 'TokenService/MintBatch',
    reason: 'client_refused',
    client: 'phone',
    caller: 'bot',
  });
});

test('calls that come together get their own tokens or their own refusal', async () => {
  const calls = Array.from({ length: 24 }, (_, i) =>
    i % 4 === 3
      ? bot.mint({ service: 'plain', allow: ['POST /a'] })
      : bot.mint({ service: 'plain', allow: GET, client: `x-${i}` }),
  );
  const settled = await Promise.allSettled(calls);
  expect(settled.map(({ status }) => status === 'fulfilled')).toEqual(calls.map((_, i) => i % 4 !== 3));
  for (const [i, one] of settled.entries()) {
    if (one.status === 'fulfilled') expect(readUnverifiedClaims(readToken(one.value.token)).client_id).toBe(`x-${i}`);
  }
});
