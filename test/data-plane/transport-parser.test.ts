// The parser of the transport: the same message however it is cut, and nothing lenient.
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { describe, expect, test } from 'vitest';
import { fieldLines, requestLine, statusLine } from '../../data-plane/transport/head-text.ts';
import { MessageParser, REQUEST, RESPONSE } from '../../data-plane/transport/llhttp.ts';

type Read = { line: string; fields: readonly string[]; body: string; isComplete: boolean; code: string; rest: number };

/** Reads a message in parts. */
function read(type: typeof REQUEST | typeof RESPONSE, parts: readonly string[], headBytesMax = 16_384): Read {
  const parser = new MessageParser(type, headBytesMax, () => true);
  let body = '';
  let code = '';
  let rest = 0;
  for (const part of parts) {
    const bytes = Buffer.from(part, 'latin1');
    code = parser.execute(bytes, 0, bytes.length)?.code ?? '';
    body += parser.body?.toString('latin1') ?? '';
    rest = parser.rest;
    if (code !== '') break;
  }
  const { line, fields, isComplete } = parser;
  parser.free();
  return { line, fields: [...fields], body, isComplete, code, rest };
}

const cuts = (text: string): readonly (readonly string[])[] => [
  ...Array.from({ length: text.length - 1 }, (_none, at) => [text.slice(0, at + 1), text.slice(at + 1)]),
  [...text],
];

