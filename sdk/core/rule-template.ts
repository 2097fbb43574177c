// Reads the path template of a rule.

import { findAmbiguity } from './ambiguity.ts';
import type { Segment } from './rule.ts';
import { wrong } from './rule-text.ts';

/**
 * The segments of the template that stands at `start` and ends at `end`.
 * @throws DaypassError `invalid_rule` with the column
 */
export const parseTemplate = (text: string, start: number, end: number): readonly Segment[] => {
  if (start >= end || text[start] !== '/')
    throw wrong(text, start, `the path must start with a slash${hintAt(text, start)}`);
  const names = new Set<string>();
  const segments: Segment[] = [];
  let column = start + 1;
  const parts = text.slice(column, end).split('/');
  for (const [index, part] of parts.entries()) {
    segments.push(parseSegment(text, column, part, index === parts.length - 1, names));
    column += part.length + 1;
  }
  return segments;
};

/** A name within `{}`. */
export const SEGMENT_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/;

const NAME = /^\{([A-Za-z_][A-Za-z0-9_]{0,63})\}$/;

const parseSegment = (text: string, column: number, part: string, last: boolean, names: Set<string>): Segment => {
  if (part === '*') return { kind: 'one' };
  if (part === '**') {
    if (!last) throw wrong(text, column, '** may only be the last segment');
    return { kind: 'rest' };
  }
  if (part.includes('{') || part.includes('}')) return parseName(text, column, part, names);
  if (part.includes('*')) throw wrong(text, column, '* and ** must be whole segments');
  if (part === '' && last) return { kind: 'literal', text: part };
  refuseUnmatchable(text, column, part);
  return { kind: 'literal', text: part };
};

const parseName = (text: string, column: number, part: string, names: Set<string>): Segment => {
  const name = NAME.exec(part)?.[1];
  if (name === undefined) throw wrong(text, column, '{name} must be a whole segment, its name letters, digits and _');
  if (names.has(name)) throw wrong(text, column, `{${name}} occurs twice`);
  names.add(name);
  return { kind: 'name', name };
};

// A literal that no request target may hold would look like a grant and never be one.
const refuseUnmatchable = (text: string, column: number, part: string): void => {
  if (part === '') throw wrong(text, column, 'no path has an empty segment');
  const ambiguity = findAmbiguity(`/${part}`, true);
  if (ambiguity === undefined) return;
  const at = column + ambiguity.index - 1;
  throw wrong(text, at, `no path may have ${ambiguity.reason}${hintAt(text, at)}`);
};

/** What may have been meant. */
const hintAt = (text: string, at: number): string => {
  if (text[at] === '?') return '; a query is asked for by a condition, as in where query.page = 1';
  if (text[at] === ' ') return ' after one space';
  return /^https?:/i.test(text.slice(at, at + 6)) ? '; a rule is for one service, and names no origin' : '';
};
