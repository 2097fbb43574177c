// Compares `covers` with the data plane's own matcher, on every request of a world.

import { JsonBody, readContentHeaders } from '@daypass/core/request-body';
import { RequestDetails } from '@daypass/core/request-details';
import type { Rule } from '@daypass/core/rule';
import { covers } from '@daypass/core/rule-covers';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { printRule } from '@daypass/core/rule-print';
import { bodyOf, type World, type WorldRequest } from './rule-universe.ts';

export type Agreement = {
  readonly world: string;
  readonly rules: number;
  readonly requests: number;
  readonly pairs: number;
  readonly lists: number;
  readonly yes: number;
  /** Answered yes, though some request is allowed by the second alone. */
  readonly falseYes: readonly string[];
  /** Answered no on a single pair, though no request of the world is. */
  readonly falseNo: readonly string[];
};

/** Every pair of the world's rules, and as many pairs of short lists as asked for (those for a false yes alone). */
export const agreementIn = (all: World, lists = 0): Agreement => {
  const { world, sets } = withSets(all);
  const { rules, isExact } = world;
  const falseYes: string[] = [];
  const falseNo: string[] = [];
  let yes = 0;
  for (const [i, a] of rules.entries()) {
    for (const [j, b] of rules.entries()) {
      const lies = isWithin(sets[j], [sets[i]]);
      const { covered } = covers([a], [b]);
      if (covered) yes += 1;
      if (covered && !lies) falseYes.push(`${printRule(a)} | ${printRule(b)}`);
      if (!covered && lies && isExact) falseNo.push(`${printRule(a)} | ${printRule(b)}`);
    }
  }
  const next = random(rules.length);
  for (let round = 0; round < lists; round += 1) {
    const a = [next(), next(), next(), next()];
    const b = [next(), next()];
    if (!covers(pick(rules, a), pick(rules, b)).covered) continue;
    const above = a.map((index) => sets[index]);
    // An array of calls may be allowed by several rules together, so the matcher has the last word.
    if (!b.every((index) => isWithin(sets[index], above)) && !isAllowed(world, pick(rules, a), pick(rules, b))) {
      falseYes.push(`${pick(rules, a).map(printRule).join(' + ')} | ${pick(rules, b).map(printRule).join(' + ')}`);
    }
  }
  const { name, requests } = world;
  const pairs = rules.length ** 2;
  return { world: name, rules: rules.length, requests: requests.length, pairs, lists, yes, falseYes, falseNo };
};

const pick = (rules: readonly Rule[], indexes: readonly number[]): Rule[] =>
  indexes.flatMap((index) => rules[index] ?? []);

/** Rules that allow nothing are in everything: a few of them are enough. */
const MAX_EMPTY = 25;

const withSets = (all: World): { readonly world: World; readonly sets: readonly Uint32Array[] } => {
  const allSets = allowedSets(all);
  let empty = 0;
  const kept = [...all.rules.keys()].filter((index) => {
    if (allSets[index]?.some((bits) => bits !== 0)) return true;
    empty += 1;
    return empty <= MAX_EMPTY;
  });
  const sets = kept.flatMap((index) => allSets[index] ?? []);
  return { world: { ...all, rules: pick(all.rules, kept) }, sets };
};

/** Whether the rules of `a` together allow every request that those of `b` together do. */
const isAllowed = ({ requests }: World, a: readonly Rule[], b: readonly Rule[]): boolean => {
  const [above, below] = [compileRules(a), compileRules(b)];
  return requests.every((request) => {
    const details = detailsOf(request);
    const { method, path } = request;
    if (matchRules(below, method, path, undefined, details()) === undefined) return true;
    return matchRules(above, method, path, undefined, details()) !== undefined;
  });
};

/** For each rule a bit a request. */
const allowedSets = ({ rules, requests }: World): readonly Uint32Array[] => {
  const sets = rules.map(() => new Uint32Array((requests.length + 31) >>> 5));
  const compiled = rules.map((rule) => compileRules([rule]));
  for (const [at, request] of requests.entries()) {
    const details = detailsOf(request);
    for (const [index, one] of compiled.entries()) {
      if (matchRules(one, request.method, request.path, undefined, details()) === undefined) continue;
      const set = sets[index];
      if (set !== undefined) set[at >>> 5] = (set[at >>> 5] ?? 0) | (1 << (at & 31));
    }
  }
  return sets;
};

// As the data plane makes them: a body stands in them only if its headers say that it can be read.
const detailsOf = (request: WorldRequest): (() => RequestDetails) => {
  const { query, headers = {} } = request;
  const header = (name: string): readonly string[] => {
    const value = headers[name];
    return value === undefined ? [] : [value];
  };
  const read = readContentHeaders({ type: header('content-type'), encoding: header('content-encoding') });
  const body = 'mediaType' in read ? bodyOf({ ...request, headers: { 'content-type': read.mediaType } }) : undefined;
  const details = new RequestDetails({ query, header });
  return () => {
    // A body has a budget of steps: each rule has its own.
    if (body !== undefined) details.body = new JsonBody(body.mediaType, body.value);
    return details;
  };
};

const isWithin = (inner: Uint32Array | undefined, outer: readonly (Uint32Array | undefined)[]): boolean => {
  if (inner === undefined) return false;
  for (let at = 0; at < inner.length; at += 1) {
    let left = inner[at] ?? 0;
    for (const set of outer) left &= ~(set?.[at] ?? 0);
    if (left !== 0) return false;
  }
  return true;
};

// The same numbers at every run (mulberry32).
const random = (below: number): (() => number) => {
  let state = 1;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
};
