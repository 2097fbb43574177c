// Siblings of the attack cases, by class: what cannot be read in one way only is refused, and nothing of it goes upstream.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Fixture, startFixture } from './fixture.ts';
import { ask, parseAnswers, type Recorder, startRecorder, talk } from './recorder.ts';

let upstream: Recorder;
let data: Fixture;
let auth: string;
beforeAll(async () => {
  upstream = await startRecorder();
  data = await startFixture({
    services: [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }],
  });
  auth = `Authorization: Bearer ${await data.mint()}`;
});
afterAll(async () => {
  await data?.[Symbol.asyncDispose]();
  upstream?.close();
});

const get = (target = '/public/a', version = 'HTTP/1.1', host = 'Host: h\r\n', more = ''): string =>
  `GET ${target} ${version}\r\n${host}${auth}\r\n${more}\r\n`;
const post = (fields: readonly string[], body: string, version = 'HTTP/1.1'): string =>
  `POST /v1/items ${version}\r\n${['Host: h', auth, ...fields].join('\r\n')}\r\n\r\n${body}`;
const CHUNKS = '2\r\nok\r\n0\r\n\r\n';
const chunked = (body: string): string => post(['Transfer-Encoding: chunked'], body);
const field = (line: string): string => get('/public/a', 'HTTP/1.1', 'Host: h\r\n', `${line}\r\n`);

/** What each makes of a text, so that tests are named before there is a token. */
const REFUSED: Readonly<Record<string, readonly [readonly string[], (text: string) => string]>> = {
  'the Host': [
    [
      'u@h',
      '',
      'h:',
      'h:0x50',
      '%68',
      'h\th',
      'h#a',
      'h?a',
      'h/a',
      'h:65536',
      'h:99999999',
      '[::1',
      '::1',
      '[::1]x',
      'h,h',
      'h\r\nHost: h',
      'h\r\n b',
      '[fe80::1%25eth0]',
    ],
    (text) => get('/public/a', 'HTTP/1.1', `Host: ${text}\r\n`),
  ],
  'the target': [
    [
      'http://evil/public/a',
      'http://h/public/a',
      'HTTPS://h/public/a',
      'h:80',
      'public/a',
      '//h/public/a',
      '*',
      '?a',
      '#a',
      '/public/a b',
      '/public/a|b',
      '/public/~%7e',
      '/public/a%3bb',
      '/public/%252f',
      '/public/%e0%80%af',
      '/public/%e2%80%a5/admin',
      '/public/.%e2%80%8b./x',
      '/public/%ef%bb%bf../x',
      '/public/..+/x',
      '/public/..%09/x',
      '/public/..%c2%a0/x',
      '/public/%ed%a0%80',
      '/public/%ef%bc%852e',
      '/public/a?b#c',
      '/public/a?b\xff',
    ],
    (text) => get(text),
  ],
  'the version': [
    [
      'HTTP/1.2',
      'HTTP/2.0',
      'HTTP/0.9',
      'http/1.1',
      'HTTP/1.1 x',
      'HTTP/01.1',
      'HTTP/1.10',
      'HTTP/1,1',
      'HTTP 1.1',
      '',
    ],
    (text) => get('/public/a', text),
  ],
  'a header line': [
    [
      'X-A : b',
      'X-A\t: b',
      'X-A: b\r\n c',
      'X\tA: b',
      'X-\xc3\xa9: b',
      'X-A',
      ': b',
      'X-A: a\0b',
      'X-A: a\x1bb',
      'X-A: a\nX-B: c',
      'X-A: a\rX-B: c',
      'Authorization: ',
      'Authorization: Bearer x',
      'Upgrade: websocket',
      'Upgrade: h2c, websocket',
      'Upgrade: TLS/1.0',
      'Expect: 100-continue, x',
      'Expect: 200-ok',
      'Expect: ',
      'Expect: 100-continue;q=1',
    ],
    field,
  ],
  'Content-Length': [
    [
      '2,2',
      '2, 2',
      '+2',
      '-2',
      '0x2',
      '2;',
      '2.0',
      '1e1',
      '2_0',
      '"2"',
      '00000000000000000000002',
      '18446744073709551618',
      '2\r\nContent-Length: 2',
      '2\r\nContent-Length: 3',
      '2\r\nTransfer-Encoding: chunked',
      '\xd9\xa2',
      '2 2',
    ],
    (text) => post([`Content-Length: ${text}`], 'ok'),
  ],
  'Transfer-Encoding': [
    [
      'xchunked',
      'chunked, identity',
      'identity, chunked',
      'gzip, chunked',
      'chunked\x0b',
      '\x0bchunked',
      '"chunked"',
      'chunked;',
      'chunked; a=b',
      '',
      ',',
      'chunked,',
      'chunked\tx',
      'trailers',
      'chunked\r\nTransfer-Encoding: chunked',
      'chunked\r\nContent-Length: 2',
      'chunked\r\n , identity',
    ],
    (text) => post([`Transfer-Encoding: ${text}`], CHUNKS),
  ],
  'a chunk': [
    [
      '2_',
      '0_2',
      '0x2',
      '2 ',
      '2\t',
      '-2',
      '+2',
      '2\r',
      'ffffffffffffffffff',
      '2;a="\r\n"',
      '2;',
      '2;;',
      '2 ;a',
      '2; a=b',
      '2;a=\rb',
      '2;a\0',
      'g',
      '',
    ].map((line) => `${line}\r\nok\r\n0\r\n\r\n`),
    chunked,
  ],
  'the end of chunks': [
    [
      '2\nok\r\n0\r\n\r\n',
      '2\r\nok\n0\r\n\r\n',
      '2\r\nok\r\n0\r\n\n',
      '2\r\nok0\r\n\r\n',
      '2\r\nok\r\n\r\n0\r\n\r\n',
      '2\r\nok\r\n0 \r\n\r\n',
    ],
    chunked,
  ],
  'a trailer': [
    ['Transfer-Encoding: chunked', 'Content-Length: 5', 'X-A : b', ' fold', 'X-A: a\rb', 'bad', ': x'],
    (text) => chunked(`2\r\nok\r\n0\r\n${text}\r\n\r\n`),
  ],
};

