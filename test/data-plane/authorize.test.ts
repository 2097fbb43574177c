// What a token may do: its rules and its seal's rules on the same target, and a seal only for what it says.
import type { SealPlaintext } from '@daypass/core/seal';
import { describe, expect, test } from 'vitest';
import { type FixtureOptions, seal, startFixture } from './fixture.ts';
import { ask, codeIn, fieldOf, startRecorder } from './recorder.ts';

async function withApi(
  work: (
    data: Awaited<ReturnType<typeof startFixture>>,
    upstream: Awaited<ReturnType<typeof startRecorder>>,
  ) => Promise<void>,
  service: Partial<FixtureOptions['services'][number]> = {},
  options: Partial<FixtureOptions> = {},
): Promise<void> {
  using upstream = await startRecorder();
  const one = { name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true, ...service };
  await using data = await startFixture({ services: [one], ...options });
  await work(data, upstream);
}

test('a refusal names the smallest rule that would have allowed the request, and the decision', () =>
  withApi(async (data, upstream) => {
    const answer = await ask(data.port, '/admin/users?x=1', { method: 'DELETE', token: await data.mint() });
    const problem: unknown = JSON.parse(answer.body);
    expect(problem).toMatchObject({
      type: 'urn:daypass:problem:scope_refused',
      status: 403,
      code: 'scope_refused',
      needed_rule: 'DELETE /admin/users',
      decision_id: data.audit.decisions[0]?.id,
    });
    expect(fieldOf(answer.head, 'content-type')).toBe('application/problem+json; charset=utf-8');
    expect(fieldOf(answer.head, 'cache-control')).toBe('no-store');
    expect(fieldOf(answer.head, 'www-authenticate')).toContain('error="insufficient_scope"');
    expect(fieldOf(answer.head, 'www-authenticate')).toContain('scope="DELETE /admin/users"');
    expect(upstream.octets()).toBe('');
  }));

test('HEAD is not implied by GET', () =>
  withApi(async (data) => {
    expect((await ask(data.port, '/public/a', { method: 'HEAD', token: await data.mint() })).status).toBe(403);
  }));

test('a token for another service is refused', async () => {
  using upstream = await startRecorder();
  await using data = await startFixture({
    services: ['api', 'other'].map((name) => ({ name, origin: upstream.origin, secret: 'S3CRET' })),
  });
  const answer = await ask(data.port, '/s/other/public/a', { token: await data.mint() });
  expect([answer.status, codeIn(answer)]).toEqual([403, 'service_wrong']);
  expect(upstream.octets()).toBe('');
});

test('a named scope is looked up live: it widens, narrows and goes with the snapshot', () =>
  withApi(
    async (data, upstream) => {
      const services = [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }];
      const token = await data.mint({ allowed: ['scope:triage'] });
      const status = async (target: string) => (await ask(data.port, target, { token })).status;
      expect(await status('/a')).toBe(200);
      expect(data.audit.decisions[0]?.rule).toBe('scope:triage');
      await data.publish({ services, scopes: { 'api/triage': ['GET /b'] } });
      expect([await status('/a'), await status('/b')]).toEqual([403, 200]);
      const other = { name: 'other', origin: upstream.origin };
      await data.publish({ services: [...services, other], scopes: { 'other/triage': ['GET /b'] } });
      expect(await status('/b')).toBe(403);
    },
    {},
    { scopes: { 'api/triage': ['GET /a'] } },
  ));

describe('a stored seal', () => {
  const now = Date.now() / 1000;
  const cases: readonly [string, Partial<SealPlaintext>, string][] = [
    ['of another fleet', { fleet: 'urn:other' }, 'seal_fleet_wrong'],
    ['of another pool', { pool: 'other' }, 'seal_fleet_wrong'],
    ['for another service', { service: 'other' }, 'seal_service_wrong'],
    ['for another origin', { origins: ['http://127.0.0.1:1', 'https://api.github.com'] }, 'seal_origin_wrong'],
    ['for another place', { place: { kind: 'header', name: 'x-key', template: '{secret}' } }, 'seal_place_wrong'],
    ['for another caller', { callers: ['other'] }, 'seal_caller_wrong'],
    ['for no caller', { callers: [] }, 'seal_caller_wrong'],
    ['with another id', { id: 'ff'.repeat(16) }, 'seal_id_wrong'],
    ['that has ended', { exp: now - 10 }, 'seal_expired'],
    ['that has not begun', { nbf: now + 600, exp: now + 900 }, 'seal_not_yet_valid'],
    ['whose rules are narrower', { rules: ['GET /public/b'] }, 'seal_scope_refused'],
  ];
  test.each(cases)('%s is not used', (_name, change, code) =>
    withApi(
      async (data, upstream) => {
        const token = await data.mint();
        for (let at = 0; at < 2; at += 1) expect(codeIn(await ask(data.port, '/public/a', { token }))).toBe(code);
        expect(upstream.dialled()).toBe(0);
        expect(data.audit.decisions.map(({ result, reason }) => [result, reason])).toEqual([
          ['refused', code],
          ['refused', code],
        ]);
      },
      { seal: change },
    ));

  test('is good for exactly its rules', () =>
    withApi(
      async (data) => {
        const token = await data.mint();
        expect((await ask(data.port, '/public/b', { token })).status).toBe(200);
        expect((await ask(data.port, '/public/a', { token })).status).toBe(403);
      },
      { seal: { rules: ['GET /public/b'], callers: ['ci'] } },
    ));

  test('speaks of the paths that the upstream sees: another base path does not widen it', () =>
    withApi(
      async (data, upstream) => {
        const token = await data.mint();
        expect((await ask(data.port, '/public/a', { token })).status).toBe(200);
        const service = { name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true };
        await data.publish({ services: [{ ...service, base_path: '/admin', seal: { rules: ['GET /v1/**'] } }] });
        expect(codeIn(await ask(data.port, '/public/a', { token }))).toBe('seal_scope_refused');
      },
      { base_path: '/v1', seal: { rules: ['GET /v1/**'] } },
    ));

  test('may not be replaced by one for another origin while tokens are cached', () =>
    withApi(async (data, upstream) => {
      const token = await data.mint();
      expect((await ask(data.port, '/public/a', { token })).status).toBe(200);
      using thief = await startRecorder();
      const sealed = { seal: { origins: [upstream.origin] } };
      await data.publish({
        services: [{ name: 'api', origin: thief.origin, secret: 'S3CRET', is_default: true, ...sealed }],
      });
      expect(codeIn(await ask(data.port, '/public/a', { token }))).toBe('seal_origin_wrong');
      expect(thief.dialled()).toBe(0);
    }));
});

