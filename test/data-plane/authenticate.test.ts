// Who may come in: tokens by signature once, and by the current snapshot at every request.
import { generateSigningKey } from '@daypass/core/key';
import { statusUri, type TokenClaims } from '@daypass/core/token';
import { describe, expect, test } from 'vitest';
import { type Content, type Fixture, type FixtureOptions, ISSUER, mint, startFixture, tokenKey } from './fixture.ts';
import { ask, codeIn, fieldOf, parseAnswers, type Recorder, startRecorder, talk } from './recorder.ts';

async function withApi(
  work: (data: Fixture, upstream: Recorder, content: Content) => Promise<void>,
  options: Partial<FixtureOptions> = {},
): Promise<void> {
  using upstream = await startRecorder();
  const content = { services: [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }] };
  await using data = await startFixture({ ...content, ...options });
  await work(data, upstream, content);
}

const outcome = async (data: Fixture, token: string, target = '/public/a'): Promise<unknown> => {
  const answer = await ask(data.port, target, { token });
  return answer.status === 200 ? 200 : codeIn(answer);
};

describe('a token that was good', () => {
  const changes: readonly [string, (data: Fixture, content: Content) => Promise<unknown>, string][] = [
    ['has expired', async (data) => (data.clock.nowMs += 906_000), 'token_expired'],
    ['is revoked by its index', (data, content) => data.publish({ ...content, revoked: [7] }), 'token_revoked'],
    [
      'lost its key',
      async (data, content) => data.publish({ ...content, keys: [await generateSigningKey()] }),
      'token_key_unknown',
    ],
    ['lost its service', (data) => data.publish({ services: [] }), 'service_unknown'],
    [
      'is cut off by client',
      (data, content) => data.publish({ ...content, cutoffs: [cut({ client: 'octo-bot' })] }),
      'token_revoked',
    ],
    [
      'is cut off by subject',
      (data, content) => data.publish({ ...content, cutoffs: [cut({ subject: 'octo-bot' })] }),
      'token_revoked',
    ],
    [
      'is cut off by caller',
      (data, content) => data.publish({ ...content, cutoffs: [cut({ caller: 'ci' })] }),
      'token_revoked',
    ],
    [
      'is cut off by service',
      (data, content) => data.publish({ ...content, cutoffs: [cut({ service: 'api' })] }),
      'token_revoked',
    ],
    ['is cut off by time', (data, content) => data.publish({ ...content, cutoffs: [cut({})] }), 'token_revoked'],
    [
      'is cut off by credential',
      (data, content) =>
        data.publish({ ...content, cutoffs: [cut({ credential_id: '14c2529eb4498c5d1ffd6915d05bf58a' })] }),
      'token_revoked',
    ],
    [
      'is of a client that the service is closed to',
      (data, content) => data.publish({ services: content.services.map((one) => ({ ...one, clients: ['other'] })) }),
      'client_refused',
    ],
    ['outlived the lease', async (data) => (data.clock.nowMs += 3_601_000), 'snapshot_expired'],
  ];
  test.each(changes)('and %s is refused at the next request', (_name, change, code) =>
    withApi(async (data, upstream, content) => {
      const token = await data.mint();
      expect(await outcome(data, token)).toBe(200);
      const before = upstream.requests().length;
      await change(data, content);
      expect(await outcome(data, token)).toBe(code);
      expect(upstream.requests()).toHaveLength(before);
    }));

  test('stays good when other tokens are revoked and cut off', () =>
    withApi(async (data, _upstream, content) => {
      const token = await data.mint();
      await data.publish({
        ...content,
        revoked: [6, 8, 65535],
        cutoffs: [cut({ client: 'other' }), cut({ service: 'api', caller: 'other' }), { minted_before: 1 }],
      });
      expect(await outcome(data, token)).toBe(200);
    }));

  test('comes back when its service does', () =>
    withApi(async (data, _upstream, content) => {
      const token = await data.mint();
      await data.publish({ services: [] });
      expect(await outcome(data, token)).toBe('service_unknown');
      await data.publish(content);
      expect(await outcome(data, token)).toBe(200);
    }));
});

const cut = (fit: object) => ({ ...fit, minted_before: Date.now() / 1000 + 60 });

const parentOf = () => ({
  jti: 'parent',
  client_id: 'boss',
  sub: 'alice',
  iat: Date.now() / 1000 - 60,
  status: { status_list: { idx: 99, uri: statusUri(ISSUER, 0) } },
});

