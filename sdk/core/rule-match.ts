// Decides whether rules allow a request: linear in the request, never backtracking.

import { isMethod, NEVER_FORWARDED } from './method.ts';
import { patternOf } from './pattern.ts';
import { type BodyValue, isBodyArray } from './request-body.ts';
import type { RequestDetails } from './request-details.ts';
import { MAX_REGEX_CHARS, MAX_RULE_CHARS, type Rule } from './rule.ts';
import { compileEntries, type Entry, type RequestEntry } from './rule-compile.ts';

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
  const entries = compileEntries(rules);
  const content: Content = { entries, scopes };
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
  for (const entry of content.entries) {
    const allowed =
      entry.kind === 'scope'
        ? requestEntries(lookup?.(entry.name)).some(
            (one) => one.kind === 'request' && allows(one, method, path, details),
          )
        : allows(entry, method, path, details);
    if (allowed) return entry.text;
  }
  const value = details?.body?.value;
  if (details === undefined || !isBodyArray(value)) return undefined;
  const open = openEntries(
    content.entries,
    lookup,
    (entry) => entry.batch !== undefined && opens(entry, method, path, details),
  );
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
  const isOpen = (entry: RequestEntry) => entry.body !== undefined && opens(entry, method, path, details);
  return openEntries(content.entries, scopes ?? content.scopes, isOpen).length > 0;
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
  const template = path.replaceAll(/[^/]*\*[^/]*/g, '*');
  return `${method} ${template.length <= room ? template : shorten(template, room)}`;
};

const shorten = (path: string, room: number): string => `${path.slice(0, path.lastIndexOf('/', room - 3) + 1)}**`;

type Content = { readonly entries: readonly Entry[]; readonly scopes: ScopeLookup | undefined };

/** Everything but the body fits. */
const opens = (entry: RequestEntry, method: string, path: string, details: RequestDetails | undefined): boolean =>
  (entry.methods === '*' || entry.methods.includes(method)) &&
  entry.matches(path) &&
  (entry.head === undefined || (details !== undefined && entry.head(path, details)));

const allows = (entry: RequestEntry, method: string, path: string, details: RequestDetails | undefined): boolean =>
  opens(entry, method, path, details) &&
  (entry.body === undefined || (details?.body !== undefined && entry.body(details.body)));

const requestEntries = (scope: CompiledRules | undefined): readonly Entry[] =>
  scope === undefined ? [] : (scope as unknown as Content).entries;

type Open = { readonly entry: RequestEntry; readonly text: string };

/** The entries that fit, those of named scopes under the scope's text. */
const openEntries = (
  entries: readonly Entry[],
  lookup: ScopeLookup | undefined,
  isOpen: (entry: RequestEntry) => boolean,
): readonly Open[] => {
  const found: Open[] = [];
  for (const entry of entries) {
    const own = entry.kind === 'scope' ? requestEntries(lookup?.(entry.name)) : [entry];
    for (const one of own) if (one.kind === 'request' && isOpen(one)) found.push({ entry: one, text: entry.text });
  }
  return found;
};

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
    const allowing = open.find(({ entry }) => entry.batch?.kind === kind && entry.batch.allows(member, body));
    if (allowing === undefined) return undefined;
    texts.add(allowing.text);
  }
  return [...texts].join('; ');
};