describe('a seal in the token', () => {
  test('is used instead of the stored one', () =>
    withApi(async (data, upstream) => {
      const credential = await seal({ name: 'api', origin: upstream.origin }, 'OWN-S3CRET', { id: 'ab'.repeat(16) });
      const answer = await ask(data.port, '/public/a', { token: await data.mint({ credential }) });
      expect(answer.status).toBe(200);
      expect(upstream.requests()[0]?.fields).toContainEqual(['authorization', 'Bearer OWN-S3CRET']);
      expect(data.audit.decisions[0]?.credential_id).toBe('ab'.repeat(16));
    }));

  test('cut out of another token is good for nothing wider: not for another caller', () =>
    withApi(async (data, upstream) => {
      const credential = await seal({ name: 'api', origin: upstream.origin }, 'OWN-S3CRET', { callers: ['ci'] });
      const token = await data.mint({ credential, caller: 'thief' });
      expect(codeIn(await ask(data.port, '/public/a', { token }))).toBe('seal_caller_wrong');
      expect(upstream.dialled()).toBe(0);
    }));

  test.each([
    'e30.a.b.c.d',
    'x',
    'e30..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA',
  ])('that is none (%s) is refused', (credential) =>
    withApi(async (data) => {
      expect(codeIn(await ask(data.port, '/public/a', { token: await data.mint({ credential }) }))).toBe(
        'seal_malformed',
      );
    }));

  test('is refused by a service that takes no credential', () =>
    withApi(
      async (data, upstream) => {
        const credential = await seal({ name: 'api', origin: upstream.origin }, 'OWN-S3CRET');
        expect(codeIn(await ask(data.port, '/public/a', { token: await data.mint({ credential }) }))).toBe(
          'seal_place_wrong',
        );
        expect((await ask(data.port, '/public/a', { token: await data.mint() })).status).toBe(200);
        expect(upstream.requests()[0]?.fields.map(([name]) => name)).not.toContain('authorization');
      },
      { place: null },
    ));
});

test('without any credential nothing goes upstream', () =>
  withApi(
    async (data, upstream) => {
      const answer = await ask(data.port, '/public/a', { token: await data.mint() });
      expect([answer.status, codeIn(answer)]).toEqual([502, 'credential_missing']);
      expect(upstream.dialled()).toBe(0);
    },
    { seal: {}, secret: undefined as never },
  ));

describe('an anonymous service', () => {
  const open = { anonymous: true, place: null, secret: undefined as never } as const;
  test('needs no token, gives no credential, strips what is presented, and is recorded as anonymous', () =>
    withApi(async (data, upstream) => {
      expect((await ask(data.port, '/any', { method: 'POST', body: 'x' })).status).toBe(200);
      expect((await ask(data.port, '/any', { token: 'own-credential' })).status).toBe(200);
      expect(upstream.octets()).not.toContain('own-credential');
      expect(data.audit.decisions.map((one) => [one.principal, one.result, one.service, one.jti])).toEqual([
        ['anonymous', 'allowed', 'api', ''],
        ['anonymous', 'allowed', 'api', ''],
      ]);
      expect(data.audit.outcomes).toHaveLength(2);
    }, open));

  test('is not given the stored credential, though there is one', () =>
    withApi(
      async (data, upstream) => {
        expect((await ask(data.port, '/any')).status).toBe(200);
        expect(upstream.octets()).not.toContain('S3CRET');
      },
      { anonymous: true },
    ));
});
