// Decides whether rules allow a request: linear in the request, never backtracking.

import { DaypassError } from './errors.ts';
import { isMethod, NEVER_FORWARDED } from './method.ts';
import { compilePattern, patternOf } from './pattern.ts';
import {
  MAX_REGEX_CHARS,
  MAX_REGEX_RULES,
  MAX_RULE_CHARS,
  MAX_RULES,
  type Methods,
  type Rule,
  type Segment,
  type TemplateRule,
} from './rule.ts';
import { printRule } from './rule-print.ts';

declare const compiled: unique symbol;

/** Rules made ready for matching. What it holds is this file's own business. */
export type CompiledRules = { readonly [compiled]: true };

/** Finds a named scope of the service. */
export type ScopeLookup = (name: string) => CompiledRules | undefined;

/** The most steps that all `~` rules of a list together may cost a character of the path. */
const MAX_PATTERNS_SIZE = 8000;

/**
 * Makes rules ready for matching. `scopes` finds what `scope:NAME` stands for; without it such a rule allows nothing.
 * @throws DaypassError `invalid_rule` if there are too many rules, or too many or too costly `~` rules
 */
export const compileRules = (rules: readonly Rule[], scopes?: ScopeLookup): CompiledRules => {
  if (rules.length > MAX_RULES) throw new DaypassError('invalid_rule', `there are more than ${MAX_RULES} rules`);
  const patterns = { count: 0, size: 0 };
  const entries = rules.map((rule) => compileRule(rule, patterns));
  const content: Content = { entries, scopes };
  return content as unknown as CompiledRules;
};

/**
 * The canonical text of the first rule that allows the request, `undefined` if none does. `path` is the raw path of a
 * checked target. `scopes`, if given, is asked instead of the one given at compile time. A named scope's own `scope:`
 * rules allow nothing.
 */
export const matchRules = (
  rules: CompiledRules,
  method: string,
  path: string,
  scopes?: ScopeLookup,
): string | undefined => {
  if (!isMethod(method) || NEVER_FORWARDED.has(method)) return undefined;
  const content = rules as unknown as Content;
  const lookup = scopes ?? content.scopes;
  for (const entry of content.entries) {
    const allowed =
      entry.kind === 'scope' ? scopeAllows(lookup?.(entry.name), method, path) : allows(entry, method, path);
    if (allowed) return entry.text;
  }
  return undefined;
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
type RequestEntry = {
  readonly kind: 'request';
  readonly text: string;
  readonly methods: Methods;
  readonly matches: (path: string) => boolean;
};
type ScopeEntry = { readonly kind: 'scope'; readonly text: string; readonly name: string };
type Entry = RequestEntry | ScopeEntry;

const compileRule = (rule: Rule, patterns: { count: number; size: number }): Entry => {
  const text = printRule(rule);
  switch (rule.kind) {
    case 'template':
      return { kind: 'request', text, methods: rule.methods, matches: compileTemplate(rule) };
    case 'regex': {
      const pattern = compilePattern(rule.pattern);
      patterns.count += 1;
      patterns.size += pattern.size;
      if (patterns.count > MAX_REGEX_RULES || patterns.size > MAX_PATTERNS_SIZE) {
        throw new DaypassError('invalid_rule', 'there are too many or too costly rules with ~');
      }
      return { kind: 'request', text, methods: rule.methods, matches: pattern.matchesWhole };
    }
    case 'scope':
      return { kind: 'scope', text, name: rule.name };
    default:
      return rule satisfies never;
  }
};

const allows = (entry: RequestEntry, method: string, path: string): boolean =>
  (entry.methods === '*' || entry.methods.includes(method)) && entry.matches(path);

const scopeAllows = (scope: CompiledRules | undefined, method: string, path: string): boolean => {
  if (scope === undefined) return false;
  const { entries } = scope as unknown as Content;
  return entries.some((entry) => entry.kind === 'request' && allows(entry, method, path));
};

// The literal segments before the first wildcard are compared in one step, which is where most rules already fail.
const compileTemplate = ({ segments }: TemplateRule): ((path: string) => boolean) => {
  const wild = segments.findIndex((segment) => segment.kind !== 'literal');
  const literal = `/${segments
    .slice(0, wild < 0 ? segments.length : wild)
    .map((segment) => (segment.kind === 'literal' ? segment.text : ''))
    .join('/')}`;
  if (wild < 0) return (path) => path === literal;
  const prefix = wild === 0 ? '/' : `${literal}/`;
  const rest = segments.slice(wild);
  return (path) => path.startsWith(prefix) && matchSegments(rest, path, prefix.length);
};

const matchSegments = (segments: readonly Segment[], path: string, start: number): boolean => {
  let at = start;
  for (let index = 0; index < segments.length; index += 1) {
    const segment = segments[index];
    if (segment === undefined) return false;
    if (segment.kind === 'rest') return true;
    const slash = path.indexOf('/', at);
    const end = slash < 0 ? path.length : slash;
    const fits =
      segment.kind === 'literal' ? end - at === segment.text.length && path.startsWith(segment.text, at) : end > at;
    if (!fits) return false;
    if (slash < 0) return index === segments.length - 1;
    at = end + 1;
  }
  // A slash is left over, so the path has more segments than the rule.
  return false;
};
