// Decides whether rules allow a request: linear in the request, never backtracking.

import { isMethod, NEVER_FORWARDED } from './method.ts';
import { patternOf } from './pattern.ts';
import { type BodyValue, isBodyArray } from './request-body.ts';
import type { RequestDetails } from './request-details.ts';
import { MAX_REGEX_CHARS, MAX_RULE_CHARS, type Rule } from './rule.ts';
import {
  compileEntries,
  type Entries,
  MAX_PATTERN_STEPS,
  type PatternBudget,
  type RequestEntry,
  type ScopeEntry,
} from './rule-compile.ts';

declare const compiled: unique symbol;

/** Rules made ready for matching. What it holds is this file's own business. */
export type CompiledRules = { readonly [compiled]: true };

/** Finds a named scope of the service. */
export type ScopeLookup = (name: string) => CompiledRules | undefined;

/**
 * Makes rules ready for matching. `scopes` finds what `scope:NAME` stands for; without it such a rule allows nothing.
 * @throws DaypassError `invalid_rule` if there are too many rules, or too many or too costly `~` rules
 */
export const compileRules = (rules: readonly Rule[], scopes?: ScopeLookup): CompiledRules => {
  const content: Content = { ...compileEntries(rules), scopes };
  return content as unknown as CompiledRules;
};

/**
 * The canonical text of the first rule that allows the request, `undefined` if none does. `path` is the raw path of a
 * checked target. `scopes`, if given, is asked instead of the one given at compile time. A named scope's own `scope:`
 * rules allow nothing. Without `details`, rules that ask for more than method and path allow nothing; without a body in
 * them, those that ask for one. An array of GraphQL or JSON-RPC requests is allowed if each of them is by some rule: the
 * texts of these come with `; ` between them.
 */
export const matchRules = (
  rules: CompiledRules,
  method: string,
  path: string,
  scopes?: ScopeLookup,
  details?: RequestDetails,
): string | undefined => {
  if (!isMethod(method) || NEVER_FORWARDED.has(method)) return undefined;
  const content = rules as unknown as Content;
  const lookup = scopes ?? content.scopes;
  const asked = ask(method, path, details);
  const allowing = firstEntry(content, lookup, asked, allows);
  const value = details?.body?.value;
  if (allowing !== undefined || details === undefined || !isBodyArray(value)) return allowing;
  const open: Open[] = [];
  firstEntry(content, lookup, asked, (entry, _, text) => {
    if (entry.batch !== undefined && opens(entry, asked)) open.push({ entry, text });
    return false;
  });
  return matchBatch(open, 'mcp', value, details) ?? matchBatch(open, 'graphql', value, details);
};

/**
 * Whether the answer of `matchRules` may depend on the body: some rule that asks for one allows all the rest of the
 * request.
 */
export const needsBody = (
  rules: CompiledRules,
  method: string,
  path: string,
  scopes: ScopeLookup | undefined,
  details: RequestDetails,
): boolean => {
  if (!isMethod(method) || NEVER_FORWARDED.has(method)) return false;
  const content = rules as unknown as Content;
  const needs = (entry: RequestEntry, asked: Asked) => entry.body !== undefined && opens(entry, asked);
  return firstEntry(content, scopes ?? content.scopes, ask(method, path, details), needs) !== undefined;
};

/**
 * The text of the smallest rule that would allow the request, `path` being the raw path of a checked target: the path
 * itself where a template can say it, else a `~` rule, else the nearest template.
 */
export const smallestRule = (method: string, path: string): string => {
  const room = MAX_RULE_CHARS - method.length - 1;
  if (!path.includes('*')) return `${method} ${path.length <= room ? path : shorten(path, room)}`;
  const pattern = patternOf(path);
  if (pattern.length <= MAX_REGEX_CHARS) return `${method} ~${pattern}`;
  // A star cannot stand in a literal segment.
  const template = path.replaceAll(/(?<![^/])[^/]*\*[^/]*/g, '*');
  return `${method} ${template.length <= room ? template : shorten(template, room)}`;
};

const shorten = (path: string, room: number): string => `${path.slice(0, path.lastIndexOf('/', room - 3) + 1)}**`;

type Content = Entries & { readonly scopes: ScopeLookup | undefined };

/** A request, and what its rules may still take of it. */
type Asked = {
  readonly method: string;
  readonly path: string;
  readonly details: RequestDetails | undefined;
  steps: number;
  readonly patterns: PatternBudget;
};

/**
 * Rules and conditions that one request is compared with at most: no list, and no number of named scopes, can keep the
 * others waiting. Even 10,000 rules that differ in two conditions alone take 30,000; beyond it, nothing more allows.
 */
const MAX_STEPS = 100_000;

const ask = (method: string, path: string, details: RequestDetails | undefined): Asked => ({
  method,
  path,
  details,
  steps: MAX_STEPS,
  patterns: { steps: MAX_PATTERN_STEPS },
});

/** Decides on an entry; `text` is that of the rule in the token's list, which may be a named scope. */
type EntryTest = (entry: RequestEntry, asked: Asked, text: string) => boolean;

/** The text of the first entry that fits, in the order of the list. */
const firstEntry = (
  { entries, index }: Entries,
  lookup: ScopeLookup | undefined,
  asked: Asked,
  fits: EntryTest,
): string | undefined => {
  const { places, visited } = index(asked.path);
  asked.steps -= visited;
  for (const place of places) {
    const entry = entries[place];
    if (entry === undefined) continue;
    if (entry.kind === 'request' ? fits(entry, asked, entry.text) : fitsScope(entry, lookup, asked, fits))
      return entry.text;
    if (asked.steps < 0) return undefined;
  }
  return undefined;
};

// A named scope's own `scope:` rules find nothing.
const fitsScope = ({ name, text }: ScopeEntry, lookup: ScopeLookup | undefined, asked: Asked, fits: EntryTest) => {
  const scope = lookup?.(name) as Content | undefined;
  asked.steps -= 1;
  if (scope === undefined) return false;
  return firstEntry(scope, undefined, asked, (entry) => fits(entry, asked, text)) !== undefined;
};

/** Everything but the body fits. */
const opens = (entry: RequestEntry, asked: Asked): boolean => {
  asked.steps -= entry.cost;
  if (entry.methods !== '*' && !entry.methods.includes(asked.method)) return false;
  if (asked.steps < 0 || !entry.matches(asked.path, asked.patterns)) return false;
  if (entry.head === undefined) return true;
  return asked.details !== undefined && entry.head(asked.path, asked.details, asked);
};

const allows: EntryTest = (entry, asked) => {
  if (!opens(entry, asked)) return false;
  if (entry.body === undefined) return true;
  const body = asked.details?.body;
  return body !== undefined && entry.body(body);
};

type Open = { readonly entry: RequestEntry; readonly text: string };

/** Members of one array. */
const MAX_BATCH = 64;

const matchBatch = (
  open: readonly Open[],
  kind: 'mcp' | 'graphql',
  members: readonly BodyValue[],
  { body }: RequestDetails,
): string | undefined => {
  if (body === undefined || members.length === 0 || members.length > MAX_BATCH) return undefined;
  const texts = new Set<string>();
  for (const member of members) {
    const allowing = open.find(
      ({ entry }) => entry.batch?.kind === kind && body.spend(1) && entry.batch.allows(member, body),
    );
    if (allowing === undefined) return undefined;
    texts.add(allowing.text);
  }
  return [...texts].join('; ');
};
