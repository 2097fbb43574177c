// The same answers to the client of node:http and to the pool: the pool never takes what node:http does not.
import { request as httpRequest } from 'node:http';
import type { Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createRandom, mutateText, type Random, type Words } from '../fuzz/mutator.ts';
import { dispatch, poolTo, startUpstream } from './transport-fixture.ts';

/** What became of an answer. */
type Told = {
  status: number;
  fields: readonly string[];
  body: string;
  interims: number[];
  end: 'none' | 'whole' | 'failed';
  error: unknown;
};

const STATUSES = [
  '200 OK',
  '200 OK',
  '200',
  '204 No Content',
  '304 Not Modified',
  '103 Early',
  '100 Continue',
  '101 X',
  '404 ',
];
const ODD_STATUSES = [
  '20 OK',
  '2000 OK',
  '2x0 OK',
  '999 X',
  '000 X',
  '200\tOK',
  '200 O\x00K',
  '200 \xff',
  '',
  '199 X',
  '200 OK\r',
];
const FIELDS = [
  ...[
    'Content-Length: 3',
    'Content-Length: 3',
    'Transfer-Encoding: chunked',
    'Transfer-Encoding: chunked',
    'X: a',
    'Connection: close',
  ],
  ...['Connection: keep-alive', 'Keep-Alive: timeout=5', 'X:', 'Set-Cookie: a=b'],
];
const ODD_FIELDS = [
  ...[
    'Content-Length: 4',
    'Content-Length: 03',
    'Content-Length: -3',
    'Content-Length: 3, 3',
    'Content-Length:',
    'X : a',
    ' X: a',
    'X: a\r\n b',
  ],
  ...[
    'X: a\x00b',
    'X: a\rb',
    'X: a\nb',
    'X',
    ': a',
    'Transfer-Encoding: gzip',
    'Transfer-Encoding: gzip, chunked',
    'Transfer-Encoding:',
  ],
  ...[
    'Transfer-Encoding: chunked, gzip',
    'Transfer-Encoding: identity',
    'Content-Length: 3\r\nContent-Length: 3',
    'X: \xff',
    'Upgrade: x',
  ],
];
const BODIES = [
  'abc',
  '3\r\nabc\r\n0\r\n\r\n',
  '3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n',
  'ab',
  '3\r\nabc\r\n',
  '',
  '3\nabc\n0\n\n',
  '3 \r\nabc\r\n0\r\n\r\n',
];
const WORDS: Words = {
  dictionary: [
    '\r\n',
    '\n',
    '\r',
    '\x00',
    ' ',
    ':',
    '0\r\n\r\n',
    '3\r\nabc\r\n',
    'Content-Length: 3\r\n',
    'HTTP/1.1 200 OK\r\n',
  ],
  pool: [
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
  ],
  maxCode: 0xff,
  maxLength: 20_000,
};

function make(random: Random): string {
  const end = (): string => (random.onceIn(60) ? random.pick(['\n', '\r', '\r\r\n', '\n\r', ' \r\n']) : '\r\n');
  const one = (): string => {
    const version = random.onceIn(30) ? random.pick(['HTTP/1.0', 'HTTP/2.0', 'HTTQ/1.1', 'http/1.1']) : 'HTTP/1.1';
    const status = random.pick(random.onceIn(15) ? ODD_STATUSES : STATUSES);
    const fields = Array.from(
      { length: random.int(4) },
      () => random.pick(random.onceIn(8) ? ODD_FIELDS : FIELDS) + end(),
    );
    return `${version} ${status}${end()}${fields.join('')}${end()}${random.pick(BODIES)}`;
  };
  const octets = random.onceIn(5) ? one() + one() : one();
  return random.onceIn(5) ? mutateText(random, octets, WORDS) : octets;
}

/** Octets that an upstream answers with, in the pieces that it is to send. */
type Script = { readonly pieces: readonly string[]; readonly ends: boolean; readonly method: string };

async function speak(socket: Socket, { pieces, ends }: Script): Promise<void> {
  for (const piece of pieces) {
    socket.write(piece, 'latin1');
    await turn();
    await turn();
  }
  if (ends) socket.end();
}

function askHttp(port: number, method: string): Told {
  const told: Told = { status: 0, fields: [], body: '', interims: [], end: 'none', error: undefined };
  const fail = (error?: unknown): void => {
    told.error ??= error;
    if (told.end === 'none') told.end = 'failed';
  };
  const client = httpRequest({ port, host: '127.0.0.1', method, agent: false, insecureHTTPParser: false });
  client.on('information', ({ statusCode }) => told.interims.push(statusCode));
  client.on('upgrade', (_answer, socket) => {
    fail();
    socket.destroy();
  });
  client.on('response', (answer) => {
    Object.assign(told, { status: answer.statusCode, fields: [...answer.rawHeaders] });
    answer.on('data', (part: Buffer) => {
      told.body += part.toString('latin1');
    });
    answer.on('end', () => {
      if (told.end === 'none') told.end = answer.complete ? 'whole' : 'failed';
    });
    answer.on('error', fail);
  });
  client.on('error', fail);
  client.on('close', () => fail());
  client.end();
  return told;
}

