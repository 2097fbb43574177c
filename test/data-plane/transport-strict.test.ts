// RFC 9112 from the side of those who break it: every breach is refused, however the octets are cut, and nothing after it is read.
import { describe, expect, test } from 'vitest';
import { MessageParser, REQUEST, RESPONSE } from '../../data-plane/transport/llhttp.ts';

type Kind = typeof REQUEST | typeof RESPONSE;

/** Reads all messages in parts of a size; one line a message, then the code. */
function read(kind: Kind, octets: string, size: number): string {
  const said: string[] = [];
  const parser = new MessageParser(kind, 16_384, (status) => said.push(`(${status})`) > 0);
  let code = '';
  let body = '';
  for (let at = 0; at < octets.length && code === ''; at += size) {
    let part = Buffer.from(octets.slice(at, at + size), 'latin1');
    while (part.length > 0 && code === '') {
      code = parser.execute(part, 0, part.length)?.code ?? '';
      part = code === '' ? part.subarray(part.length - parser.rest) : Buffer.alloc(0);
      body += parser.body?.toString('latin1') ?? '';
      if (!parser.isComplete) continue;
      said.push(
        kind === REQUEST ? `${parser.method} ${parser.line} ${body}`.trimEnd() : `${parser.status} ${body}`.trimEnd(),
      );
      body = '';
      parser.next();
    }
  }
  parser.free();
  return [...said, code].filter((part) => part !== '').join(', ');
}

const inAllCuts = (kind: Kind, octets: string): string => {
  const whole = read(kind, octets, octets.length);
  for (const size of [1, 2, 3, 7, 50]) expect(read(kind, octets, size), `in parts of ${size}`).toBe(whole);
  return whole;
};

const post = (fields: string, body = ''): string => `POST / HTTP/1.1\r\nHost: h\r\n${fields}\r\n\r\n${body}`;
const chunked = (body: string): string => post('Transfer-Encoding: chunked', body);
const ok = (fields: string, body = ''): string =>
  `HTTP/1.1 200 OK\r\n${fields}${fields === '' ? '' : '\r\n'}\r\n${body}`;
const SECOND = 'GET /2 HTTP/1.1\r\nHost: h\r\n\r\n';

