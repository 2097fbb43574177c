// What magic-api-proxy (M) and lockbox-proxy (L) gave their users, a test for each row that a first version has.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { events, mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

let fleet: Fleet;
let upstream: Upstream;

beforeAll(async () => {
  upstream = await startUpstream((seen, response) => json(response, 200, { target: seen.target }));
  fleet = await startFleet({ env: { DAYPASS_SERVER_TIMING: '1' } });
});

beforeEach(() => upstream.forget());

afterAll(async () => {
  await fleet?.stop();
  await upstream?.close();
});

const bearer = ['--credential', 'bearer'];
const ask = (path: string, headers: Readonly<Record<string, string>> = {}, method = 'GET') =>
  fetch(`${fleet.dataUrl}${path}`, { method, headers });
const withToken = (path: string, token: string, method = 'GET') =>
  ask(path, { authorization: `Bearer ${token}` }, method);

test('M: named scopes are looked up live: a change reaches tokens already out, and a removed one denies', async () => {
  await register(fleet, 'scoped', upstream.origin, 'secret', [...bearer, '--scope', 'triage=GET /issues/**']);
  const token = await mint(fleet, 'scoped', ['scope:triage']);
  expect((await withToken('/s/scoped/issues/1', token)).status).toBe(200);
  expect((await withToken('/s/scoped/pulls/1', token)).status).toBe(403);
  await fleet.must(['service', 'update', 'scoped', '--scope', 'triage=GET /pulls/**']);
  expect((await withToken('/s/scoped/issues/1', token)).status).toBe(403);
  expect((await withToken('/s/scoped/pulls/1', token)).status).toBe(200);
  await fleet.must(['service', 'update', 'scoped', '--clear', 'scopes']);
  expect((await withToken('/s/scoped/pulls/1', token)).status).toBe(403);
});

test('M: a stateless token carries its sealed credential, and the registry knows nothing of it', async () => {
  await fleet.must(['service', 'create', 'stateless', '--upstream', upstream.origin, ...bearer]);
  const args = ['mint', '--service', 'stateless', '--allow', 'GET /a', '--seal-stdin'];
  const token = await fleet.must(args, { stdin: 'carried-credential' });
  expect((await withToken('/s/stateless/a', token)).status).toBe(200);
  expect(upstream.seen[0]?.headers.authorization).toBe('Bearer carried-credential');
  const service = await fleet.rpc('ServiceRegistry/Get', { name: 'stateless' });
  expect(service.body.service).not.toHaveProperty('sealedCredential');
  const bare = await fleet.cli(['mint', '--service', 'stateless', '--allow', 'GET /a', '--json']);
  expect(JSON.parse(bare.stderr)).toMatchObject({ error: { code: 'credential_missing' } });
});

test('M: a default service answers unprefixed, and the prefixed form still goes where it says', async () => {
  await register(fleet, 'first', upstream.origin, 'first-secret', [...bearer, '--default']);
  await register(fleet, 'other', `${upstream.origin}/base/path`, 'other-secret');
  const [first, other] = await Promise.all([mint(fleet, 'first', ['* /**']), mint(fleet, 'other', ['* /**'])]);
  expect(await (await withToken('/repos/acme', first)).json()).toEqual({ target: '/repos/acme' });
  expect(await (await withToken('/s/other/repos/acme', other)).json()).toEqual({ target: '/base/path/repos/acme' });
});

test('M: headers and query keys are dropped and set as the service says', async () => {
  const cleaning = ['--drop-header', 'x-internal', '--set-header', 'x-team:platform', '--drop-query', 'gateway_key'];
  await register(fleet, 'cleaned', upstream.origin, 'secret', [...bearer, ...cleaning]);
  const token = await mint(fleet, 'cleaned', ['GET /a']);
  const headers = { authorization: `Bearer ${token}`, 'x-internal': '1', 'x-team': 'mine' };
  await ask('/s/cleaned/a?x=1&gateway_key=hidden&y=2', headers);
  expect(upstream.seen[0]?.target).toBe('/a?x=1&y=2');
  expect(upstream.seen[0]?.headers).toMatchObject({ 'x-team': 'platform' });
  expect(upstream.seen[0]?.headers).not.toHaveProperty('x-internal');
});

test('M: an answer can tell its decision and its snapshot, where the operator wants it', async () => {
  const token = await mint(fleet, 'first', ['GET /a']);
  const timing = (await withToken('/s/first/a', token)).headers.get('server-timing');
  expect(timing).toMatch(/^daypass;desc="[\w-]+", snapshot;desc="\d+"$/);
});

