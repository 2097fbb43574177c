// Compiles the pattern of a `~` rule with RE2, whose time is linear in the path.

import { RE2JS } from 're2js';
import { DaypassError } from './errors.ts';

/** A compiled pattern and its cost. */
export type Pattern = {
  /** Whether the pattern matches the whole of `path`. */
  readonly matchesWhole: (path: string) => boolean;
  /** Steps that a character of the path can cost at most. */
  readonly size: number;
};

/** The most steps that one pattern may cost a character. */
export const MAX_PATTERN_SIZE = 1000;

/** Longer paths match no pattern, so that size times length stays small. */
export const MAX_PATTERN_PATH_CHARS = 2048;

/** @throws DaypassError `invalid_rule` saying what is wrong with the pattern */
export const compilePattern = (pattern: string): Pattern => {
  const compiled = compile(pattern);
  const size = compiled.programSize();
  if (size > MAX_PATTERN_SIZE) {
    throw new DaypassError('invalid_rule', `the pattern costs ${size} steps a character, at most ${MAX_PATTERN_SIZE}`);
  }
  return { size, matchesWhole: (path) => path.length <= MAX_PATTERN_PATH_CHARS && compiled.testExact(path) };
};

/** A pattern that matches `text` and nothing else. */
export const patternOf = (text: string): string => RE2JS.quote(text);

const compile = (pattern: string): RE2JS => {
  try {
    return RE2JS.compile(pattern);
  } catch (cause) {
    throw new DaypassError('invalid_rule', cause instanceof Error ? cause.message : 'not a pattern', { cause });
  }
};
