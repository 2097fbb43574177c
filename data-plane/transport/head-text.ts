// Heads as text: written in one piece, and refused if anything of them could end a line.
import { STATUS_CODES } from 'node:http';

/** Field lines in latin1, each ended. Throws where a name or a value cannot stand in a head (RFC 9110 §5). */
export function fieldLines(fields: readonly string[]): string {
  let text = '';
  for (let at = 0; at + 1 < fields.length; at += 2) text += `${fields[at]}: ${fields[at + 1]}\r\n`;
  // As many lines as fields: a value that has a whole line of its own in it is no value.
  if (!LINES.test(text) || 2 * lineCount(text) !== fields.length)
    throw new TypeError('a header field cannot be written');
  return text;
}

function lineCount(text: string): number {
  let lines = 0;
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines += 1;
  return lines;
}

const LINES = /^(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+: [\t\x20-\x7e\x80-\xff]*\r\n)*$/;

/** The first line of an answer. Throws for a reason that cannot stand there. */
export function statusLine(status: number, reason: string): string {
  if (reason !== '' && !/^[\t\x20-\x7e\x80-\xff]*$/.test(reason)) throw new TypeError('a reason cannot be written');
  return `HTTP/1.1 ${status} ${reason === '' ? (STATUS_CODES[status] ?? 'unknown') : reason}\r\n`;
}

/** The first line of a request. Throws for a target that has a blank or a control character in it. */
export function requestLine(method: string, target: string): string {
  if (!/^[\x21-\x7e\x80-\xff]+$/.test(target) || !/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(method))
    throw new TypeError('a request line cannot be written');
  return `${method} ${target} HTTP/1.1\r\n`;
}
