// Finds what makes a path readable in two ways: by a proxy one way, by the server behind it another.

/** Where and why; `index` counts characters from 0. */
export type Ambiguity = { readonly index: number; readonly reason: string };

/**
 * The first ambiguity of a raw path (no query), if there is one. A path without any holds only the characters that
 * RFC 3986 §3.3 lets stand in one, no empty inner segment, no dot segment under any decoding, and percent-encoding
 * only of what needs it. `encodedSlashes` lets `%2F` stand inside a segment.
 */
export const findAmbiguity = (path: string, encodedSlashes: boolean): Ambiguity | undefined => {
  if (path[0] !== '/') return { index: 0, reason: 'no slash at its start' };
  for (let start = 1; ; ) {
    const slash = path.indexOf('/', start);
    const end = slash < 0 ? path.length : slash;
    if (end === start && slash >= 0) return { index: start, reason: 'an empty segment' };
    const problem = segmentProblem(path.slice(start, end), encodedSlashes);
    if (problem !== undefined) return { index: start + problem.index, reason: problem.reason };
    if (slash < 0) return undefined;
    start = end + 1;
  }
};

const RAW_OK = new Uint8Array(128);
for (const character of "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@%") {
  RAW_OK[character.charCodeAt(0)] = 1;
}

const segmentProblem = (segment: string, encodedSlashes: boolean): Ambiguity | undefined => {
  for (let index = 0; index < segment.length; index += 1) {
    if (RAW_OK[segment.charCodeAt(index)] !== 1) return { index, reason: nameOf(segment.charCodeAt(index)) };
  }
  if (segment.includes('%')) return encodedProblem(segment, encodedSlashes);
  return isDots(segment) ? { index: 0, reason: 'a dot segment' } : undefined;
};

const nameOf = (code: number): string => {
  if (code <= 0x20 || code === 0x7f) return 'a space or control character';
  if (code > 0x7f) return 'a character that is not ASCII';
  return `the character ${String.fromCharCode(code)}`;
};

const encodedProblem = (segment: string, encodedSlashes: boolean): Ambiguity | undefined => {
  const bytes: number[] = [];
  for (let index = 0; index < segment.length; index += 1) {
    if (segment[index] !== '%') {
      bytes.push(segment.charCodeAt(index));
      continue;
    }
    const reason = tripletProblem(segment, index, encodedSlashes);
    if (reason !== undefined) return { index, reason };
    bytes.push(Number.parseInt(segment.slice(index + 1, index + 3), 16));
    index += 2;
  }
  const reason = decodedProblem(bytes);
  return reason === undefined ? undefined : { index: 0, reason };
};

const TRIPLET = /^%[0-9A-Fa-f]{2}/;
const UNRESERVED = /^[A-Za-z0-9._~-]$/;
// What would be an encoded character once `%25` were decoded: `%2e`, or the `%u002e` of old servers.
const ENCODED_AGAIN = /^%25(?:[0-9A-Fa-f]{2}|[uU][0-9A-Fa-f]{4})/;

const tripletProblem = (segment: string, index: number, encodedSlashes: boolean): string | undefined => {
  const text = segment.slice(index, index + 8);
  if (!TRIPLET.test(text)) return 'bad percent-encoding';
  const code = Number.parseInt(text.slice(1, 3), 16);
  const character = String.fromCharCode(code);
  if (code < 0x20 || code === 0x7f) return 'an encoded control character';
  if (character === '/') return encodedSlashes ? undefined : 'an encoded slash';
  if (character === '\\') return 'an encoded backslash';
  if (character === ';') return 'an encoded semicolon';
  if (UNRESERVED.test(character)) return 'an encoded character that needs no encoding';
  return ENCODED_AGAIN.test(text) ? 'double encoding' : undefined;
};

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const ASCII = /[\u0000-\u007f]+/g;
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}]/u;
// Fraction slash, division slash, set minus, reverse solidus operator, big solidus, big reverse solidus.
const LOOKS_LIKE_SLASH = /[\u2044\u2215\u2216\u29f5\u29f8\u29f9]/;
const HAS_MEANING = /[./\\;%]/;
// U+FEFF is no white space to Unicode, but JavaScript trims it.
const SPACE_AT_END = /[\p{White_Space}\ufeff]$/u;

const decodedProblem = (bytes: readonly number[]): string | undefined => {
  const text = decodeUtf8(bytes);
  if (text === undefined) return 'an encoded sequence that is not UTF-8';
  const beyondAscii = text.replaceAll(ASCII, '');
  if (CONTROL.test(beyondAscii)) return 'an encoded control character';
  if (LOOKS_LIKE_SLASH.test(beyondAscii) || HAS_MEANING.test(beyondAscii.normalize('NFKC'))) {
    return 'an encoded character that can be taken for a dot, slash, semicolon or percent sign';
  }
  // Only an encoded slash that is let through makes more than one part here.
  const parts = text.split('/');
  if (parts.some((part) => SPACE_AT_END.test(part))) return 'an encoded space at the end of a segment';
  if (parts.length > 1 && parts.includes('')) return 'an empty segment between encoded slashes';
  return parts.some(isDots) ? 'a dot segment' : undefined;
};

const decodeUtf8 = (bytes: readonly number[]): string | undefined => {
  try {
    return UTF8.decode(Uint8Array.from(bytes));
  } catch {
    return undefined;
  }
};

// What lenient servers drop or trim: white space, a plus read as a space, characters that are not seen.
const DROPPED = /[\p{White_Space}\p{Default_Ignorable_Code_Point}+]+/gu;

const isDots = (segment: string): boolean => {
  if (!segment.includes('.')) return false;
  const kept = segment.replaceAll(DROPPED, '');
  return kept === '.' || kept === '..';
};
