// `node test/data-plane/llhttp-suite.ts DIR`: llhttp's own strict cases, out of a checkout of it, against the wrapper around it.
import { readdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { MessageParser, REQUEST, RESPONSE } from '../../data-plane/transport/llhttp.ts';

type Message = { readonly line: string; readonly fields: readonly string[]; body: string; isComplete: boolean };
type Read = { readonly messages: readonly Message[]; readonly code: string };
type Case = { readonly at: string; readonly type: string; readonly octets: string; readonly expected: Read };

const HEAD_BYTES_MAX = 64 * 1024;
/** That the parser paused, which the wrapper goes on from by itself. */
const PAUSES = /^HPE_PAUSED(?:_UPGRADE)?$/;
const TYPES = /^(?:request|response)(?:-finish)?$/;
const ERRORS = new Map(
  Object.entries<number>(createRequire(import.meta.url)('undici/lib/llhttp/constants.js').ERROR).map(
    ([name, code]) => [code, `HPE_${name}`] as const,
  ),
);

/** Reads octets in parts of a size, as many messages as there are. */
function read(type: string, octets: string, size: number): Read {
  const messages: Message[] = [];
  const parser = new MessageParser(type.startsWith('request') ? REQUEST : RESPONSE, HEAD_BYTES_MAX, (status) => {
    messages.push({ line: String(status), fields: [], body: '', isComplete: true });
    return true;
  });
  let under: Message | undefined;
  const take = (): void => {
    if (!parser.hasHead) return;
    if (under === undefined) {
      const line = type.startsWith('request') ? `${parser.method} ${parser.line}` : String(parser.status);
      under = { line, fields: [...parser.fields], body: '', isComplete: false };
      messages.push(under);
    }
    under.body += parser.body?.toString('latin1') ?? '';
    if (!parser.isComplete) return;
    under.isComplete = true;
    under = undefined;
    parser.next();
  };
  let code = '';
  for (let at = 0; at < octets.length && code === ''; at += size) {
    let part = Buffer.from(octets.slice(at, at + size), 'latin1');
    while (part.length > 0 && code === '') {
      code = parser.execute(part, 0, part.length)?.code ?? '';
      part = parser.rest > 0 && code === '' ? part.subarray(part.length - parser.rest) : Buffer.alloc(0);
      take();
    }
  }
  // Between two messages nobody asks the parser.
  if (code === '' && type.endsWith('-finish') && !parser.isIdle && parser.finish() === undefined) {
    take();
  }
  parser.free();
  return { messages, code };
}

/** What the log of a case says. */
function expectedOf(log: string, isRequest: boolean): Read {
  const messages: Message[] = [];
  let code = '';
  let method = '';
  let url = '';
  let fields: string[] = [];
  let hasHead = false;
  let isNew = true;
  for (const entry of log.split('\n')) {
    const [, span = '', text = ''] = /span\[(\w+)\]="(.*)"$/.exec(entry) ?? [];
    const last = messages.at(-1);
    if (/ message begin$/.test(entry)) [method, url, fields, hasHead, isNew] = ['', '', [], false, true];
    else if (span === 'method') method += text;
    else if (span === 'url') url += text;
    else if ((span === 'header_field' || span === 'header_value') && !hasHead) {
      const isValue = span === 'header_value';
      if (fields.length % 2 === (isValue ? 1 : 0) && isNew) fields.push(text);
      else if (fields.length > 0) fields[fields.length - 1] += text;
      isNew = false;
    } else if (/header_(?:field|value) complete$/.test(entry)) {
      if (/value complete$/.test(entry) && fields.length % 2 === 1 && !hasHead) fields.push('');
      isNew = true;
    } else if (/span\[body\]=(?:cr|lf)$/.test(entry) && last !== undefined)
      last.body += entry.endsWith('cr') ? '\r' : '\n';
    else if (span === 'body' && last !== undefined) last.body += text;
    else if (/ headers complete /.test(entry)) {
      hasHead = true;
      const status = /status=(\d+)/.exec(entry)?.[1] ?? '';
      const isInterim = !isRequest && Number(status) < 200;
      const line = isRequest ? `${method} ${url}` : status;
      messages.push({
        line,
        fields: isInterim ? [] : fields.map((part) => part.trimEnd()),
        body: '',
        isComplete: isInterim,
      });
    } else if (/ message complete$/.test(entry) && last !== undefined) last.isComplete = true;
    const number = /error code=(\d+)/.exec(entry)?.[1];
    if (number !== undefined) code = ERRORS.get(Number(number)) ?? number;
  }
  return { messages, code };
}

/** The cases of a file, with the escapes of their inputs undone as llhttp's own runner does it. */
function casesOf(file: string, text: string): readonly Case[] {
  const found = text.matchAll(
    /<!-- meta=(\{.*?\}) -->\s*```http\n((?:(?!```)[\s\S])*)```(?:(?!```)[\s\S])*```log\n((?:(?!```)[\s\S])*)```/g,
  );
  return [...found].flatMap(([, meta = '{}', input = '', log = ''], nth) => {
    const { type, skip, pause, skipBody } = JSON.parse(meta) as Record<string, unknown>;
    if (typeof type !== 'string' || !TYPES.test(type) || skip === true || pause !== undefined || skipBody === true)
      return [];
    const octets = input
      .replace(/\n$/, '')
      .replaceAll(/\\\n/g, '')
      .replaceAll('\n', '\r\n')
      .replaceAll('\\r', '\r')
      .replaceAll('\\n', '\n')
      .replaceAll('\\t', '\t')
      .replaceAll('\\f', '\f')
      .replaceAll(/\\x([0-9a-fA-F]+)/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
      .replaceAll(/\\([0-7]{1,3})/g, (_all, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
    if (octets.includes('${')) return [];
    const expected = expectedOf(log.replaceAll('\\t', '\t').replaceAll('\\f', '\f'), type.startsWith('request'));
    return [{ at: `${file} ${nth + 1}`, type, octets, expected }];
  });
}

/** Empty when the wrapper read what the log says. */
function differenceOf({ type, octets, expected }: Case, size: number): string {
  const got = read(type, octets, size);
  // What came of a body in the same piece as a breach is not handed on, and the end is told only with `finish`.
  if (expected.code !== '' || type.endsWith('-finish'))
    for (const message of [got.messages.at(-1), expected.messages.at(-1)])
      if (message !== undefined) Object.assign(message, { body: '', isComplete: false });
  const code = PAUSES.test(expected.code) ? '' : expected.code;
  const messages = PAUSES.test(expected.code) ? got.messages.slice(0, expected.messages.length) : got.messages;
  const isSame =
    (PAUSES.test(expected.code) || got.code === code) && JSON.stringify(messages) === JSON.stringify(expected.messages);
  return isSame
    ? ''
    : `${JSON.stringify(octets)}\n  expected ${JSON.stringify(expected)}\n  got      ${JSON.stringify(got)}`;
}

const folder = process.argv[2];
if (folder === undefined) throw new Error('Say where a checkout of llhttp is');
let count = 0;
let failed = 0;
for (const kind of ['request', 'response'])
  for (const file of await readdir(join(folder, 'test', kind)))
    for (const one of casesOf(`${kind}/${file}`, await readFile(join(folder, 'test', kind, file), 'utf8'))) {
      count += 1;
      const differences = [differenceOf(one, Number.MAX_SAFE_INTEGER), differenceOf(one, 1)];
      const difference = differences.find((text) => text !== '');
      if (difference === undefined) continue;
      failed += 1;
      console.log(`${one.at} (${one.type}${differences[0] === '' ? ', letter by letter' : ''}): ${difference}`);
    }
console.log(`${count} cases, ${failed} read differently`);
if (failed > 0) process.exitCode = 1;