test.each(
  Object.entries(REFUSED).flatMap(([what, [texts, make]]) => texts.map((text) => [what, text, make] as const)),
)('%s %j is refused, and nothing goes upstream', async (_what, text, make) => {
  const before = upstream.octets().length;
  const { octets, isClosed } = await talk(data.port, [{ send: make(text) }], 2000);
  const statuses = parseAnswers(octets).map(({ status }) => status);
  expect(statuses.length <= 1 && statuses.every((status) => [400, 401, 417, 501, 505].includes(status))).toBe(true);
  expect([isClosed || statuses.length === 1, upstream.octets().length]).toEqual([true, before]);
});

test.each(['\n', '\r'])('lines that end in %j are refused', async (end) => {
  const before = upstream.octets().length;
  const { octets } = await talk(data.port, [{ send: get().replaceAll('\r\n', end) }], 2000);
  expect([parseAnswers(octets)[0]?.status, upstream.octets().length]).toEqual([400, before]);
});

test.each([
  ['Host: b', 'host'],
  ['Authorization: Bearer x', 'authorization'],
  ['X-Forwarded-For: 1.2.3.4', 'x-forwarded-for'],
])('the trailer %j reaches no upstream as a header', async (trailer, name) => {
  const from = upstream.octets().length;
  await talk(data.port, [{ send: chunked(`2\r\nok\r\n0\r\n${trailer}\r\n\r\n`) }], 200, (got) => got.includes('ok'));
  const sent = upstream.octets().slice(from);
  expect(sent).not.toContain(trailer);
  expect(sent.match(new RegExp(`\\n${name}:`, 'gi'))?.length ?? 0).toBeLessThanOrEqual(1);
});

test.each([
  ['refused for its target', get('/public/../x').replace('/public/../x', '/public/%2e%2e/x')],
  ['refused for its Host', 'GET /public/a HTTP/1.1\r\nHost: u@h\r\n\r\n'],
])('what follows a request that ended its connection is not done: %s', async (_name, first) => {
  using own = await startRecorder();
  await using plane = await startFixture({
    services: [{ name: 'api', origin: own.origin, secret: 'S3CRET', is_default: true }],
  });
  const authorization = `Authorization: Bearer ${await plane.mint()}`;
  const fields = `Host: h\r\n${authorization}\r\nContent-Length: 2`;
  const head = first.replace(auth, authorization);
  const { octets, isClosed } = await talk(
    plane.port,
    [{ send: `${head}POST /v1/items HTTP/1.1\r\n${fields}\r\n\r\nok` }],
    2000,
  );
  expect([parseAnswers(octets).map(({ status }) => status), isClosed]).toEqual([[400], true]);
  await ask(plane.port, '/public/after', { token: await plane.mint() });
  expect(own.requests().map(({ target }) => target)).toEqual(['/public/after']);
});

test('what follows an answer of Connection: close is not done', async () => {
  const from = upstream.dialled() >= 0 ? upstream.requests().length : 0;
  const close = field('Connection: close');
  await talk(data.port, [{ send: close + post(['Content-Length: 2'], 'ok') }], 2000);
  expect(upstream.requests().length - from).toBe(1);
});

const RESPONSES: readonly (readonly [string, string, readonly number[]])[] = [
  ['two different lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\noka', [502]],
  ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok', [502]],
  [
    'a length and chunks',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    [502],
  ],
  ['a signed length', 'HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok', [502]],
  ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nok', [502]],
  [
    'a coding twice',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
    [502],
  ],
  ['a folded header', 'HTTP/1.1 200 OK\r\nX-A: b\r\n Set-Cookie: c=d\r\nContent-Length: 2\r\n\r\nok', [502]],
  ['a bare LF', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok', [502]],
  ['a bare CR in a value', 'HTTP/1.1 200 OK\r\nX-A: b\rX-B: c\r\nContent-Length: 2\r\n\r\nok', [502]],
  ['a blank before the colon', 'HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok', [502]],
  ['a NUL in a value', 'HTTP/1.1 200 OK\r\nX-A: a\0b\r\nContent-Length: 2\r\n\r\nok', [502]],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok', [502]],
  ['a status below 100', 'HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok', [502]],
  // It says nothing of the framing, which is that of HTTP/1.1 either way.
  ['another version', 'HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok', [200, 502]],
  ['an upgrade unasked', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n', [502]],
  ['204 with a body', 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nHELLO', [204]],
  ['304 with a body', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nHELLO', [304]],
];

test.each(
  RESPONSES,
)('an answer with %s: what the client gets has one reading, and the next answer is its own', async (_name, octets, statuses) => {
  using own = await startRecorder();
  await using plane = await startFixture({
    services: [{ name: 'api', origin: own.origin, secret: 'S3CRET', is_default: true }],
  });
  const token = await plane.mint();
  own.script(octets);
  const answer = await ask(plane.port, '/public/a', { token });
  expect(statuses).toContain(answer.status);
  expect(answer.head).not.toMatch(/set-cookie|x-b:/i);
  const next = await ask(plane.port, '/public/next', { token });
  expect([next.status, next.body]).toEqual([200, 'ok']);
  expect(next.head).toContain('/public/next');
});
