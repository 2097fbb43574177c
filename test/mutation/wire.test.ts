// What mutants of the reader of request heads and of the route showed to be untested in one process.
import { DaypassError } from '@daypass/core/errors';
import { describe, expect, test } from 'vitest';
import type { ActiveSnapshot } from '../../data-plane/active.ts';
import type { ActiveService } from '../../data-plane/active-service.ts';
import { findToken } from '../../data-plane/presented.ts';
import { routeRequest } from '../../data-plane/route.ts';
import { type Head, hasBody, readHead } from '../../data-plane/wire.ts';

type Request = { method?: string; url?: string; major?: number; minor?: number; fields?: readonly string[] };

const HOST = ['Host', 'api.example'];

const head = ({ method = 'GET', url = '/a', major = 1, minor = 1, fields = HOST }: Request = {}): Head => {
  const message = { method, target: url, major, minor, fields: [...fields] };
  return readHead(message, { bodyBytesMax: 1000 });
};
const withFields = (...fields: string[]): Request => ({ fields: [...HOST, ...fields] });

const errorOf = (work: () => unknown): { code: string; message: string } => {
  try {
    work();
  } catch (error) {
    if (error instanceof DaypassError) return { code: error.code, message: error.message };
    throw error;
  }
  return { code: 'nothing', message: '' };
};

test('a head is read as it came', () => {
  const fields = ['HOST', 'h', 'X-A', '1', 'x_b', '2', 'x-a', '3', 'Connection', 'x-a, close , X-Hop,', 'DPoP', 'p'];
  const read = head({ method: 'POST', url: '/a?b', fields: [...fields, 'Authorization', 'Bearer t'] });
  expect(read).toMatchObject({ method: 'POST', authorization: 'Bearer t', proof: 'p', expectsContinue: false });
  expect(read.target).toMatchObject({ path: '/a', query: 'b' });
  expect(read.fields.slice(0, 6)).toEqual(['host', 'h', 'x-a', '1', 'x-a', '3']);
  expect([...read.hopNames]).toEqual(['x-a', 'x-hop']);
  expect(read).toMatchObject({ contentLength: undefined, chunked: false });
});

test('two Connection fields are one list, and a name without a value has none', () => {
  const { hopNames, fields } = head(withFields('Connection', 'a', 'Connection', 'b', 'X-Odd'));
  expect([...hopNames]).toEqual(['a', 'b']);
  expect(fields).toEqual(['host', 'api.example', 'connection', 'a', 'connection', 'b']);
});

test.each([
  ['GET', 'nothing'],
  ['M-SEARCH', 'nothing'],
  ['get', 'method_refused'],
  ['*', 'method_refused'],
  ['', 'method_refused'],
  ['CONNECT', 'method_refused'],
  ['TRACE', 'method_refused'],
  ['TRACK', 'method_refused'],
])('the method %j', (method, code) => expect(errorOf(() => head({ method })).code).toBe(code));

test('which methods are never forwarded is told', () => {
  expect(errorOf(() => head({ method: 'TRACE' })).message).toBe('This method is never forwarded');
  expect(errorOf(() => head({ method: 'a' })).message).toBe('This is not a method');
});

test.each([
  [1, 1, 'nothing'],
  [1, 0, 'nothing'],
  [1, 2, 'framing_invalid'],
  [0, 9, 'framing_invalid'],
  [2, 0, 'framing_invalid'],
])('HTTP/%i.%i', (major, minor, code) => expect(errorOf(() => head({ major, minor })).code).toBe(code));

test.each([
  ...['a', 'a.b-c_d.example', 'a:1', 'a:65535', '[::1]', '[::1]:8080', '[1::2:3.4.5.6]', 'x'.repeat(255)].map(
    (host) => [host, 'nothing'] as const,
  ),
  ...['', ' a', 'a ', 'a:', 'a:65536', 'a:999999', 'a:0x1', 'a b', 'a/b', 'u@a', 'a,b', 'x'.repeat(256), 'a\n']
    .concat(['::1', '[]', '[:]', '[1]', '[::1', '::1]', '[::g]', '[1.2.3.4]', '[a]b', '[::1]:', `[${'1:'.repeat(23)}]`])
    .map((host) => [host, 'host_invalid'] as const),
])('the Host %j', (host, code) => expect(errorOf(() => head({ fields: ['Host', host] })).code).toBe(code));

test('a Host field is needed', () => expect(errorOf(() => head({ fields: [] })).code).toBe('host_invalid'));

