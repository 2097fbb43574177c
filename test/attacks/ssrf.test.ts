// The control cases SSR-*: an upstream that is no public origin is refused when it is registered, and again when it is dialled.
import type { LookupAddress } from 'node:dns';
import { Code, ConnectError } from '@connectrpc/connect';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errorOf, type Running, sealFor, startControl } from '../control-plane/fixture.ts';
import { type Fixture, startFixture } from '../data-plane/fixture.ts';
import { ask, codeIn, startRecorder } from '../data-plane/recorder.ts';
import { casesOf } from './cases.ts';

const urls: readonly (readonly [string, string])[] = [
  ...casesOf('control').flatMap(({ id, input }) => (input === undefined ? [] : [[id, input.base_url] as const])),
  // Siblings of the same kinds.
  ...[
    'http://0xa9fea9fe/',
    'http://0xa9.0xfe.0xa9.0xfe/',
    'http://025177524776/',
    'http://169.16689662/',
    'http://127.1/',
    'http://0/',
    'http://[::1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[0:0:0:0:0:ffff:a9fe:a9fe]/',
    'http://[64:ff9b:1::a9fe:a9fe]/',
    'http://[2002:a9fe:a9fe::]/',
    'http://[fd00:ec2::254]/',
    'http://[fec0::1]/',
    'http://[::127.0.0.1]/',
    'http://[fe80::1%eth0]/',
    'http://LOCALHOST/',
    'http://a.localhost/',
    'http://metadata.google.internal./',
    'http://metadata/',
    'http://instance-data/',
    'http://100.100.100.200/',
    'http://168.63.129.16/',
    'http://10.0.0.1/',
    'http://192.168.0.1/',
    'http://198.18.0.1/',
    'http://255.255.255.255/',
    'http://127.0.0.1:80@169.254.169.254/',
    'http://169.254.169.254\\@api.example.com/',
    'http://169.254.169.254?@api.example.com/',
    'http:\\\\169.254.169.254/',
    'http:169.254.169.254/',
    '//169.254.169.254/',
    'http://１６９.254.169.254/',
    'http://169。254。169。254/',
    'http://exa\nmple.com/',
    'http://example.com%2f.evil.test/',
    'http://example.com:0/',
    'http://example.com:-1/',
    'http://example.com:8080x/',
    'https://@api.example.com/',
    'https://api.example.com/?q',
    'https://api.example.com/a%5cb',
    'https://api.example.com/a/..%2fb',
    'file:///etc/passwd',
    'ftp://127.0.0.1/',
    'javascript:alert(1)',
    'unix:/var/run/docker.sock',
    'http://ex ample.com/',
    'http://a_b..example/',
    '',
  ].map((url, at) => [`sibling ${at + 1}`, url] as const),
];

let control: Running;
let data: Fixture;
const asked: string[] = [];
const loopback: LookupAddress = { address: '127.0.0.1', family: 4 };

beforeAll(async () => {
  control = await startControl();
  await control.admin.services.create({ service: { name: 'there', upstream: 'https://api.example.com' } });
  data = await startFixture({
    services: [],
    allow: [],
    resolve: (name, answer) => {
      asked.push(name);
      answer(null, [loopback]);
    },
  });
});
afterAll(async () => {
  await data?.[Symbol.asyncDispose]();
  await control?.[Symbol.asyncDispose]();
});

describe.each(urls)('%s: the upstream %j', (_id, upstream) => {
  test('is refused by Create and by Update', async () => {
    const { services } = control.admin;
    const service = { name: 'new', upstream, insecureUpstream: true };
    const changed = { ...service, name: 'there' };
    for (const work of [
      services.create({ service }),
      services.update({ service: changed, updateMask: { paths: ['upstream', 'insecure_upstream'] } }),
    ]) {
      const error = ConnectError.from(await errorOf(work));
      expect([error.code, error.metadata.get('daypass-error-field')]).toEqual([
        Code.InvalidArgument,
        'service.upstream',
      ]);
    }
    expect((await services.list({})).services.map(({ name }) => name)).toEqual(['there']);
  });

  test('is refused in a snapshot, or when it is dialled', async () => {
    // As it is written, and as the URL parser reads it where that is somewhere inside.
    const read = URL.canParse(upstream) ? new URL(upstream).origin : 'null';
    const origins = [upstream.replace(/\/$/, ''), ...(/example|^null$/.test(read) ? [] : [read])];
    for (const origin of origins) expect(await outcomeOf(origin)).toBe('refused');
  });
});