const whole: readonly [string, typeof REQUEST | typeof RESPONSE, string][] = [
  ['a request', REQUEST, 'GET /a?b=c HTTP/1.1\r\nHost: h\r\nEmpty:\r\nX-Blank: \t v w \t \r\nLast: \xe9\r\n\r\n'],
  ['a request with a body', REQUEST, 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde'],
  [
    'a chunked one with extensions and trailers',
    REQUEST,
    'POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nT: v\r\n\r\n',
  ],
  ['an answer', RESPONSE, 'HTTP/1.1 200 Very Good\r\nContent-Length: 2\r\nX: y\r\n\r\nok'],
  [
    'an answer after interim ones',
    RESPONSE,
    'HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok',
  ],
];

test.each(whole)('%s is the same however it is cut', (_name, type, text) => {
  const expected = read(type, [text]);
  expect(expected).toMatchObject({ isComplete: true, code: '', rest: 0 });
  for (const parts of cuts(text)) expect(read(type, parts)).toEqual(expected);
});

test('fields are as they came, without blanks around values', () => {
  const { line, fields } = read(REQUEST, [whole[0]?.[2] ?? '']);
  expect([line, ...fields]).toEqual(['/a?b=c', 'Host', 'h', 'Empty', '', 'X-Blank', 'v w', 'Last', '\xe9']);
});

test('reading stops at the end of a message', () => {
  const one = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n';
  expect(read(REQUEST, [`${one}${one}`])).toMatchObject({ isComplete: true, rest: one.length, fields: ['Host', 'h'] });
});

const strict: readonly [string, string][] = [
  ['GET / HTTP/1.1\nHost: h\n\n', 'HPE_'],
  ['GET / HTTP/1.1\r\nHost : h\r\n\r\n', 'HPE_INVALID_HEADER_TOKEN'],
  ['GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n', 'HPE_'],
  ['GET / HTTP/1.1\r\nHost: h\r\nX: a\x00b\r\n\r\n', 'HPE_INVALID_HEADER_TOKEN'],
  ['POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 'HPE_'],
  ['POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n', 'HPE_UNEXPECTED_CONTENT_LENGTH'],
  ['POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n', 'HPE_INVALID_TRANSFER_ENCODING'],
  ['POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1 \r\na\r\n', 'HPE_'],
  ['POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n', 'HPE_'],
  ['POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\na\n', 'HPE_'],
  ['GET / HTTP/9.9\r\n\r\n', 'HPE_INVALID_VERSION'],
  ['get / HTTP/1.1\r\n\r\n', 'HPE_INVALID_METHOD'],
];
test.each(strict)('%j is refused, whole and letter by letter', (text, code) => {
  expect(read(REQUEST, [text]).code).toMatch(new RegExp(`^${code}`));
  expect(read(REQUEST, [...text]).code).toBe(read(REQUEST, [text]).code);
});

test.each(['close', 'Close \t', 'x,\tclose\t, y', '\tclose'])('who says %j does not keep the connection', (said) => {
  for (const [type, start] of [
    [REQUEST, 'GET / HTTP/1.1'],
    [RESPONSE, 'HTTP/1.1 200 OK\r\nContent-Length: 0'],
  ] as const) {
    const parser = new MessageParser(type, 16_384);
    const bytes = Buffer.from(`${start}\r\nConnection: ${said}\r\n\r\n`);
    expect(parser.execute(bytes, 0, bytes.length)).toBeUndefined();
    expect([parser.isComplete, parser.keepsAlive]).toEqual([true, false]);
    parser.free();
  }
});

describe('bounds', () => {
  const head = 'POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n';
  test.each([
    ['a head', [`GET / HTTP/1.1\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`], 'HPE_HEADER_OVERFLOW'],
    ['a target', [`GET /${'a'.repeat(20_000)}`], 'HPE_HEADER_OVERFLOW'],
    ['trailers', [`${head}0\r\nX: ${'a'.repeat(20_000)}\r\n\r\n`], 'HPE_HEADER_OVERFLOW'],
    ['a chunk extension', [`${head}1;${'a'.repeat(20_000)}\r\na`], 'HPE_CHUNK_EXTENSIONS_OVERFLOW'],
    ['one between chunks', [`${head}1\r\na\r\n1;${'a'.repeat(20_000)}\r\na`], 'HPE_CHUNK_EXTENSIONS_OVERFLOW'],
    [
      'one in parts',
      [head, ...Array.from({ length: 30 }, (_none, at) => (at === 0 ? '1;' : 'a'.repeat(1000)))],
      'HPE_CHUNK_EXTENSIONS_OVERFLOW',
    ],
    ['blanks before a value', [`GET / HTTP/1.1\r\nX:${' '.repeat(50_000)}`], 'HPE_HEADER_OVERFLOW'],
    ['empty lines before a request', ['\r\n'.repeat(30_000)], 'HPE_HEADER_OVERFLOW'],
  ])('of %s', (_name, parts, code) => expect(read(REQUEST, parts).code).toBe(code));
});

test.each([
  ['a\r\nset-cookie: b'],
  ['a\r\n'],
  ['a\nb'],
  ['a\rb'],
  ['a\0b'],
  ['\u{10d}'],
])('a field value %j is not written', (value) => expect(() => fieldLines(['x', value])).toThrow(TypeError));

test.each(['', 'a b', 'a:', 'a\r\nb', 'é'])('a field name %j is not written', (name) =>
  expect(() => fieldLines([name, 'v'])).toThrow(TypeError));

test('lines that would be two are not written', () => {
  expect(() => requestLine('GET', '/a b')).toThrow(TypeError);
  expect(() => requestLine('GET', '/a\r\n')).toThrow(TypeError);
  expect(() => requestLine('GET', '')).toThrow(TypeError);
  expect(() => statusLine(200, 'a\r\nb')).toThrow(TypeError);
  expect(fieldLines(['a', '', 'B', 'c: d'])).toBe('a: \r\nB: c: d\r\n');
});

test('the parser is the one that was looked at', () => {
  const bytes: Uint8Array = createRequire(import.meta.url)('undici/lib/llhttp/llhttp_simd-wasm.js');
  expect(createHash('sha256').update(bytes).digest('hex')).toBe(
    '18403ee56fab07f89a845028bad358bb3ebcda213f8e2ec0989a991e9c33da69',
  );
});