test.each([
  ['Host', 'api.example', 'host_invalid'],
  ['Authorization', 'Bearer a', 'token_ambiguous'],
  ['DPoP', 'p', 'proof_invalid'],
  ['Content-Length', '1', 'framing_invalid'],
  ['Transfer-Encoding', 'chunked', 'framing_invalid'],
  ['Content-Type', 'a/b', 'header_invalid'],
  ['Expect', '100-continue', 'expectation_failed'],
])('two %s fields are refused, in any case', (name, value, code) => {
  const once = name === 'Host' ? [] : [name, value];
  const error = errorOf(() => head(withFields(...once, name.toLowerCase(), value)));
  expect(error).toEqual({ code, message: `There are two ${name.toLowerCase()} fields` });
});

test('two empty fields are two', () => {
  expect(errorOf(() => head(withFields('Authorization', '', 'Authorization', ''))).code).toBe('token_ambiguous');
});

test.each([
  [['Content-Length', '0'], 0, false, false],
  [['Content-Length', '1'], 1, false, true],
  [['Content-Length', '1000'], 1000, false, true],
  [['Content-Length', '000000000000005'], 5, false, true],
  [['Transfer-Encoding', 'chunked'], undefined, true, true],
  [['Transfer-Encoding', 'Chunked'], undefined, true, true],
  [[], undefined, false, false],
] as const)('the framing %j', (fields, contentLength, chunked, body) => {
  const read = head(withFields(...fields));
  expect(read).toMatchObject({ contentLength, chunked });
  expect(hasBody(read)).toBe(body);
});

test.each([
  ...['', '+1', '-1', '1 ', ' 1', '1,1', '0x1', '1.0', 'a', '1'.repeat(16), '٣'].map(
    (length) => [['Content-Length', length], 'framing_invalid'] as const,
  ),
  [['Content-Length', '1001'], 'body_too_large'],
  ...[
    '',
    'identity',
    'gzip, chunked',
    'chunked, chunked',
    ' chunked',
    'chunked ',
    'xchunked',
    'chunkedx',
    '"chunked"',
  ].map((coding) => [['Transfer-Encoding', coding], 'framing_invalid'] as const),
  [['Transfer-Encoding', 'chunked', 'Content-Length', '1'], 'framing_invalid'],
  [['Content-Length', '1', 'Transfer-Encoding', 'chunked'], 'framing_invalid'],
  [['Content-Length', '', 'Transfer-Encoding', 'chunked'], 'framing_invalid'],
] as const)('the framing %j is refused with %s', (fields, code) => {
  expect(errorOf(() => head(withFields(...fields))).code).toBe(code);
});

test('HTTP/1.0 has no chunks', () => {
  expect(errorOf(() => head({ minor: 0, ...withFields('Transfer-Encoding', 'chunked') })).code).toBe('framing_invalid');
});

test.each([
  ['100-continue', 1, true],
  [' 100-Continue ', 1, true],
  ['100-continue', 0, false],
])('the expectation %j over HTTP/1.%i', (value, minor, expects) => {
  expect(head({ minor, ...withFields('Expect', value) }).expectsContinue).toBe(expects);
});

test.each(['', '200-ok', '100-continue, x', '100'])('the expectation %j is refused', (value) => {
  expect(errorOf(() => head(withFields('Expect', value))).code).toBe('expectation_failed');
});

test.each([
  ['h2c', 'nothing'],
  [' H2C ', 'nothing'],
  ['websocket', 'upgrade_refused'],
  ['h2c, websocket', 'upgrade_refused'],
  ['', 'upgrade_refused'],
])('an upgrade to %j', (value, code) => expect(errorOf(() => head(withFields('Upgrade', value))).code).toBe(code));

test('a request without a target has one that is refused', () => {
  const message = { method: 'GET', target: '', major: 1, minor: 1, fields: HOST };
  expect(errorOf(() => readHead(message, { bodyBytesMax: 1 })).code).toBe('target_ambiguous');
});

describe('the route', () => {
  const service = (name: string, encoded_slashes: boolean) => ({ config: { name, encoded_slashes } }) as ActiveService;
  const git = service('git', false);
  const slashed = service('slashed', true);
  const snapshot = (fallback?: ActiveService): ActiveSnapshot =>
    ({
      services: new Map([git, slashed].map((one) => [one.config.name, one])),
      defaultService: fallback,
    }) as unknown as ActiveSnapshot;
  const route = (url: string, fallback?: ActiveService) => routeRequest(snapshot(fallback), head({ url }));

  test.each([
    ['/s/git/a/b?c', git, '/s/git', '/a/b?c'],
    ['/s/git/', git, '/s/git', '/'],
    ['/s/git', git, '/s/git', '/'],
    ['/s/git?c', git, '/s/git', '/?c'],
    ['/s/git?', git, '/s/git', '/?'],
    ['/s/gi/a', undefined, '/s/gi', '/a'],
    ['/s/gitx/a', undefined, '/s/gitx', '/a'],
    ['/s/', undefined, '/s/', '/'],
    ['/s/slashed/a%2Fb', slashed, '/s/slashed', '/a%2Fb'],
  ] as const)('of %s', (url, wanted, prefix, raw) => {
    const { service: found, target, prefix: before } = route(url, slashed);
    expect([found, before, target.raw]).toEqual([wanted, prefix, raw]);
  });

  test.each(['/s', '/sx/git/a', '/a/s/git/b', '/'])('of %s is the default service', (url) => {
    const { service: found, target, prefix } = route(url, git);
    expect([found, prefix, target.raw]).toEqual([git, '', url]);
    expect(route(url).service).toBeUndefined();
  });

  test.each([
    '/s/git/a%2Fb',
    '/s/git/a%2fb?c',
    '/s/git%2Fx/a',
    '/s/nobody/a%2Fb',
    '/a%2Fb',
  ])('of %s is refused for its encoded slash', (url) =>
    expect(errorOf(() => route(url, git)).code).toBe('target_ambiguous'));

  test('an encoded slash in a query is nobody’s business', () => {
    expect(route('/s/git/a?b=%2F').target.raw).toBe('/a?b=%2F');
  });
});

