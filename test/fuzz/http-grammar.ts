// Makes requests of HTTP/1.1 that follow its grammar, but for a few breaches of it.
import { mutateText, type Random, type Words } from './mutator.ts';

/** Characters of an input, at most. */
export const MANY = 70_000;
const METHODS = [
  'POST',
  'GET',
  'HEAD',
  'OPTIONS',
  'PUT',
  'DELETE',
  'QUERY',
  'PATCH',
  'M-SEARCH',
  'SOURCE',
  'PRI',
  'CONNECT',
];
const ODD_METHODS = ['get', 'GETX', 'G\tT', '', 'GET\x00', ' GET', 'TRACE', 'FOO', 'POST\r\n'];
const TARGETS = [
  '/',
  '/a?b=c',
  '*',
  'http://h/x',
  'h:80',
  '//',
  '/%00',
  '/a#b',
  '?',
  '/\xe9',
  '/a b',
  '/\x00',
  '',
  '/\x7f',
  'a',
];
const VERSIONS = ['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0'];
const ODD_VERSIONS = [
  'HTTP/2.0',
  'HTTP/0.9',
  'HTTP/1.2',
  'http/1.1',
  'HTTP/1.1 ',
  '',
  'RTSP/1.0',
  'ICE/1.0',
  'HTTP/11',
  'HTTP/1,1',
];
const ENDS = ['\n', '\r', '\r\r\n', '\n\r', '\r\n ', '\r\n\t', '', ' \r\n', '\x0b\r\n', '\x00\r\n'];
const FIELDS = [
  ...[
    'Host: h',
    'Connection: close',
    'Connection: keep-alive',
    'Connection: Upgrade\r\nUpgrade: h2c',
    'X: a',
    'X:',
    'X: \t',
  ],
  ...[
    'Expect: 100-continue',
    'Expect: x',
    'Connection: keep-alive, close',
    'connection:  close \t',
    'Upgrade: websocket',
  ],
  ...['Connection: close\t, x', 'Connection: x,close', 'Proxy-Connection: close', 'Connection: closed', 'Trailer: X'],
];
const ODD_FIELDS = [
  ...[
    'X : a',
    ' X: a',
    'X',
    ': a',
    'X: a\r\n b',
    'X: a\x00b',
    'X: a\rb',
    'X: a\nb',
    'X\x00: a',
    'X\xe9: a',
    'X: \x7f',
    'X: \x01',
  ],
  ...[
    'X: \xff',
    'X(: a',
    'X\t: a',
    'X: a\r\n\tb: c',
    'X:\r\n a',
    '\x00',
    'X: a\x0b',
    'X[]: a',
    '"X": a',
    'X;: a',
    'X:a\r',
  ],
];
const LENGTHS = [
  ...[
    'Content-Length: -1',
    'Content-Length: +3',
    'Content-Length: 0x3',
    'Content-Length: 3, 3',
    'Content-Length:',
    'Content-Length: 3 3',
  ],
  ...[
    'Content-Length: 18446744073709551617',
    'Content-Length: 99999999999999999999',
    'Content-Length: 3\t',
    'content-length: 03',
  ],
  ...[
    'Content-Length : 3',
    'Content-Length: 3\r\nContent-Length: 3',
    'Content-Length: 3\r\nContent-Length: 4',
    'Content-Length:\t3',
  ],
  ...[
    'Content-Length: 3\x00',
    'Content-Length: 3\x0b',
    'Content\x00-Length: 3',
    'Content_Length: 3',
    'Content-Length: "3"',
    'Content-Length: 3.0',
  ],
  ...['Content-Length: 3\r\n ', 'Content-Length: \r\n 3', 'Content-Length: 1e1', 'Content-Length: \xb2'],
];
const CODINGS = [
  ...[
    'Transfer-Encoding: Chunked',
    'Transfer-Encoding: chunked ',
    'transfer-encoding:\tchunked',
    'Transfer-Encoding: gzip, chunked',
  ],
  ...[
    'Transfer-Encoding: chunked, gzip',
    'Transfer-Encoding: chunked, chunked',
    'Transfer-Encoding: identity',
    'Transfer-Encoding:',
  ],
  ...[
    'Transfer-Encoding: xchunked',
    'Transfer-Encoding: chunkedx',
    'Transfer-Encoding : chunked',
    'Transfer-Encoding:\x0bchunked',
  ],
  ...[
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
    'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked',
  ],
  ...[
    'Transfer-Encoding: chunked\r\nContent-Length: 3',
    'Content-Length: 3\r\nTransfer-Encoding: chunked',
    'TE: chunked',
  ],
  ...[
    'Transfer-Encoding: "chunked"',
    'Transfer-Encoding: chunked;q=1',
    'Transfer-Encoding: \r\n chunked',
    'Transfer-Encoding: chunked\x00',
  ],
  ...[
    'Transfer-Encoding: ,chunked',
    'Transfer-Encoding: chunked,',
    'Transfer_Encoding: chunked',
    'Transfer-Encoding: c hunked',
  ],
];
const SIZES = [
  ...[
    '3',
    '03',
    '0003',
    '3 ',
    ' 3',
    '0x3',
    '-3',
    '+3',
    '3;',
    '3;a',
    '3;a=b',
    '3;a="b\\"c"',
    '3;a="b',
    '3 ;a',
    '3;\r',
    '3;a\x00',
    '',
    'g',
  ],
  ...[
    '3,',
    '3\t',
    '3;a=b;c=d',
    '3;=b',
    '10000000000000003',
    'fffffffffffffffff',
    '3;a="\r\n',
    '3;\n',
    '3\n',
    '3\r',
    '2',
    '4',
    '3;é',
  ],
];