/** Where the pool refuses what node:http takes; in each the code is llhttp's or the transport's own. */
const STRICTER: readonly (readonly [string, RegExp])[] = [
  ['100 and 101 were not asked for', /^(?:HPE_USER|HPE_UNEXPECTED_INTERIM)/],
  ['a length is followed by no tab', /^HPE_INVALID_CONTENT_LENGTH [\s\S]*\t/],
  ['a status below 100 is an interim one, without a body', /^HPE_INVALID_CONSTANT [\s\S]*HTTP\/1\.[01] 0/],
];
/** Where it takes what node:http refuses: the answer is the upstream's own, and what leaves is written anew. */
const LAXER: readonly (readonly [string, RegExp])[] = [
  ['CR for the LF of a status line', /^HTTP\/1\.[01] [^\n]*\r\r/],
  // `respond.ts` refuses a coding that is not `chunked`.
  ['a coding without a name', /transfer-encoding:[\t ]*\r\n/i],
];

test('two thousand answers, good ones and broken ones, cut anywhere', async () => {
  const random = createRandom(4);
  const scripts = new Map<Socket, Script>();
  let script: Script = { pieces: [], ends: false, method: 'GET' };
  let spoken: Promise<void>[] = [];
  using upstream = await startUpstream((socket) => {
    if (scripts.has(socket)) return;
    scripts.set(socket, script);
    spoken.push(speak(socket, script));
  });
  const seen = { whole: 0, failed: 0, none: 0, stricter: 0, laxer: 0 };
  const finds: string[] = [];
  for (let left = 2_000; left > 0; left -= 1) {
    const octets = make(random);
    const cuts = Array.from({ length: random.int(3) }, () => random.int(octets.length + 1)).sort((a, b) => a - b);
    const pieces = [0, ...cuts].map((from, nth) => octets.slice(from, cuts[nth] ?? octets.length));
    script = {
      pieces: pieces.filter((piece) => piece !== ''),
      ends: random.onceIn(2),
      method: random.onceIn(6) ? 'HEAD' : 'GET',
    };
    spoken = [];
    scripts.clear();
    const pool = poolTo(upstream.port);
    const theirs = askHttp(upstream.port, script.method);
    const ours = dispatch(pool, { method: script.method });
    while (spoken.length < 2) await turn();
    await Promise.all(spoken);
    // Both have read what came when nothing has changed for some turns.
    for (let quiet = 0, before = ''; quiet < 8; ) {
      await turn();
      const now = `${ours.end}${theirs.end}${ours.body.length}${theirs.body.length}${ours.status}${theirs.status}`;
      quiet = now === before && (!script.ends || (ours.end !== 'none' && theirs.end !== 'none')) ? quiet + 1 : 0;
      before = now;
    }
    pool[Symbol.dispose]();
    for (const socket of upstream.sockets) socket.destroy();
    seen[ours.end] += 1;
    const what = differenceOf(ours, theirs);
    if (what === '') continue;
    const list = what === 'stricter' ? STRICTER : LAXER;
    const told = what === 'stricter' ? `${codeOf(ours.error)} ${octets}` : octets;
    if (list.some(([, form]) => form.test(told))) seen[what] += 1;
    else
      finds.push(
        `${what} ${JSON.stringify(octets)} ${[ours, theirs].map(({ status, end, body, error }) => `${status} ${end} ${body} ${codeOf(error)}`).join(' / ')}`,
      );
  }
  expect(finds).toEqual([]);
  expect(seen.whole).toBeGreaterThan(200);
  expect(seen.failed).toBeGreaterThan(200);
}, 60_000);

const codeOf = (error: unknown): string => String(Reflect.get(Object(error), 'code'));

// What stands behind a whole answer breaks it for node:http; the pool does not look at it, and ends the connection.
function differenceOf(ours: Told, theirs: Told): '' | 'stricter' | 'laxer' {
  if (ours.end === 'whole') {
    const isSame =
      (theirs.end === 'whole' || codeOf(theirs.error).startsWith('HPE_')) &&
      ours.status === theirs.status &&
      ours.body === theirs.body &&
      JSON.stringify(ours.fields) === JSON.stringify(theirs.fields) &&
      JSON.stringify(ours.interims) === JSON.stringify(theirs.interims);
    return isSame ? '' : 'laxer';
  }
  return ours.end === 'failed' && theirs.end !== 'failed' ? 'stricter' : '';
}
