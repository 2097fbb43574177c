// Carries a Python pattern over to RE2, so that matching it whole can only allow less than before.
import { compilePattern } from '@daypass/core/pattern';

/**
 * The pattern in RE2, or why it cannot be carried over. Only what both dialects read in the same way passes: a construct
 * that one of them refuses, or reads otherwise, might allow what was never allowed. The old proxy matched the decoded
 * path and Daypass matches the path as sent, so the result matches a percent sign only in whole segments that may be
 * anything: everywhere else it could stand for a character that the old pattern did not match.
 */
export const convertPattern = (pattern: string): { readonly pattern: string } | { readonly problem: string } => {
  if (/[^!-~]/.test(pattern)) return { problem: 'it holds a blank or a character that no request path has' };
  let converted = '';
  let at = 0;
  while (at < pattern.length) {
    const { length, problem } = readToken(pattern, at);
    const text = pattern.slice(at, at + length);
    const replaced = fillsSegments(pattern, at, length) ? text : withoutPercent(text);
    if (problem !== undefined || replaced === undefined)
      return {
        problem: `${problem ?? 'it names the percent sign, which no decoded path held'} (at character ${at + 1})`,
      };
    converted += replaced;
    at += length;
  }
  return { pattern: converted };
};

// `.+`, `.*`, `[^/]+` or `[^/]*` between slashes, or between a slash and the end: it takes whole segments or none.
const fillsSegments = (pattern: string, at: number, length: number): boolean =>
  /^(?:\.|\[\^\/\])$/.test(pattern.slice(at, at + length)) &&
  pattern[at - 1] === '/' &&
  /^[+*]\??(?:\/|\$?$)/.test(pattern.slice(at + length));

const ANY_BUT: Readonly<Record<string, string>> = { '.': '[^%]', '\\D': '[^\\d%]', '\\W': '[^\\w%]', '\\S': '[^\\s%]' };

// A token that matches a percent sign is put so that it does not; undefined where it means the sign itself.
const withoutPercent = (token: string): string | undefined => {
  if (token.startsWith('(') || /^[*+?{]/.test(token) || !matchesPercent(token)) return token;
  if (token.startsWith('[^')) return `${token.slice(0, -1)}%]`;
  return ANY_BUT[token];
};

const matchesPercent = (token: string): boolean => {
  try {
    return compilePattern(token).matchesWhole('%');
  } catch {
    // Half of something, such as a closing bracket: it matches nothing by itself.
    return false;
  }
};

type Token = { readonly length: number; readonly problem?: string };

const readToken = (pattern: string, at: number): Token => {
  switch (pattern[at]) {
    case '\\':
      return readEscape(pattern, at, OUTSIDE);
    case '[':
      return readClass(pattern, at);
    case '(':
      return readGroup(pattern, at);
    case '*':
    case '+':
    case '?':
    case '{':
      return readQuantifier(pattern, at);
    default:
      return { length: 1 };
  }
};

// Letters that both dialects give the same meaning, for the ASCII that a path consists of.
const OUTSIDE = /^[dDwWsSbBtnrfv]$/;
const INSIDE = /^[dDwWsStnrfv]$/;

const readEscape = (pattern: string, at: number, letters: RegExp): Token => {
  const next = pattern[at + 1] ?? '';
  if (next === 'x' && /^[0-9a-fA-F]{2}$/.test(pattern.slice(at + 2, at + 4))) return { length: 4 };
  // Punctuation escapes to itself in both.
  if (letters.test(next) || /^[!-/:-@[-^`{-~]$/.test(next)) return { length: 2 };
  return { length: 2, problem: `"\\${next}" means something else, or nothing, in RE2` };
};

const readClass = (pattern: string, start: number): Token => {
  let at = start + 1;
  if (pattern[at] === '^') at += 1;
  // A bracket that comes first stands for itself.
  if (pattern[at] === ']') at += 1;
  while (at < pattern.length && pattern[at] !== ']') {
    if (pattern[at] === '[') return { length: 1, problem: 'a bracket inside a class is read differently by RE2' };
    if (/^(--|&&|\|\||~~)/.test(pattern.slice(at)))
      return { length: 1, problem: 'set operations are not known to RE2' };
    const { length, problem } =
      pattern[at] === '\\' ? readEscape(pattern, at, INSIDE) : { length: 1, problem: undefined };
    if (problem !== undefined) return { length, problem };
    at += length;
  }
  if (pattern[at] !== ']') return { length: 1, problem: 'a class does not end' };
  return { length: at + 1 - start };
};

const readGroup = (pattern: string, at: number): Token => {
  const rest = pattern.slice(at);
  if (!rest.startsWith('(?')) return { length: 1 };
  const plain = /^\(\?(?::|P<[A-Za-z_][A-Za-z0-9_]*>|[ims]+:)/.exec(rest)?.[0];
  if (plain !== undefined) return { length: plain.length };
  // Python takes flags for the whole pattern at its start only.
  const flags = at === 0 ? /^\(\?[ims]+\)/.exec(rest)?.[0] : undefined;
  if (flags !== undefined) return { length: flags.length };
  if (/^\(\?<?[=!]/.test(rest)) return { length: 2, problem: 'RE2 cannot look ahead or behind' };
  return { length: 2, problem: `"${rest.slice(0, 4)}" means something else, or nothing, in RE2` };
};

const readQuantifier = (pattern: string, at: number): Token => {
  const [whole = '', base = ''] = /^(\*|\+|\?|\{\d{1,4}(?:,\d{0,4})?\})[*+?]?/.exec(pattern.slice(at)) ?? [];
  if (whole === '') return { length: 1, problem: 'a brace that is not a repetition is read differently by RE2' };
  if (/[*+]$/.test(whole.slice(base.length)))
    return { length: whole.length, problem: 'RE2 has no possessive repetition' };
  return { length: whole.length };
};
