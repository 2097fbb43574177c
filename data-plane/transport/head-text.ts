// Heads as text: written in one piece, and refused if anything of them could end a line.
import { STATUS_CODES } from 'node:http';

declare const checked: unique symbol;

/** Field lines that can stand in a head, in latin1, each ended. Only this file makes them. */
export type FieldLines = string & { readonly [checked]: true };

/** Field lines of names and values by turns. Throws where one of them cannot stand in a head (RFC 9110 §5). */
export function fieldLines(fields: readonly string[]): FieldLines {
  let text = '';
  for (let at = 0; at + 1 < fields.length; at += 2) text += `${fields[at]}: ${fields[at + 1]}\r\n`;
  // As many lines as fields: a value that has a whole line of its own in it is no value.
  if (!LINES.test(text) || 2 * lineCount(text) !== fields.length)
    throw new TypeError('a header field cannot be written');
  return text as FieldLines;
}

function lineCount(text: string): number {
  let lines = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines += 1;
  return lines;
}

const LINES = /^(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*$/;

/** The fields of an answer, and what of them its framing depends on. */
export type AnswerFields = {
  readonly lines: FieldLines;
  readonly hasLength: boolean;
  readonly hasDate: boolean;
  readonly saysClose: boolean;
};

/** The fields of an answer, of names (in any case) and values by turns. Throws as `fieldLines`. */
export function answerFields(fields: readonly string[]): AnswerFields {
  let hasLength = false;
  let hasDate = false;
  let saysClose = false;
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const name = fields[at] ?? '';
    // By length first: of all names only these few are of interest.
    if (name.length === 14 && name.toLowerCase() === 'content-length') hasLength = true;
    else if (name.length === 4 && name.toLowerCase() === 'date') hasDate = true;
    else if (name.length === 10 && name.toLowerCase() === 'connection' && fields[at + 1] === 'close') saysClose = true;
  }
  return { lines: fieldLines(fields), hasLength, hasDate, saysClose };
}

declare const forwarded: unique symbol;

/** Field lines of a request without those that the transport writes by itself. Only this file makes them. */
export type RequestLines = FieldLines & { readonly [forwarded]: true };

/** The same of lower-case names and values by turns. Throws where one is the transport's own, or as `fieldLines`. */
export function requestLines(fields: readonly string[]): RequestLines {
  for (let at = 0; at < fields.length; at += 2)
    if (OWN.has(fields[at] ?? '')) throw new TypeError('a field of the transport stands among those of a request');
  return fieldLines(fields) as RequestLines;
}

/** Lines behind each other. */
export const joinLines = (first: RequestLines, second: RequestLines): RequestLines => (first + second) as RequestLines;

const OWN = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'keep-alive',
  'upgrade',
  'expect',
  'te',
  'trailer',
]);

/** The first line of an answer. Throws for a reason that cannot stand there. */
export function statusLine(status: number, reason: string): string {
  const usual = STATUS_CODES[status] ?? 'unknown';
  if (reason !== '' && reason !== usual && !/^[\t\x20-\x7e\x80-\xff]*$/.test(reason))
    throw new TypeError('a reason cannot be written');
  return `HTTP/1.1 ${status} ${reason === '' ? usual : reason}\r\n`;
}

/** The first line of a request. Throws for a target that has a blank or a control character in it. */
export function requestLine(method: string, target: string): string {
  if (!/^[\x21-\x7e\x80-\xff]+$/.test(target) || !/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(method))
    throw new TypeError('a request line cannot be written');
  return `${method} ${target} HTTP/1.1\r\n`;
}