/** One request by the grammar, with few or many breaches of it. */
function request(random: Random): string {
  const odd = (times: number): boolean => random.onceIn(times);
  const end = (): string => (odd(60) ? random.pick(ENDS) : '\r\n');
  const line = [
    odd(25) ? random.pick(ODD_METHODS) : random.pick(METHODS.slice(0, odd(4) ? METHODS.length : 3)),
    odd(3) ? random.pick(TARGETS) : '/',
    odd(25) ? random.pick(ODD_VERSIONS) : random.pick(VERSIONS),
  ].join(odd(60) ? random.pick(['  ', '\t', '', '\x0b', '\r']) : ' ');
  const body = 'abc';
  const fields = Array.from({ length: random.int(4) }, () => random.pick(odd(12) ? ODD_FIELDS : FIELDS));
  const kind = random.int(5);
  if (kind === 1) fields.push(odd(3) ? random.pick(LENGTHS) : 'Content-Length: 3');
  if (kind >= 2 && kind < 4) fields.push(odd(3) ? random.pick(CODINGS) : 'Transfer-Encoding: chunked');
  if (odd(15)) fields.push(random.pick(odd(2) ? LENGTHS : CODINGS));
  const head = `${odd(20) ? random.pick(['\r\n', '\n', '\r', ' ', '\r\n\r\n']) : ''}${line}${end()}${fields.map((field) => field + end()).join('')}${end()}`;
  if (kind === 1) return head + body.slice(0, odd(8) ? random.int(4) : 3) + (odd(10) ? 'x' : '');
  return kind >= 2 && kind < 4 ? head + chunks(random, end) : head;
}

function chunks(random: Random, end: () => string): string {
  let text = '';
  for (let left = random.int(4); left > 0; left -= 1) {
    const size = random.onceIn(6) ? random.pick(SIZES) : '3';
    text += `${size}${end()}abc${end()}`;
  }
  const trailers = random.onceIn(4) ? `${random.pick([...FIELDS, ...ODD_FIELDS, ...LENGTHS, ...CODINGS])}${end()}` : '';
  return `${text}${random.onceIn(12) ? random.pick(['00', '0;a', '0 ', '', '000000000000000000', '-0']) : '0'}${end()}${trailers}${end()}`;
}

/** Up to four requests on one connection; now and then a piece of one that is repeated beyond the limits. */
export function requests(random: Random, _text: string, words: Words): string {
  let text = Array.from({ length: 1 + random.int(3) }, () => request(random)).join('');
  if (random.onceIn(150)) {
    const at = random.int(text.length);
    const piece = random.pick([' ', 'a', '\r\n', 'X: a\r\n', ';a', text.charAt(at)]);
    text =
      text.slice(0, at) + piece.repeat(random.pick([8_000, 17_000, 34_000, 60_000]) / piece.length) + text.slice(at);
  }
  return random.onceIn(4) ? mutateText(random, text, words) : text.slice(0, MANY);
}
