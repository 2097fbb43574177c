// Dialling: only addresses that the policy lets through, decided at the moment of dialling.
import type { LookupAddress } from 'node:dns';
import { createUpstreamPolicy } from '@daypass/core/address';
import { DaypassError } from '@daypass/core/errors';
import { describe, expect, test } from 'vitest';
import { createConnector } from '../../data-plane/dial.ts';
import { startFixture } from './fixture.ts';
import { ask, codeIn, startRecorder } from './recorder.ts';

const v4 = (address: string): LookupAddress => ({ address, family: 4 });

describe('an upstream whose name', () => {
  const cases: readonly [string, readonly (readonly LookupAddress[])[], readonly string[], string][] = [
    ['points at loopback', [[v4('127.0.0.1')]], ['10.0.0.0/8'], 'upstream_address_refused'],
    ['points at metadata', [[v4('169.254.169.254')]], ['127.0.0.1/32'], 'upstream_address_refused'],
    [
      'points at a mapped address',
      [[{ address: '::ffff:127.0.0.1', family: 6 }]],
      ['10.0.0.0/8'],
      'upstream_address_refused',
    ],
    ['also points inside', [[v4('127.0.0.1'), v4('10.0.0.1')]], ['127.0.0.1/32'], 'upstream_address_refused'],
    ['points nowhere', [[]], ['127.0.0.1/32'], 'upstream_unreachable'],
    [
      'points at very many',
      [Array.from({ length: 10_000 }, () => v4('127.0.0.1'))],
      ['127.0.0.1/32'],
      'upstream_address_refused',
    ],
  ];
  test.each(cases)('%s is not dialled', async (_name, answers, allow, code) => {
    using upstream = await startRecorder();
    await using data = await startFixture({
      services: [
        {
          name: 'api',
          origin: `http://up.example:${upstream.port}`,
          secret: 'S3CRET',
          is_default: true,
          insecure_upstream: true,
        },
      ],
      allow,
      resolve: (_hostname, answer) => answer(null, answers[0] ?? []),
    });
    const answer = await ask(data.port, '/public/a', { token: await data.mint() });
    expect([answer.status, codeIn(answer)]).toEqual([502, code]);
    expect(upstream.dialled()).toBe(0);
    expect(data.audit.outcomes).toMatchObject([{ result: 'failed', reason: code, status: 502 }]);
  });

  test('comes to point inside is not dialled again (DNS rebinding)', async () => {
    using upstream = await startRecorder();
    let address = '127.0.0.1';
    await using data = await startFixture({
      services: [
        {
          name: 'api',
          origin: `http://up.example:${upstream.port}`,
          secret: 'S3CRET',
          is_default: true,
          insecure_upstream: true,
        },
      ],
      resolve: (_hostname, answer) => answer(null, [v4(address)]),
    });
    const token = await data.mint();
    expect((await ask(data.port, '/public/a', { token })).status).toBe(200);
    address = '127.0.0.2';
    for (const socket of upstream.sockets()) socket.destroy();
    const answer = await ask(data.port, '/public/a', { token });
    expect([answer.status, codeIn(answer)]).toEqual([502, 'upstream_address_refused']);
    expect(upstream.dialled()).toBe(1);
  });
});

describe('an upstream by address', () => {
  test.each([
    'http://127.0.0.1',
    'http://[::1]',
    'http://169.254.169.254',
    'http://0.0.0.0',
    'https://10.1.2.3',
    'http://localhost',
  ])('%s is refused unless its range is allowed, though the snapshot holds it', async (origin) => {
    await using data = await startFixture({
      services: [{ name: 'api', origin, secret: 'S3CRET', is_default: true, insecure_upstream: true }],
      allow: ['192.168.0.0/16'],
    });
    const answer = await ask(data.port, '/public/a', { token: await data.mint() });
    expect([answer.status, codeIn(answer)]).toEqual([502, 'upstream_address_refused']);
  });

  test('that is one of the planes themselves is refused, though its range is allowed', async () => {
    using upstream = await startRecorder();
    await using data = await startFixture({
      services: [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }],
      own: [{ host: '127.0.0.1', port: upstream.port }],
    });
    expect(codeIn(await ask(data.port, '/public/a', { token: await data.mint() }))).toBe('upstream_address_refused');
    expect(upstream.dialled()).toBe(0);
  });

  test('that is allowed at one port is refused at another', async () => {
    using upstream = await startRecorder();
    await using data = await startFixture({
      services: [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }],
      allow: [`127.0.0.1:${upstream.port + 1}`],
    });
    expect(codeIn(await ask(data.port, '/public/a', { token: await data.mint() }))).toBe('upstream_address_refused');
    expect(upstream.dialled()).toBe(0);
  });
});

test('plain http to a name needs the service to say so', async () => {
  await using data = await startFixture({
    services: [{ name: 'api', origin: 'http://up.example', secret: 'S3CRET', is_default: true }],
    resolve: () => {
      throw new DaypassError('internal', 'the name was asked for');
    },
  });
  expect(codeIn(await ask(data.port, '/public/a', { token: await data.mint() }))).toBe('upstream_address_refused');
});

test('proxies of the environment are not used', async () => {
  using upstream = await startRecorder();
  using proxy = await startRecorder();
  for (const name of ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'ALL_PROXY', 'NODE_USE_ENV_PROXY'])
    process.env[name] = name === 'NODE_USE_ENV_PROXY' ? '1' : proxy.origin;
  try {
    await using data = await startFixture({
      services: [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }],
    });
    expect((await ask(data.port, '/public/a', { token: await data.mint() })).status).toBe(200);
    expect(proxy.dialled()).toBe(0);
  } finally {
    for (const name of ['http_proxy', 'HTTP_PROXY', 'https_proxy', 'HTTPS_PROXY', 'ALL_PROXY', 'NODE_USE_ENV_PROXY'])
      delete process.env[name];
  }
});

test('an upstream that cannot be reached in time is 504', async () => {
  await using data = await startFixture({
    services: [
      {
        name: 'api',
        origin: 'http://up.example',
        secret: 'S3CRET',
        is_default: true,
        insecure_upstream: true,
        connect_timeout_ms: 200,
      },
    ],
    resolve: () => undefined,
  });
  const answer = await ask(data.port, '/public/a', { token: await data.mint(), quietMs: 8000 });
  expect([answer.status, codeIn(answer)]).toEqual([504, 'upstream_timeout']);
});

test('the connector refuses an address by itself, before any connection is made', async () => {
  using upstream = await startRecorder();
  const policy = createUpstreamPolicy({ allow: [], own: [] });
  const connect = createConnector(
    { policy, resolve: () => undefined },
    { connectTimeoutMs: 1000, port: upstream.port },
  );
  const error = await new Promise((done) =>
    connect({ hostname: '127.0.0.1', protocol: 'http:', port: String(upstream.port) }, (...result) => done(result[0])),
  );
  expect(error).toMatchObject({ code: 'upstream_address_refused' });
  expect(upstream.dialled()).toBe(0);
});
