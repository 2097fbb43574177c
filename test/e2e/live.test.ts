// Changes are live: once the command has returned, every data plane does as told.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { claim, mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

let fleet: Fleet;
let first: Upstream;
let second: Upstream;

beforeAll(async () => {
  [first, second] = await Promise.all([
    startUpstream((_seen, response) => json(response, 200, { upstream: 'first' })),
    startUpstream((_seen, response) => json(response, 200, { upstream: 'second' })),
  ]);
  fleet = await startFleet();
  await register(fleet, 'orders', first.origin, 'real-credential');
});

afterAll(async () => {
  await fleet?.stop();
  await Promise.all([first?.close(), second?.close()]);
});

/** A request with a token: its status and its JSON. */
async function ask(path: string, token: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const answer = await fetch(`${fleet.dataUrl}${path}`, { headers: { authorization: `Bearer ${token}` } });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

test.each([
  ['by id', (token: string) => ['revoke', '--jti', String(claim(token, 'jti'))]],
  ['by text', (token: string) => ['revoke', '--token', token]],
])('a token revoked %s is refused from the moment that revoke returned, and another is not', async (_name, command) => {
  const [token, other] = await Promise.all([mint(fleet, 'orders', ['GET /a']), mint(fleet, 'orders', ['GET /a'])]);
  expect((await ask('/s/orders/a', token)).status).toBe(200);
  await fleet.must(command(token));
  expect(await ask('/s/orders/a', token)).toMatchObject({ status: 401, body: { code: 'token_revoked' } });
  expect((await ask('/s/orders/a', other)).status).toBe(200);
  await fleet.must(command(token));
});

test('introspection follows a revocation', async () => {
  const token = await mint(fleet, 'orders', ['GET /a']);
  const before = JSON.parse(await fleet.must(['introspect', token, '--json'])) as { active: boolean };
  expect(before.active).toBe(true);
  await fleet.must(['revoke', '--token', token]);
  const after = await fleet.cli(['introspect', token, '--json']);
  expect(JSON.parse(after.stdout)).toMatchObject({ reason: 'token_revoked' });
});

test('a service that moves its upstream is served from there once update returned, and a credential sealed for the old one is not sent to it', async () => {
  const token = await mint(fleet, 'orders', ['GET /a']);
  expect((await ask('/s/orders/a', token)).body).toEqual({ upstream: 'first' });
  await fleet.must(['service', 'update', 'orders', '--upstream', second.origin, '--secret-stdin'], {
    stdin: 'other-credential',
  });
  expect((await ask('/s/orders/a', token)).body).toEqual({ upstream: 'second' });
  expect(second.seen.at(-1)?.headers.authorization).toBe('Bearer other-credential');
  expect(first.seen.at(-1)?.headers.authorization).toBe('Bearer real-credential');
});

test('a deleted service is unknown once delete returned', async () => {
  await register(fleet, 'passing', first.origin, 'passing-credential');
  const token = await mint(fleet, 'passing', ['GET /a']);
  expect((await ask('/s/passing/a', token)).status).toBe(200);
  await fleet.must(['service', 'delete', 'passing']);
  expect((await ask('/s/passing/a', token)).status).toBe(404);
});

test('a caller mints for its services alone, and its tokens end with it', async () => {
  const made = JSON.parse(await fleet.must(['caller', 'create', 'ci', '--service', 'orders', '--json'])) as {
    apiKey: string;
  };
  await register(fleet, 'private', first.origin, 'private-credential');
  const env = { DAYPASS_API_KEY: made.apiKey };
  const token = await fleet.must(['mint', '--service', 'orders', '--allow', 'GET /a'], { env });
  expect((await ask('/s/orders/a', token)).status).toBe(200);
  const refused = await fleet.cli(['mint', '--service', 'private', '--allow', 'GET /a', '--json'], { env });
  expect(refused.code).toBe(1);
  expect(JSON.parse(refused.stderr)).toMatchObject({ error: { code: 'permission_denied', field: 'service' } });
  await fleet.must(['caller', 'delete', 'ci']);
  expect((await ask('/s/orders/a', token)).status).toBe(401);
});

test('a token is good for its own service and fleet alone', async () => {
  const token = await mint(fleet, 'orders', ['* /**']);
  expect(await ask('/s/private/a', token)).toMatchObject({ status: 403, body: { code: 'service_wrong' } });
  const other = await startFleet();
  try {
    await register(other, 'orders', first.origin, 'real-credential');
    const answer = await fetch(`${other.dataUrl}/s/orders/a`, { headers: { authorization: `Bearer ${token}` } });
    expect(answer.status).toBe(401);
  } finally {
    await other.stop();
  }
});
