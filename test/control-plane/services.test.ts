// The registry: what is refused and by which field, and what a change does.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import type { ServiceSchema } from '@daypass/sdk/gen/daypass/v1/service_pb';
import { TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { errorOf, type Running, sealFor, startControl } from './fixture.ts';

type Init = MessageInitShape<typeof ServiceSchema>;

let control: Running;
let sealed: string;
const ID = '0123456789abcdef0123456789abcdef';
beforeAll(async () => {
  control = await startControl({ env: { DAYPASS_ALLOW_UPSTREAM_RANGES: '127.0.0.1/32:9999, 127.0.0.1/32:8470' } });
  sealed = await sealFor(control.home, 'bad');
});
afterAll(async () => {
  await control[Symbol.asyncDispose]();
});

/** Code and fields of what Create says. */
const refusal = async (service: Init): Promise<{ code: string | null; fields: string[] }> => {
  const base = { name: 'bad', upstream: 'https://api.example.com' };
  const error = ConnectError.from(await errorOf(control.admin.services.create({ service: { ...base, ...service } })));
  expect(error.code).toBe(Code.InvalidArgument);
  const first = error.metadata.get('daypass-error-field') ?? '';
  expect(error.rawMessage.startsWith(`${first}: `)).toBe(true);
  const others = [...error.rawMessage.matchAll(/; ([a-z_]+(?:\.[a-z_]+|\["[^"]*"\]|\[\d+\])*): /g)].map(
    ([, field]) => field ?? '',
  );
  return { code: error.metadata.get('daypass-error-code'), fields: [first, ...others] };
};

const header = (name: string, template = '') => ({ place: { kind: 3 as const, name, template } });
const wrong: Readonly<Record<string, readonly [Init, ...string[]]>> = {
  'a name with capitals': [{ name: 'GitHub' }, 'service.name'],
  'a name with a slash': [{ name: 'a/b' }, 'service.name'],
  'an upstream with a query': [{ upstream: 'https://api.example.com/?a=1' }, 'service.upstream'],
  'an upstream with a fragment': [{ upstream: 'https://api.example.com/#a' }, 'service.upstream'],
  'an upstream with a user': [{ upstream: 'https://user@api.example.com' }, 'service.upstream'],
  'an upstream that is no URL': [{ upstream: 'api.example.com' }, 'service.upstream'],
  'an upstream over ftp': [{ upstream: 'ftp://api.example.com' }, 'service.upstream'],
  'an upstream over http': [{ upstream: 'http://api.example.com' }, 'service.upstream'],
  'an upstream with a backslash': [{ upstream: 'https://api.example.com\\x' }, 'service.upstream'],
  'an upstream with blanks': [{ upstream: ' https://api.example.com' }, 'service.upstream'],
  'an upstream with dot segments': [{ upstream: 'https://api.example.com/a/../b' }, 'service.upstream'],
  'an upstream with encoded dots': [{ upstream: 'https://api.example.com/a/%2e%2e/b' }, 'service.upstream'],
  'an upstream with an empty segment': [{ upstream: 'https://api.example.com/a//b' }, 'service.upstream'],
  'an upstream with a port that is none': [{ upstream: 'https://api.example.com:0' }, 'service.upstream'],
  'an upstream with a trailing dot': [{ upstream: 'https://api.example.com./' }, 'service.upstream'],
  'an upstream on the loopback': [{ upstream: 'https://127.0.0.1' }, 'service.upstream'],
  'an upstream on localhost': [{ upstream: 'https://localhost' }, 'service.upstream'],
  'an upstream on the loopback in hexadecimal': [{ upstream: 'https://0x7f.1' }, 'service.upstream'],
  'an upstream on the loopback as a number': [{ upstream: 'https://2130706433' }, 'service.upstream'],
  'an upstream at the metadata address': [
    { upstream: 'http://169.254.169.254', insecureUpstream: true },
    'service.upstream',
  ],
  'an upstream in a private range': [{ upstream: 'https://10.1.2.3' }, 'service.upstream'],
  'an upstream at IPv6 loopback': [{ upstream: 'https://[::1]' }, 'service.upstream'],
  'an upstream at mapped IPv4 loopback': [{ upstream: 'https://[::ffff:127.0.0.1]' }, 'service.upstream'],
  'an upstream that is the data plane, inside an allowed range': [
    { upstream: 'http://127.0.0.1:8470' },
    'service.upstream',
  ],
  'a place of no kind': [{ place: { kind: 0 } }, 'service.place.kind'],
  'a bearer place with a name': [{ place: { kind: 1, name: 'x' } }, 'service.place.name'],
  'a bearer place with a template': [{ place: { kind: 1, template: '{secret}' } }, 'service.place.template'],
  'a header place without a name': [header(''), 'service.place.name'],
  'a header place with a dot': [header('x.y'), 'service.place.name'],
  'a template without the secret': [header('x-api-key', 'Token'), 'service.place.template'],
  'a template with the secret twice': [header('x-api-key', '{secret}{secret}'), 'service.place.template'],
  'a template with a line break': [header('x-api-key', '{secret}\r\nx: y'), 'service.place.template'],
  'a query place without a name': [{ place: { kind: 4 } }, 'service.place.name'],
  'a seal without a place': [{ sealedCredential: 'SEAL', credentialId: ID }, 'service.place'],
  'a seal without an id': [{ place: { kind: 1 }, sealedCredential: 'SEAL' }, 'service.credential_id'],
  'an id without a seal': [{ place: { kind: 1 }, credentialId: ID }, 'service.credential_id'],
  'a seal that is none': [
    { place: { kind: 1 }, sealedCredential: 'abc', credentialId: ID },
    'service.sealed_credential',
  ],
  'an anonymous service with a credential': [{ anonymous: true, place: { kind: 1 } }, 'service.anonymous'],
  'a pool that is not there': [{ pool: 'nowhere' }, 'service.pool'],
  'a token place that is none': [{ tokenIn: ['cookie'] }, 'service.token_in[0]'],
  'a token in the Cookie header': [{ tokenIn: ['bearer', 'header:Cookie'] }, 'service.token_in[1]'],
  'a token in the Host header': [{ tokenIn: ['header:host'] }, 'service.token_in[0]'],
  'a lifetime above a year': [{ maxTtl: { seconds: 31622401n } }, 'service.max_ttl'],
  'a lifetime in halves of seconds': [{ maxTtl: { seconds: 1n, nanos: 5e8 } }, 'service.max_ttl'],
  'a connect timeout above 5 min': [{ connectTimeout: { seconds: 301n } }, 'service.connect_timeout'],
  'a connect timeout below a millisecond': [{ connectTimeout: { nanos: 1000 } }, 'service.connect_timeout'],
  'a client label with a blank': [{ clients: { labels: ['a b'] } }, 'service.clients.labels[0]'],
  'a rate of nothing': [
    { limits: { perToken: { requests: 0, per: { seconds: 1n } } } },
    'service.limits.per_token.requests',
  ],
  'a rate without a time': [{ limits: { perClient: { requests: 1 } } }, 'service.limits.per_client.per'],
  'a wrong rule in a named scope': [{ scopes: { a: { rules: ['GET /x', 'GET x'] } } }, 'service.scopes["a"].rules[1]'],
  'a named scope in a named scope': [{ scopes: { a: { rules: ['scope:a'] } } }, 'service.scopes["a"].rules[0]'],
  'a form of rule that comes later': [{ scopes: { a: { rules: ['soap /soap x'] } } }, 'service.scopes["a"].rules[0]'],
  'a regular expression that is none': [{ scopes: { a: { rules: ['GET ~/('] } } }, 'service.scopes["a"].rules[0]'],
  'too many regular expressions': [
    { scopes: { a: { rules: Array.from({ length: 65 }, (_, i) => `GET ~/x${i}`) } } },
    'service.scopes["a"].rules',
  ],
  'Authorization set in the clear': [
    { cleaning: { setHeaders: { Authorization: 'Bearer x' } } },
    'service.cleaning.set_headers["Authorization"]',
  ],
  'Cookie set in the clear': [
    { cleaning: { setHeaders: { cookie: 'a=b' } } },
    'service.cleaning.set_headers["cookie"]',
  ],
  'a header value with a line break': [
    { cleaning: { setHeaders: { 'x-a': 'b\r\nx: y' } } },
    'service.cleaning.set_headers["x-a"]',
  ],
  'a header set twice': [
    { cleaning: { setHeaders: { 'x-a': '1', 'X-A': '2' } } },
    'service.cleaning.set_headers["x-a"]',
  ],
  'a header dropped and set': [
    { cleaning: { setHeaders: { 'x-a': '1' }, dropHeaders: ['X-A'] } },
    'service.cleaning.drop_headers',
  ],
  'a header set where the credential goes': [
    { place: { kind: 3, name: 'x-api-key' }, cleaning: { setHeaders: { 'x-api-key': '1' } } },
    'service.cleaning.set_headers',
  ],
  'a query key dropped where the credential goes': [
    { place: { kind: 4, name: 'key' }, cleaning: { dropQuery: ['key'] } },
    'service.cleaning.drop_query',
  ],
  'several at once, of two fields': [
    { upstream: 'https://127.0.0.1', pool: 'nowhere', tokenIn: ['x'] },
    'service.pool',
    'service.upstream',
    'service.token_in[0]',
  ],
  'several at once, in form': [{ name: 'A', credentialId: 'x' }, 'service.name', 'service.credential_id'],
};
test.each(Object.entries(wrong))('Create refuses %s', async (_name, [service, ...fields]) => {
  const { sealedCredential } = service;
  const filled = sealedCredential === 'SEAL' ? { ...service, sealedCredential: sealed } : service;
  const refused = await refusal(filled);
  expect(refused.fields).toEqual(fields);
  expect(refused.code).toMatch(/^(invalid_argument|invalid_rule)$/);
  await expect(control.admin.services.get({ name: 'bad' })).rejects.toMatchObject({ code: Code.NotFound });
});

const NEVER = [
  'Host',
  'Content-Length',
  'Transfer-Encoding',
  'Connection',
  'Keep-Alive',
  'TE',
  'Trailer',
  'Upgrade',
  'Expect',
  'Proxy-Connection',
  'Proxy-Authorization',
  'Via',
  'X-HTTP-Method-Override',
];
test.each(NEVER)('%s is never set and never the place of a credential', async (name) => {
  expect((await refusal(header(name))).fields).toEqual(['service.place.name']);
  expect((await refusal({ cleaning: { setHeaders: { [name]: 'x' } } })).fields).toEqual([
    `service.cleaning.set_headers["${name}"]`,
  ]);
});

test('a seal for another key than the pool has is refused', async () => {
  const stranger = await startControl();
  try {
    const service = {
      place: { kind: 1 as const },
      sealedCredential: await sealFor(stranger.home, 'bad'),
      credentialId: ID,
    };
    expect((await refusal(service)).fields).toEqual(['service.sealed_credential']);
  } finally {
    await stranger[Symbol.asyncDispose]();
  }
});

test('what is stored is canonical, has its defaults, and is the same when read', async () => {
  const created = await control.admin.services.create({
    service: {
      name: 'canonical',
      upstream: 'https://API.example.com:443/v3/',
      place: { kind: 3, name: 'X-Api-Key' },
      sealedCredential: await sealFor(control.home, 'canonical', {
        place: { kind: 'header', name: 'x-api-key', template: '{secret}' },
      }),
      credentialId: ID,
      tokenIn: ['bearer', 'header:X-Token', 'token', 'token'],
      scopes: { triage: { rules: ['POST,GET /issues', 'GET,POST /issues', 'GET /a'] } },
      cleaning: { dropHeaders: ['X-B', 'x-a'], setHeaders: { 'X-C': 'd' }, dropQuery: ['k'] },
      clients: { labels: [] },
      limits: { perService: { requests: 5, per: { seconds: 60n } } },
      description: 'Free text',
    },
  });
  const { service } = await control.admin.services.get({ name: 'canonical' });
  expect(service).toEqual(created.service);
  expect(service).toMatchObject({
    upstream: 'https://api.example.com/v3',
    place: { name: 'x-api-key', template: '{secret}' },
    tokenIn: ['header:x-token', 'token'],
    pool: 'default',
    maxTtl: { seconds: 86400n },
    connectTimeout: { seconds: 10n },
    responseTimeout: { seconds: 300n },
    clients: { labels: [] },
    cleaning: { dropHeaders: ['x-a', 'x-b'], setHeaders: { 'x-c': 'd' }, dropQuery: ['k'] },
    limits: { perService: { requests: 5, per: { seconds: 60n } } },
  });
  expect(service?.scopes.triage?.rules).toEqual(['GET,POST /issues', 'GET /a']);
  expect(created.rollout?.version).toBeGreaterThan(1n);
});

test('http to an allowed address and port needs no flag; to another it does', async () => {
  const { service } = await control.admin.services.create({
    service: { name: 'near', upstream: 'http://127.0.0.1:9999' },
  });
  expect(service?.upstream).toBe('http://127.0.0.1:9999');
  const plain = { name: 'plain', upstream: 'http://api.example.com', insecureUpstream: true };
  expect((await control.admin.services.create({ service: plain })).service?.insecureUpstream).toBe(true);
});

test('encoded slashes are refused unless the service asks for them, and can be taken back', async () => {
  const { services } = control.admin;
  const given = { name: 'slashes', upstream: 'https://api.example.com', encodedSlashes: true };
  expect((await services.create({ service: given })).service?.encodedSlashes).toBe(true);
  const plain = { ...given, name: 'no-slashes', encodedSlashes: false };
  expect((await services.create({ service: plain })).service?.encodedSlashes).toBe(false);
  const update = { service: { name: 'slashes' }, updateMask: { paths: ['encoded_slashes'] } };
  expect((await services.update(update)).service?.encodedSlashes).toBe(false);
});

test('a name is given once', async () => {
  await control.admin.services.create({ service: { name: 'once', upstream: 'https://api.example.com' } });
  const again = control.admin.services.create({ service: { name: 'once', upstream: 'https://api.example.com' } });
  await expect(again).rejects.toMatchObject({ code: Code.AlreadyExists });
});

test('Update changes what the mask names, with the etag of the last change', async () => {
  const first = await control.admin.services.create({
    service: { name: 'masked', upstream: 'https://api.example.com', description: 'one', anonymous: true },
  });
  const etag = first.service?.etag ?? '';
  const second = await control.admin.services.update({
    service: { name: 'masked', description: 'two', upstream: 'https://other.example.com', etag },
    updateMask: { paths: ['description'] },
  });
  expect(second.service).toMatchObject({ description: 'two', upstream: 'https://api.example.com', anonymous: true });
  expect(second.service?.createTime).toEqual(first.service?.createTime);
  const stale = control.admin.services.update({
    service: { name: 'masked', description: 'three', etag },
    updateMask: { paths: ['description'] },
  });
  await expect(stale).rejects.toMatchObject({ code: Code.Aborted });
  const all = await control.admin.services.update({
    service: { name: 'masked', upstream: 'https://other.example.com' },
    updateMask: { paths: ['*'] },
  });
  expect(all.service).toMatchObject({ description: '', upstream: 'https://other.example.com', anonymous: false });
});

test.each([
  [[], 'update_mask'],
  [['name'], 'update_mask'],
  [['pool'], 'update_mask'],
  [['etag'], 'update_mask'],
  [['*', 'upstream'], 'update_mask'],
  [['no_such_field'], 'update_mask'],
  [['constructor'], 'update_mask'],
])('Update refuses the mask %j', async (paths, field) => {
  const update = control.admin.services.update({
    service: { name: 'near', upstream: 'https://api.example.com' },
    updateMask: { paths },
  });
  const error = ConnectError.from(await errorOf(update));
  expect([error.code, error.metadata.get('daypass-error-field')]).toEqual([Code.InvalidArgument, field]);
});

test('Update refuses a missing mask, another pool and a service that is not there', async () => {
  const service = { name: 'near', upstream: 'https://api.example.com' };
  const codeOf = async (work: Promise<unknown>) => ConnectError.from(await errorOf(work)).code;
  expect(await codeOf(control.admin.services.update({ service }))).toBe(Code.InvalidArgument);
  const paths = ['upstream'];
  const moved = { service: { ...service, pool: 'other' }, updateMask: { paths } };
  expect(await codeOf(control.admin.services.update(moved))).toBe(Code.InvalidArgument);
  const lost = { service: { ...service, name: 'nowhere' }, updateMask: { paths } };
  expect(await codeOf(control.admin.services.update(lost))).toBe(Code.NotFound);
});

test('a pool has one default service at most', async () => {
  const make = (name: string, pool: string) =>
    control.admin.services.create({ service: { name, pool, upstream: 'https://api.example.com', isDefault: true } });
  await make('first-default', 'default');
  await make('other-default', 'other');
  await expect(make('second-default', 'default')).rejects.toMatchObject({ code: Code.FailedPrecondition });
});

test('List pages in name order, with tokens that are good for this list alone', async () => {
  await using own = await startControl();
  for (const name of ['c', 'a', 'b'])
    await own.admin.services.create({ service: { name, upstream: 'https://api.example.com' } });
  const first = await own.admin.services.list({ pageSize: 2 });
  expect(first.services.map(({ name }) => name)).toEqual(['a', 'b']);
  const second = await own.admin.services.list({ pageSize: 2, pageToken: first.nextPageToken });
  expect([second.services.map(({ name }) => name), second.nextPageToken]).toEqual([['c'], '']);
  for (const pageToken of ['x', '!!', first.nextPageToken.slice(1)]) {
    await expect(own.admin.services.list({ pageToken })).rejects.toMatchObject({ code: Code.InvalidArgument });
  }
  await expect(own.admin.callers.list({ pageToken: first.nextPageToken })).rejects.toMatchObject({
    code: Code.InvalidArgument,
  });
  await expect(own.admin.services.list({ pageSize: 1001 })).rejects.toMatchObject({ code: Code.InvalidArgument });
});

test('a deleted service takes its tokens and permissions with it, also when its name comes back', async () => {
  await using own = await startControl();
  const service = { name: 'phoenix', upstream: 'https://api.example.com' };
  const { service: made } = await own.admin.services.create({ service });
  const { apiKey } = await own.admin.callers.create({ caller: { name: 'bot', services: ['phoenix'] } });
  const { token } = await own.admin.tokens.mint({ service: 'phoenix', allow: ['GET /**'] });
  await expect(own.admin.services.delete({ name: 'phoenix', etag: 'stale' })).rejects.toMatchObject({
    code: Code.Aborted,
  });
  await own.admin.services.delete({ name: 'phoenix', etag: made?.etag ?? '' });
  expect(await own.admin.tokens.introspect({ token })).toMatchObject({ active: false, reason: 'service_unknown' });
  await expect(own.admin.services.delete({ name: 'phoenix' })).rejects.toMatchObject({ code: Code.NotFound });

  await own.admin.services.create({ service });
  expect(await own.admin.tokens.introspect({ token })).toMatchObject({ active: false, reason: 'token_revoked' });
  const mint = own.client(TokenService, apiKey).mint({ service: 'phoenix', allow: ['GET /**'] });
  await expect(mint).rejects.toMatchObject({ code: Code.PermissionDenied });
  const fresh = await own.admin.tokens.mint({ service: 'phoenix', allow: ['GET /**'] });
  expect(await own.admin.tokens.introspect({ token: fresh.token })).toMatchObject({ active: true });
});