test('L: a credential goes into any header or the query, in the form that the API wants', async () => {
  const forms: readonly (readonly [
    name: string,
    place: readonly string[],
    secret: string,
    header: string,
    value: string,
  ])[] = [
    ['basic', ['--credential', 'basic'], 'user:pass', 'authorization', `Basic ${btoa('user:pass')}`],
    ['header', ['--credential', 'header:X-Api-Key'], 'k1', 'x-api-key', 'k1'],
    [
      'template',
      ['--credential', 'header:Authorization', '--template', 'token {secret}'],
      'k2',
      'authorization',
      'token k2',
    ],
  ];
  for (const [name, place, secret, header, value] of forms) {
    await register(fleet, name, upstream.origin, secret, place);
    await withToken(`/s/${name}/a`, await mint(fleet, name, ['GET /a']));
    expect([name, upstream.seen.at(-1)?.headers[header]]).toEqual([name, value]);
  }
  await register(fleet, 'query', upstream.origin, 'k 3&', ['--credential', 'query:key']);
  await withToken('/s/query/a?b=1', await mint(fleet, 'query', ['GET /a']));
  expect(upstream.seen.at(-1)?.target).toMatch(/^\/a\?(?:b=1&key=k(?:%20|\+)3%26|key=k(?:%20|\+)3%26&b=1)$/);
});

test('L: a token is taken from the other places that a service names, and from no other', async () => {
  await register(fleet, 'places', upstream.origin, 'secret', [...bearer, '--token-in', 'token,basic,header:x-api-key']);
  const token = await mint(fleet, 'places', ['GET /a']);
  const presented = [
    { authorization: `Bearer ${token}` },
    { authorization: `token ${token}` },
    { authorization: `Basic ${btoa(`${token}:`)}` },
    { 'x-api-key': token },
    { 'private-token': token },
  ];
  const statuses = [];
  for (const headers of presented) statuses.push((await ask('/s/places/a', headers)).status);
  expect(statuses.slice(1, 4)).toEqual([200, 200, 200]);
  expect(statuses[4]).toBe(401);
  for (const seen of upstream.seen) expect(JSON.stringify(seen.rawHeaders)).not.toContain(token.slice(-30));
});

test('L: a public service is an explicit choice, and its requests are audited as anonymous', async () => {
  await fleet.must(['service', 'create', 'public', '--upstream', upstream.origin, '--anonymous']);
  expect((await ask('/s/public/open')).status).toBe(200);
  await expect
    .poll(() => events(fleet, { service: 'public' }), { timeout: 5000 })
    .toMatchObject([{ path: '/open', outcome: 'OUTCOME_ALLOWED', status: 200 }]);
});

test('L: the audiences of a service: absent is everyone, a list is these, an empty list is nobody; live', async () => {
  await register(fleet, 'audience', upstream.origin, 'secret');
  const token = await mint(fleet, 'audience', ['GET /a'], ['--client', 'ci']);
  const statuses = [(await withToken('/s/audience/a', token)).status];
  for (const change of [
    ['--client', 'release'],
    ['--client', 'ci', 'release'],
    ['--no-clients'],
    ['--clear', 'clients'],
  ]) {
    await fleet.must(['service', 'update', 'audience', ...change]);
    statuses.push((await withToken('/s/audience/a', token)).status);
  }
  expect(statuses).toEqual([200, 403, 200, 403, 200]);
});

test('L: every method of HTTP is forwarded where a rule names it', async () => {
  const token = await mint(fleet, 'first', ['* /any']);
  for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'QUERY']) {
    expect([method, (await withToken('/s/first/any', token, method)).status]).toEqual([method, 200]);
    expect(upstream.seen.at(-1)?.method).toBe(method);
  }
});

test('L: a rate limit holds, says when to come back, and is in the audit', async () => {
  await register(fleet, 'limited', upstream.origin, 'secret', [...bearer, '--limit-per-token', '2/1h']);
  const token = await mint(fleet, 'limited', ['GET /a']);
  const statuses = [];
  for (let n = 0; n < 3; n += 1) statuses.push((await withToken('/s/limited/a', token)).status);
  expect(statuses).toEqual([200, 200, 429]);
  const refused = await withToken('/s/limited/a', token);
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await withToken('/s/limited/a', await mint(fleet, 'limited', ['GET /a']))).status).toBe(200);
});

test('L: /healthz says OK, on a port of its own', async () => {
  const health = await fetch(`${fleet.adminUrl}/healthz`);
  expect([health.status, await health.text()]).toEqual([200, 'OK']);
  expect((await fetch(`${fleet.dataUrl}/healthz`)).status).not.toBe(200);
});

test('L: a bad change is refused whole, and the old configuration stays', async () => {
  const before = await fleet.rpc('ServiceRegistry/Get', { name: 'audience' });
  const change = {
    service: { name: 'audience', description: 'new', scopes: { x: { rules: ['nonsense'] } } },
    updateMask: 'description,scopes',
  };
  expect((await fleet.rpc('ServiceRegistry/Update', change)).body).toMatchObject({ code: 'invalid_argument' });
  expect(await fleet.rpc('ServiceRegistry/Get', { name: 'audience' })).toEqual(before);
});
