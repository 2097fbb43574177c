// What the upstream sees: the service's credential at its place, and nothing of the caller's own.
import { describe, expect, test } from 'vitest';
import { type ServiceSpec, startFixture } from './fixture.ts';
import { ask, type Recorded, startRecorder } from './recorder.ts';

const SECRET = 'S3cr/et+&=';

type Asked = {
  readonly target?: string;
  readonly method?: string;
  readonly fields?: readonly string[];
  readonly body?: string;
};

async function seenBy(service: Partial<ServiceSpec>, asked: Asked = {}): Promise<Recorded> {
  using upstream = await startRecorder();
  await using data = await startFixture({
    services: [{ name: 'api', origin: upstream.origin, secret: SECRET, is_default: true, ...service }],
  });
  const token = await data.mint({ allowed: ['* /**'] });
  const { target = '/public/a', ...options } = asked;
  const answer = await ask(data.port, target, { token, ...options });
  const [seen] = upstream.requests();
  if (seen === undefined) throw new Error(`nothing went upstream: ${answer.status} ${answer.body}`);
  expect(upstream.requests()).toHaveLength(1);
  expect(upstream.octets()).not.toContain(token.split('.')[2]);
  return seen;
}

const valuesOf = (seen: Recorded, name: string) =>
  seen.fields.filter((field) => field[0] === name).map((field) => field[1]);

describe('the credential', () => {
  test('as bearer', async () => {
    expect(valuesOf(await seenBy({ place: { kind: 'bearer' } }), 'authorization')).toEqual([`Bearer ${SECRET}`]);
  });
  test('as basic', async () => {
    const seen = await seenBy({ place: { kind: 'basic' }, secret: 'ada:p:w' });
    expect(valuesOf(seen, 'authorization')).toEqual([`Basic ${Buffer.from('ada:p:w').toString('base64')}`]);
  });
  test('as a header by template, in place of every copy that the client sent', async () => {
    const place = { kind: 'header', name: 'x-key', template: 'v1 {secret};' } as const;
    const seen = await seenBy({ place, secret: '$&$1' }, { fields: ['X-Key: mine', 'x-KEY: mine', 'X_Key: mine'] });
    expect(valuesOf(seen, 'x-key')).toEqual(['v1 $&$1;']);
    expect(JSON.stringify(seen.fields)).not.toContain('mine');
  });
  test.each([
    ['/public/a', '/public/a?Api_Key=S3cr%2Fet%2B%26%3D'],
    ['/public/a?x=1', '/public/a?x=1&Api_Key=S3cr%2Fet%2B%26%3D'],
    ['/public/a?api_key=mine&x=1&API_KEY=mine', '/public/a?x=1&Api_Key=S3cr%2Fet%2B%26%3D'],
    ['/public/a?%61pi%5fkey=mine', '/public/a?Api_Key=S3cr%2Fet%2B%26%3D'],
    ['/public/a?x=1;api_key=mine', '/public/a?x=1&Api_Key=S3cr%2Fet%2B%26%3D'],
    ['/public/a?api_key[]=mine&x', '/public/a?x&Api_Key=S3cr%2Fet%2B%26%3D'],
  ])('as a query key: %s goes up as %s', async (target, sent) => {
    expect((await seenBy({ place: { kind: 'query', name: 'Api_Key' } }, { target })).target).toBe(sent);
  });
});

test('base path, path and query are sent byte for byte', async () => {
  const target = "/public/(x)*'y/%C3%A9?a=%zz&b=+%20&c[]=1&&=";
  expect((await seenBy({ base_path: '/api/v3' }, { target })).target).toBe(`/api/v3${target}`);
  expect((await seenBy({ base_path: '/api/v3', is_default: false }, { target: `/s/api${target}` })).target).toBe(
    `/api/v3${target}`,
  );
});

test('a service named without a path is asked for its root', async () => {
  expect((await seenBy({}, { target: '/s/api' })).target).toBe('/');
  expect((await seenBy({}, { target: '/s/api?x' })).target).toBe('/?x');
});

describe('headers that stop here', () => {
  test.each([
    'Proxy-Authorization: Basic eA==',
    'X-Api-Key: mine',
    'Private-Token: mine',
    'X-HTTP-Method: DELETE',
    'X-HTTP-Method-Override: DELETE',
    'X-Original-URL: /admin',
    'X-Rewrite-URL: /admin',
    'X-Forwarded-For: 127.0.0.1',
    'X-Forwarded-Anything: 1',
    'Forwarded: for=127.0.0.1',
    'X-Real-IP: 127.0.0.1',
    'Remote-User: admin',
    'Destination: http://h/admin',
    'Upgrade: h2c',
    'HTTP2-Settings: AA',
    'Keep-Alive: timeout=5',
    'Proxy-Connection: keep-alive',
    'TE: trailers',
    'Trailer: x',
    'X_Under_Score: 1',
    'X.Dot: 1',
  ])('%s', async (field) => {
    const [name = ''] = field.split(':');
    const seen = await seenBy({}, { fields: [field] });
    expect(seen.fields.map((one) => one[0])).not.toContain(name.toLowerCase());
  });

  test('and everything that Connection names, but never what the proxy puts on', async () => {
    using upstream = await startRecorder();
    await using data = await startFixture({
      services: [
        { name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true, set_headers: { 'x-set': 'by us' } },
      ],
    });
    const fields = ['X-Hop: 1', 'Connection: x-hop, Authorization, host, X-Set, content-length'];
    await ask(data.port, '/v1/items', { method: 'POST', token: await data.mint(), fields, body: 'abc' });
    const [seen] = upstream.requests();
    expect(seen?.fields.map(([name]) => name)).not.toContain('x-hop');
    expect(seen?.fields).toContainEqual(['authorization', 'Bearer S3CRET']);
    expect(seen?.fields).toContainEqual(['x-set', 'by us']);
    expect(seen?.body).toBe('abc');
    expect(seen?.fields.find(([name]) => name === 'host')?.[1]).toBe(new URL(upstream.origin).host);
  });

  test('those that the service drops or sets, and the query keys that it drops', async () => {
    const service = { drop_headers: ['x-tenant'], set_headers: { 'x-version': '2' }, drop_query: ['debug'] };
    const fields = ['X-Tenant: other', 'X-Version: 1', 'X-Kept: 1'];
    const seen = await seenBy(service, { target: '/public/a?debug=1&x=1&Debug=2&_method=DELETE', fields });
    expect(seen.target).toBe('/public/a?x=1');
    expect(seen.fields.map((one) => one[0])).not.toContain('x-tenant');
    expect(valuesOf(seen, 'x-version')).toEqual(['2']);
    expect(valuesOf(seen, 'x-kept')).toEqual(['1']);
  });

  test('a query of nothing but dropped keys goes up as no query', async () => {
    expect((await seenBy({ drop_query: ['debug'] }, { target: '/public/a?debug' })).target).toBe('/public/a');
  });
});

test('a DELETE with a body and a GET with a body arrive as one request each', async () => {
  for (const method of ['DELETE', 'GET']) {
    const seen = await seenBy({}, { method, body: 'GET /admin HTTP/1.1\r\nHost: h\r\n\r\n' });
    expect([seen.method, seen.body]).toEqual([method, 'GET /admin HTTP/1.1\r\nHost: h\r\n\r\n']);
  }
});