async function outcomeOf(origin: string): Promise<string> {
  try {
    await data.publish({
      services: [{ name: 'api', origin, secret: 'S3CRET', is_default: true, insecure_upstream: true }],
    });
  } catch {
    return 'refused';
  }
  const answer = await ask(data.port, '/public/a', { token: await data.mint() });
  return answer.status === 502 && codeIn(answer) === 'upstream_address_refused'
    ? 'refused'
    : `${answer.status} ${answer.body}`;
}

/** A data plane whose upstream `up.example` resolves to these addresses. */
async function dial(addresses: readonly LookupAddress[], allow: readonly string[]) {
  using upstream = await startRecorder();
  const origin = `http://up.example:${upstream.port}`;
  const services = [{ name: 'api', origin, secret: 'S3CRET', is_default: true, insecure_upstream: true }];
  await using plane = await startFixture({ services, allow, resolve: (_name, answer) => answer(null, addresses) });
  const started = performance.now();
  const answer = await ask(plane.port, '/public/a', { token: await plane.mint() });
  return { told: [answer.status, codeIn(answer)], dialled: upstream.dialled(), ms: performance.now() - started };
}

const REFUSED = [502, 'upstream_address_refused'];

test('SSR-71 what is checked is what is dialled: a name that was public when saved and is loopback now', async () => {
  await control.admin.services.create({ service: { name: 'rebinding', upstream: 'https://up.example' } });
  expect(await dial([loopback], [])).toMatchObject({ told: REFUSED, dialled: 0 });
  await control.admin.services.delete({ name: 'rebinding' });
});

test('SSR-73 a name is judged by its addresses, whatever names lie between', async () => {
  for (const address of ['10.0.0.1', '169.254.169.254', '192.168.1.1'])
    expect(await dial([{ address, family: 4 }], ['127.0.0.1/32'])).toMatchObject({ told: REFUSED, dialled: 0 });
  expect(await dial([{ address: '93.184.216.34', family: 4 }, loopback], [])).toMatchObject({
    told: REFUSED,
    dialled: 0,
  });
});

test('SSR-77 a name with ten thousand addresses is refused at once', async () => {
  const { told, dialled, ms } = await dial(
    Array.from({ length: 10_000 }, () => loopback),
    ['127.0.0.1/32'],
  );
  expect([told, dialled]).toEqual([REFUSED, 0]);
  expect(ms).toBeLessThan(500);
});

test('SSR-79 plain http for a sealed credential has to be asked for, and the change is in the audit', async () => {
  const upstream = 'http://api.example.com';
  const sealed = { place: { kind: 1 as const }, credentialId: '0123456789abcdef0123456789abcdef' };
  const sealedCredential = await sealFor(control.home, 'clear', { origin: upstream });
  const service = { name: 'clear', upstream, ...sealed, sealedCredential };
  const refused = ConnectError.from(await errorOf(control.admin.services.create({ service })));
  expect([refused.code, refused.metadata.get('daypass-error-field')]).toEqual([
    Code.InvalidArgument,
    'service.upstream',
  ]);
  await control.admin.services.create({ service: { ...service, insecureUpstream: true } });
  const { events } = await control.admin.audit.query({ filter: { kind: 2, service: 'clear' } });
  expect(events.map(({ method, caller }) => [method, caller])).toContainEqual(['ServiceRegistry/Create', 'admin']);
  await control.admin.services.delete({ name: 'clear' });
});

test('no address and no inner name is asked of the DNS', () => {
  expect(asked.filter((name) => /^[0-9.]+$|localhost|metadata/.test(name))).toEqual([]);
});
