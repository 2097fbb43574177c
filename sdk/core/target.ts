// Reads a request target, and refuses every one that two programs could read in two ways.

import { type Ambiguity, findAmbiguity } from './ambiguity.ts';
import { DaypassError } from './errors.ts';

declare const checked: unique symbol;

/** A request target with one reading. Only this file makes one; its texts are the very characters of the request. */
export type Target = {
  /** Starts with `/`. What rules are compared with, and what is sent upstream. */
  readonly path: string;
  /** Without its `?`; `undefined` if there is none. Never decoded. */
  readonly query: string | undefined;
  /** Path and query as they came. */
  readonly raw: string;
  readonly [checked]: true;
};

type Options = {
  /** Let `%2F` stand inside a segment: only for a service that asks for it. */
  readonly encodedSlashes?: boolean;
};

/**
 * Reads an origin-form target (RFC 9112 §3.2.1) whose path has one reading; the query is opaque visible ASCII.
 * @throws DaypassError `target_ambiguous` with the column
 */
export const parseTarget = (raw: string, { encodedSlashes = false }: Options = {}): Target => {
  const mark = raw.indexOf('?');
  const path = mark < 0 ? raw : raw.slice(0, mark);
  const query = mark < 0 ? undefined : raw.slice(mark + 1);
  const ambiguity = findAmbiguity(path, encodedSlashes) ?? findQueryProblem(raw, mark);
  if (ambiguity !== undefined) throw refusal(ambiguity);
  return make(path, query, raw);
};

/**
 * What follows a prefix such as `/s/github`: as free of ambiguity as the whole. `undefined` unless the path has the
 * prefix and goes on with a slash.
 */
export const targetUnder = (target: Target, prefix: string): Target | undefined => {
  if (!target.path.startsWith(prefix) || target.path[prefix.length] !== '/') return undefined;
  return make(target.path.slice(prefix.length), target.query, target.raw.slice(prefix.length));
};

const BAD_IN_QUERY = /[^!-~]|#/;

const findQueryProblem = (raw: string, mark: number): Ambiguity | undefined => {
  if (mark < 0) return undefined;
  const found = raw.slice(mark).search(BAD_IN_QUERY);
  return found < 0 ? undefined : { index: mark + found, reason: 'a fragment, space, control or non-ASCII character' };
};

const make = (path: string, query: string | undefined, raw: string): Target => ({ path, query, raw }) as Target;

const refusal = ({ index, reason }: Ambiguity): DaypassError =>
  new DaypassError('target_ambiguous', `the request target has ${reason} (at character ${index + 1})`, {
    column: index + 1,
  });
