// Compiles the patterns of `~` rules with RE2, whose time is linear in the path.

import { RE2JS, RE2Set } from 're2js';
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

/** Longer paths match no pattern. */
export const MAX_PATTERN_PATH_CHARS = 2048;

/** @throws DaypassError `invalid_rule` saying what is wrong with the pattern */
export const compilePattern = (pattern: string): Pattern => {
  const set = new PatternSet();
  const place = set.add(pattern);
  return { size: set.size, matchesWhole: (path) => set.matching(path).has(place) };
};

/** A pattern that matches `text` and nothing else. */
export const patternOf = (text: string): string => RE2JS.quote(text);

/** Patterns that are matched in one go, in a memory that is bounded for all of them together. */
export class PatternSet {
  readonly #set = new RE2Set(RE2Set.ANCHOR_BOTH, 0, MAX_MEMORY_BYTES);
  #size = 0;
  /** The last answer: a request is often decided on twice. */
  #last: { readonly path: string; readonly places: ReadonlySet<number> } | undefined;

  /** Steps that a character of the path can cost at most. */
  get size(): number {
    return this.#size;
  }

  /** Adds a pattern, and gives its place. Not after a match. @throws DaypassError `invalid_rule` */
  add(pattern: string): number {
    this.#size += sizeOf(pattern);
    return this.#set.add(pattern);
  }

  /** The places of the patterns that match the whole of `path`. */
  matching(path: string): ReadonlySet<number> {
    if (path.length > MAX_PATTERN_PATH_CHARS) return NONE;
    if (this.#last?.path !== path) this.#last = { path, places: new Set(this.#set.match(path)) };
    return this.#last.places;
  }
}

const NONE: ReadonlySet<number> = new Set();

/**
 * What the engine may keep of the states it has seen, by its own count. More would be of no use to ordinary patterns,
 * and to build the states of odd ones takes five times as long as to do without.
 */
const MAX_MEMORY_BYTES = 32 * 1024;

const sizeOf = (pattern: string): number => {
  const size = compile(pattern).programSize();
  if (size <= MAX_PATTERN_SIZE) return size;
  throw new DaypassError('invalid_rule', `the pattern costs ${size} steps a character, at most ${MAX_PATTERN_SIZE}`);
};

const compile = (pattern: string): RE2JS => {
  try {
    return RE2JS.compile(pattern);
  } catch (cause) {
    throw new DaypassError('invalid_rule', cause instanceof Error ? cause.message : 'not a pattern', { cause });
  }
};