const beforeChild = () => Date.now() / 1000 - 30;
const parentCuts: readonly [string, object, unknown][] = [
  ['of its client', { client: 'boss' }, 'token_revoked'],
  ['of its subject', { subject: 'alice' }, 'token_revoked'],
  ['of all three', { client: 'boss', service: 'api', caller: 'ci' }, 'token_revoked'],
  ['by time', {}, 'token_revoked'],
  ['by credential', { credential_id: '14c2529eb4498c5d1ffd6915d05bf58a' }, 'token_revoked'],
  ['of another client', { client: 'octo-bot' }, 200],
  ['of another service', { client: 'boss', service: 'other' }, 200],
];
test.each(
  parentCuts,
)('a cut-off of a parent %s, before the child was minted, decides about the child', (_name, fit, code) =>
  withApi(async (data, upstream, content) => {
    const token = await data.mint({ parents: [parentOf()] });
    expect(await outcome(data, token)).toBe(200);
    const services = [...content.services, { name: 'other', origin: upstream.origin }];
    await data.publish({ ...content, services, cutoffs: [{ ...fit, minted_before: beforeChild() }] });
    expect(await outcome(data, token)).toBe(code);
  }));

test('revoking a parent revokes its children', () =>
  withApi(async (data, _upstream, content) => {
    const parents = [parentOf()];
    const token = await data.mint({ parents });
    expect(await outcome(data, token)).toBe(200);
    await data.publish({ ...content, revoked: [99] });
    expect(await outcome(data, token)).toBe('token_revoked');
  }));

test('a service that is closed to the client of a parent is closed to its children', () =>
  withApi(async (data, _upstream, content) => {
    const token = await data.mint({ parents: [parentOf()] });
    const openTo = (clients: readonly string[]) =>
      data.publish({ services: content.services.map((one) => ({ ...one, clients })) });
    await openTo(['octo-bot', 'boss']);
    expect(await outcome(data, token)).toBe(200);
    await openTo(['octo-bot']);
    expect(await outcome(data, token)).toBe('client_refused');
  }));

const bad: readonly [string, Partial<TokenClaims>, string][] = [
  ['not yet valid', { nbf: Date.now() / 1000 + 600, exp: Date.now() / 1000 + 900 }, 'token_not_yet_valid'],
  [
    'of another issuer',
    { iss: 'https://evil.example', status: { status_list: { idx: 1, uri: 'https://evil.example/statuslists/0' } } },
    'token_issuer_wrong',
  ],
  ['with a rule of a later version', { allowed: ['GET /public/** until 2030'] }, 'token_malformed'],
];
test.each(bad)('a token %s is refused', (_name, claims, code) =>
  withApi(async (data) => expect(await outcome(data, await data.mint(claims))).toBe(code)));

test('a token with one character changed anywhere is refused, before and after the good one is cached', () =>
  withApi(async (data) => {
    const token = await data.mint();
    const { length } = token;
    for (const at of [3, Math.floor(length / 3), Math.floor(length / 2), length - 30, length - 1]) {
      const changed = `${token.slice(0, at)}${token[at] === 'A' ? 'Q' : 'A'}${token.slice(at + 1)}`;
      expect(await outcome(data, changed)).toMatch(/^token_/);
      expect(await outcome(data, token)).toBe(200);
      expect(await outcome(data, changed)).toMatch(/^token_/);
    }
  }));

test('an unknown service is told only to a token that is for it', () =>
  withApi(async (data) => {
    const anonymous = await ask(data.port, '/s/nothing/x');
    const garbage = await ask(data.port, '/s/nothing/x', { token: 'a.b.c' });
    const known = await ask(data.port, '/s/api/x', { token: 'a.b.c' });
    const foreign = await ask(data.port, '/s/nothing/x', { token: await data.mint() });
    const good = await ask(data.port, '/s/nothing/x', { token: await data.mint({ service: 'nothing' }) });
    expect([anonymous, garbage, known, foreign, good].map((answer) => [answer.status, codeIn(answer)])).toEqual([
      [401, 'token_missing'],
      [401, 'token_malformed'],
      [401, 'token_malformed'],
      [403, 'service_wrong'],
      [404, 'service_unknown'],
    ]);
    expect(fieldOf(anonymous.head, 'www-authenticate')).toBe('Bearer realm="daypass"');
    expect(fieldOf(garbage.head, 'www-authenticate')).toContain('error="invalid_token"');
  }));

test('without any snapshot every request is 503', () =>
  withApi(
    async (data) => {
      const answer = await ask(data.port, '/public/a', { token: await mint(Date.now() / 1000, {}, tokenKey) });
      expect([answer.status, codeIn(answer)]).toEqual([503, 'snapshot_missing']);
      expect(fieldOf(answer.head, 'retry-after')).toBe('1');
    },
    { unpublished: true },
  ));