describe('a request line (RFC 9112 §3)', () => {
  test.each([
    ['a tab for a blank', 'GET\t/ HTTP/1.1\r\n\r\n', 'HPE_INVALID_METHOD'],
    ['a blank in the target', 'GET /a b HTTP/1.1\r\n\r\n', 'HPE_INVALID_CONSTANT'],
    ['a NUL in the target', 'GET /\0 HTTP/1.1\r\n\r\n', 'HPE_INVALID_URL'],
    ['a bare CR in the target', 'GET /\rx HTTP/1.1\r\n\r\n', 'HPE_'],
    ['letters outside ASCII in the target', 'GET /\xff HTTP/1.1\r\n\r\n', 'HPE_INVALID_URL'],
    ['a method in small letters', 'get / HTTP/1.1\r\n\r\n', 'HPE_INVALID_METHOD'],
    ['a method that is not known', 'GETT / HTTP/1.1\r\n\r\n', 'HPE_INVALID_METHOD'],
    ['a blank before the method', ' GET / HTTP/1.1\r\n\r\n', 'HPE_INVALID_METHOD'],
    ['a name in small letters', 'GET / http/1.1\r\n\r\n', 'HPE_INVALID_CONSTANT'],
    ['a version that is not known', 'GET / HTTP/1.2\r\n\r\n', 'HPE_INVALID_VERSION'],
    ['a version of three digits', 'GET / HTTP/1.10\r\n\r\n', 'HPE_INVALID_VERSION'],
    ['a blank behind the version', 'GET / HTTP/1.1 \r\n\r\n', 'HPE_INVALID_VERSION'],
    ['another protocol', 'GET / ICE/1.0\r\n\r\n', 'HPE_INVALID_CONSTANT'],
    ['the preface of HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'HPE_PAUSED_H2_UPGRADE'],
    ['a lone LF', 'GET / HTTP/1.1\nHost: h\n\n', 'HPE_'],
    ['a TLS greeting', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'HPE_INVALID_METHOD'],
  ])('with %s', (_name, octets, code) => expect(inAllCuts(REQUEST, octets)).toMatch(new RegExp(`^${code}`)));
});

describe('field lines (RFC 9112 §5)', () => {
  test.each([
    ['a blank before the colon', 'X : a'],
    ['a tab before the colon', 'X\t: a'],
    ['no colon', 'X'],
    ['no name', ': a'],
    ['a folded value', 'X: a\r\n b'],
    ['a folded value by a tab', 'X: a\r\n\tb'],
    ['a line that begins with a blank', ' X: a'],
    ['a NUL in the name', 'X\0: a'],
    ['a NUL in the value', 'X: a\0b'],
    ['a bare CR in the value', 'X: a\rb'],
    ['a bare LF in the value', 'X: a\nY: b'],
    ['a CR before the end', 'X: a\r\r\nY: b'],
    ['a control character', 'X: a\x01'],
    ['DEL', 'X: a\x7f'],
    ['a name outside ASCII', 'X\xe9: a'],
    ['a bracket in the name', 'X(y): a'],
  ])('with %s', (_name, line) => {
    expect(inAllCuts(REQUEST, `GET / HTTP/1.1\r\n${line}\r\n\r\n${SECOND}`)).toMatch(/^HPE_/);
    expect(inAllCuts(RESPONSE, `HTTP/1.1 200 OK\r\n${line}\r\nContent-Length: 0\r\n\r\n`)).toMatch(/^HPE_/);
  });
});

describe('where a body ends (RFC 9112 §6, §7)', () => {
  test.each([
    ['two lengths that differ', post('Content-Length: 1\r\nContent-Length: 2', 'ab')],
    ['two equal lengths', post('Content-Length: 1\r\nContent-Length: 1', 'a')],
    ['a list of lengths', post('Content-Length: 1, 1', 'a')],
    ['a signed length', post('Content-Length: +1', 'a')],
    ['a negative length', post('Content-Length: -1', 'a')],
    ['a hexadecimal length', post('Content-Length: 0x1', 'a')],
    ['an empty length', post('Content-Length:', 'a')],
    ['a length in two words', post('Content-Length: 1 1', 'a')],
    ['a length that flows over', post('Content-Length: 18446744073709551617', 'a')],
    ['a length and a coding', post('Content-Length: 1\r\nTransfer-Encoding: chunked', '0\r\n\r\n')],
    ['a coding and a length', post('Transfer-Encoding: chunked\r\nContent-Length: 1', '0\r\n\r\n')],
    ['a coding that is not chunked', post('Transfer-Encoding: identity', 'a')],
    ['chunked that is not last', post('Transfer-Encoding: chunked, gzip', '0\r\n\r\n')],
    ['chunked and another field', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: identity', '0\r\n\r\n')],
    ['nearly chunked', post('Transfer-Encoding: xchunked', '0\r\n\r\n')],
    ['a chunk with a sign', chunked('+1\r\na\r\n0\r\n\r\n')],
    ['a chunk size in C', chunked('0x1\r\na\r\n0\r\n\r\n')],
    ['no chunk size', chunked('\r\na\r\n0\r\n\r\n')],
    ['a blank before the size', chunked(' 1\r\na\r\n0\r\n\r\n')],
    ['a blank behind the size', chunked('1 \r\na\r\n0\r\n\r\n')],
    ['a chunk size that flows over', chunked('10000000000000001\r\na\r\n0\r\n\r\n')],
    ['a chunk that is longer', chunked('1\r\nab\r\n0\r\n\r\n')],
    ['a chunk that ends with LF', chunked('1\r\na\n0\r\n\r\n')],
    ['a size that ends with LF', chunked('1\na\r\n0\r\n\r\n')],
    ['an extension with a LF', chunked('1;a\na\r\n0\r\n\r\n')],
    ['an extension with a bare CR', chunked('1;a\rb\r\na\r\n0\r\n\r\n')],
    ['an extension with a NUL', chunked('1;\0\r\na\r\n0\r\n\r\n')],
    ['a trailer that is no field', chunked('0\r\nX\r\n\r\n')],
    ['a length in the trailers', chunked('0\r\nContent-Length: 5\r\n\r\n')],
  ])('%s', (_name, octets) => expect(inAllCuts(REQUEST, octets + SECOND)).toMatch(/^HPE_[A-Z_]+$/));
});

test.each([
  ['a coding behind another', post('Transfer-Encoding: gzip, chunked', '0\r\n\r\n'), 'POST /'],
  ['more than one blank in the first line', 'GET   /   HTTP/1.1\r\n\r\n', 'GET /'],
  ['an empty line before a request', `\r\n${SECOND}`, 'GET /2'],
  ['trailers and an extension', chunked('1;a="b"\r\nx\r\n00\r\nX: y\r\n\r\n') + SECOND, 'POST / x, GET /2'],
  ['a body of the length that is said', post('Content-Length: 003', 'abc') + SECOND, 'POST / abc, GET /2'],
  [
    'what follows a last request',
    `GET / HTTP/1.1\r\nConnection: close\r\n\r\n${SECOND}`,
    'GET /, HPE_CLOSED_CONNECTION',
  ],
  ['an offer to upgrade', `GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n${SECOND}`, 'GET /, GET /2'],
])('of requests: %s', (_name, octets, expected) => expect(inAllCuts(REQUEST, octets)).toBe(expected));

describe('answers', () => {
  test.each([
    ['no HTTP', 'HTTQ/1.1 200 OK\r\n\r\n', /^HPE_/],
    ['a version that is not known', 'HTTP/3.1 200 OK\r\n\r\n', /^HPE_INVALID_VERSION/],
    ['a status of two digits', 'HTTP/1.1 20 OK\r\n\r\n', /^HPE_INVALID_STATUS/],
    ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n', /^HPE_INVALID_STATUS/],
    ['a status of letters', 'HTTP/1.1 2x0 OK\r\n\r\n', /^HPE_INVALID_STATUS/],
    ['a lone LF', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n', /^HPE_/],
    ['two lengths', ok('Content-Length: 1\r\nContent-Length: 2', 'ab'), /^HPE_UNEXPECTED_CONTENT_LENGTH/],
    ['a length and a coding', ok('Content-Length: 1\r\nTransfer-Encoding: chunked', '0\r\n\r\n'), /^HPE_/],
    ['a coding and a length', ok('Transfer-Encoding: chunked\r\nContent-Length: 1', '0\r\n\r\n'), /^HPE_/],
    ['a negative length', ok('Content-Length: -1'), /^HPE_INVALID_CONTENT_LENGTH/],
    ['a chunk that is longer', ok('Transfer-Encoding: chunked', '1\r\nab\r\n0\r\n\r\n'), /^HPE_/],
    ['one after the other', ok('Content-Length: 1', 'a').repeat(2), /^200 a, 200 a$/],
    ['interim ones first', `HTTP/1.1 103 E\r\nLink: x\r\n\r\n${ok('Content-Length: 1', 'a')}`, /^\(103\), 200 a$/],
    [
      'an interim one that says it has a body',
      `HTTP/1.1 102 P\r\nContent-Length: 9\r\n\r\n${ok('Content-Length: 0')}`,
      /^\(102\), 200$/,
    ],
    ['204 with a length', `HTTP/1.1 204 N\r\nContent-Length: 5\r\n\r\n${ok('Content-Length: 0')}`, /^204, 200$/],
    [
      '304 with a coding',
      `HTTP/1.1 304 N\r\nTransfer-Encoding: chunked\r\n\r\n${ok('Content-Length: 0')}`,
      /^304, 200$/,
    ],
    ['garbage behind one', `${ok('Content-Length: 0')}garbage`, /^200, HPE_/],
  ])('%s', (_name, octets, expected) => expect(inAllCuts(RESPONSE, octets)).toMatch(expected));
});