describe('the token of a request', () => {
  const places = (change: object = {}) =>
    ({ tokenFields: [], takesToken: false, takesBasic: false, ...change }) as unknown as ActiveService;
  const found = (fields: readonly string[], service?: ActiveService) => findToken(head(withFields(...fields)), service);
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`;
  const all = places({ tokenFields: ['x-key', 'x-other'], takesToken: true, takesBasic: true });

  test.each([
    [['Authorization', 'Bearer a.b.c'], undefined, 'a.b.c', false],
    [['Authorization', 'bEARER a.b.c'], all, 'a.b.c', false],
    [['Authorization', 'DPoP a.b.c'], all, 'a.b.c', true],
    [['Authorization', 'dpop a.b.c'], undefined, 'a.b.c', true],
    [['Authorization', 'token a.b.c'], all, 'a.b.c', false],
    [['Authorization', basic('a.b.c:')], all, 'a.b.c', false],
    [['Authorization', basic('a.b.c:x')], all, 'a.b.c', false],
    [['Authorization', basic('x:a.b.c')], all, 'a.b.c', false],
    [['Authorization', basic('a.b.c:a.b.c')], all, 'a.b.c', false],
    [['Authorization', basic('user:')], all, 'user', false],
    [['Authorization', basic(':a.b.c')], all, 'a.b.c', false],
    [['Authorization', basic('user:pass:word')], all, 'pass:word', false],
    [['X-Key', 'a.b.c'], all, 'a.b.c', false],
    [['X-Key', '', 'x-other', 'a.b.c'], all, 'a.b.c', false],
    [['X-Key', 'a.b.c', 'X-Other', 'a.b.c'], all, 'a.b.c', false],
    [['Authorization', 'DPoP a.b.c', 'X-Key', 'a.b.c'], all, 'a.b.c', true],
  ] as const)('in %j', (fields, service, text, isDpop) => {
    expect(found(fields, service)).toEqual({ text, isDpop });
  });

  test.each([
    [[], all],
    [['Authorization', ''], all],
    [['Authorization', 'a.b.c'], all],
    [['Authorization', 'Bearer'], all],
    [['Authorization', 'Bearerx'], all],
    [['Authorization', basic('a.b.c:').replace('Basic', 'Digest')], all],
    [['Authorization', 'Bearer  '], all],
    [['Authorization', 'Bearerx a.b.c'], all],
    [['Authorization', 'token a.b.c'], places()],
    [['Authorization', 'token a.b.c'], undefined],
    [['Authorization', basic('a.b.c:')], places({ takesToken: true })],
    [['Authorization', basic('a.b.c:')], undefined],
    [['Authorization', basic('nocolon')], all],
    [['Authorization', basic(':')], all],
    [['Authorization', 'Basic a.b.c:'], all],
    [['Authorization', `Basic ${Buffer.from('a.b.c:').toString('base64')}===`], all],
    [['Authorization', `Basic !${Buffer.from('a.b.c:').toString('base64')}`], all],
    [['X-Key', 'a.b.c'], places()],
    [['X-Key', 'a.b.c'], undefined],
    [['X-Third', 'a.b.c'], all],
  ] as const)('is not in %j', (fields, service) => expect(found(fields, service)).toBeUndefined());

  test.each([
    [['Authorization', basic('a.b.c:d.e.f')]],
    [['Authorization', 'Bearer a.b.c', 'X-Key', 'd.e.f']],
    [['X-Key', 'a.b.c', 'X-Other', 'd.e.f']],
    [['X-Key', 'a.b.c', 'X-Key', 'd.e.f']],
  ] as const)('is two in %j', (fields) => {
    expect(errorOf(() => found(fields, all)).code).toBe('token_ambiguous');
  });
});