describe('where a token may stand', () => {
  const everywhere = [
    { kind: 'bearer' },
    { kind: 'token' },
    { kind: 'basic' },
    { kind: 'header', name: 'private-token' },
  ] as const;
  const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  const places: readonly [string, (token: string) => readonly string[]][] = [
    ['the scheme token', (token) => [`Authorization: token ${token}`]],
    ['the Basic user', (token) => [`Authorization: ${basic(token, '')}`]],
    ['the Basic user, beside a fixed word', (token) => [`Authorization: ${basic(token, 'x-oauth-basic')}`]],
    ['the Basic password', (token) => [`Authorization: ${basic('x-access-token', token)}`]],
    ['a header of its own', (token) => [`PRIVATE-TOKEN: ${token}`]],
    ['two places at once', (token) => [`PRIVATE-TOKEN: ${token}`, `Authorization: Bearer ${token}`]],
  ];
  test.each(places)('%s counts where the service names it, nowhere else, and never goes up', async (_name, fields) => {
    using upstream = await startRecorder();
    const one = {
      origin: upstream.origin,
      secret: 'S3CRET',
      place: { kind: 'header', name: 'x-key', template: '{secret}' },
    } as const;
    await using data = await startFixture({
      services: [
        { ...one, name: 'api', token_in: everywhere },
        { ...one, name: 'plain' },
      ],
    });
    const token = await data.mint();
    expect((await ask(data.port, '/s/api/public/a', { fields: fields(token) })).status).toBe(200);
    const elsewhere = await data.mint({ service: 'plain' });
    const withoutBearer = fields(elsewhere).filter((field) => !field.includes('Bearer'));
    expect((await ask(data.port, '/s/plain/public/a', { fields: withoutBearer })).status).toBe(401);
    expect(upstream.octets()).not.toContain(token.split('.')[2]);
    expect(upstream.octets()).not.toContain('x-oauth-basic');
    expect(upstream.requests()[0]?.fields.map(([name]) => name)).not.toContain('authorization');
  });

  test('two different credentials are refused', async () => {
    using upstream = await startRecorder();
    await using data = await startFixture({
      services: [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', token_in: everywhere }],
    });
    const [one, two] = [await data.mint(), await data.mint()];
    const cases = [
      [`Authorization: Bearer ${one}`, `Private-Token: ${two}`],
      [`Private-Token: ${one}`, `Private-Token: ${two}`],
      [`Authorization: ${basic(one, two)}`],
      [`Authorization: Bearer ${one}`, `Authorization: Bearer ${two}`],
    ];
    for (const fields of cases) {
      const answer = await ask(data.port, '/s/api/public/a', { fields });
      expect([answer.status, codeIn(answer)]).toEqual([400, 'token_ambiguous']);
    }
    expect(upstream.octets()).toBe('');
  });
});

describe('floods of bad tokens', () => {
  const limits = {
    tokenCacheEntries: 4,
    failureBurstPerConnection: 3,
    failureBurst: 6,
    failuresPerSecond: 0.001,
    failuresPerSecondPerConnection: 0.001,
  };
  const forged = async (data: Fixture) => `${(await data.mint()).slice(0, -20)}AAAAAAAAAAAAAAAAAAAA`;

  test('are answered 429 on a connection, 503 in all, and never cost a good token its place', () =>
    withApi(
      async (data) => {
        const good = await data.mint();
        expect(await outcome(data, good)).toBe(200);
        const bad = await Promise.all(Array.from({ length: 4 }, () => forged(data)));
        const requests = bad.map(
          (token) => `GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n\r\n`,
        );
        const { octets } = await talk(data.port, [{ send: requests.join('') }], 300);
        expect(parseAnswers(octets).map(codeIn)).toEqual([...Array(3).fill('token_signature_invalid'), 'rate_limited']);
        const others: unknown[] = [];
        for (let at = 0; at < 4; at += 1) others.push(await outcome(data, await forged(data)));
        expect(others).toEqual([...Array(3).fill('token_signature_invalid'), 'overloaded']);
        expect(await outcome(data, good)).toBe(200);
      },
      { limits },
    ));

  test('that are not even formed cost nothing, and good new tokens are never counted', () =>
    withApi(
      async (data) => {
        for (let at = 0; at < 10; at += 1) expect(await outcome(data, `a.b.${at}`)).toBe('token_malformed');
        for (let at = 0; at < 10; at += 1) expect(await outcome(data, await data.mint())).toBe(200);
        expect(data.metrics.render()).toMatch(/daypass_token_cache_entries [1-4]\n/);
      },
      { limits },
    ));
});
