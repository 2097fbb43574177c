// Makes rules ready for matching: each one a few cheap checks, the cheapest first.

import { DaypassError } from './errors.ts';
import { type GraphqlCall, readGraphqlCall } from './graphql-request.ts';
import { type RpcCall, readRpcCall } from './mcp-request.ts';
import { PatternSet } from './pattern.ts';
import type { BodyValue, JsonBody } from './request-body.ts';
import type { RequestDetails } from './request-details.ts';
import {
  type Condition,
  type Conditions,
  type GraphqlRule,
  MAX_REGEX_RULES,
  MAX_RULES,
  type McpRule,
  type Methods,
  type OpRule,
  type RegexRule,
  type Rule,
  type Segment,
  type TemplateRule,
} from './rule.ts';
import { compileHeadCheck, compileJsonCheck, type JsonCheck } from './rule-condition.ts';
import { createIndex, type RuleIndex } from './rule-index.ts';
import { printRule } from './rule-print.ts';

/** A rule that speaks of requests by itself. */
export type RequestEntry = {
  readonly kind: 'request';
  readonly text: string;
  readonly methods: Methods;
  /** Steps that it takes to look at the path. */
  readonly cost: number;
  readonly matches: (path: string, budget: PatternBudget) => boolean;
  /** Conditions on path, query and headers, and what a kind of rule asks of them; `undefined`: none. */
  readonly head: HeadChecks | undefined;
  /** What the body must be; `undefined`: anything, unread. */
  readonly body: ((body: JsonBody) => boolean) | undefined;
  /** For a body that is an array: its kind, and whether one member may stand in it. */
  readonly batch: { readonly kind: 'graphql' | 'mcp'; readonly allows: MemberCheck } | undefined;
};

/** Asks one condition after the other, which takes steps of the budget; does not hold when it is spent. */
export type HeadChecks = (path: string, details: RequestDetails, budget: StepBudget) => boolean;

/** What may still be taken of one request. */
export type StepBudget = { steps: number };

/** Decides on a body, or on one member of it. */
export type MemberCheck = (value: BodyValue, body: JsonBody) => boolean;

/** `scope:NAME`. */
export type ScopeEntry = { readonly kind: 'scope'; readonly text: string; readonly name: string };

export type Entry = RequestEntry | ScopeEntry;

/** Entries in the order of their rules, and which of them a path could fit. */
export type Entries = { readonly entries: readonly Entry[]; readonly index: RuleIndex };

/** What `~` rules may still take of one request; `read` holds the answers of lists that were asked before. */
export type PatternBudget = { steps: number; read?: Map<PatternSet, ReadonlySet<number>> };

/**
 * Steps that all `~` rules may take on one request: program size times length of the path. One takes 13 ns at the
 * worst; a dozen patterns of 60 characters take 130,000 on a path of 200.
 */
export const MAX_PATTERN_STEPS = 150_000;
/** What each list with `~` rules takes beside. */
const LIST_STEPS = 5000;

/** The most steps that all `~` rules of a list together may cost a character of the path. */
const MAX_PATTERNS_SIZE = 1600;

/**
 * What is left of rules for matching. `op:` rules allow nothing, and are left out.
 * @throws DaypassError `invalid_rule` if there are too many rules, or too many or too costly `~` rules
 */
export const compileEntries = (rules: readonly Rule[]): Entries => {
  if (rules.length > MAX_RULES) throw new DaypassError('invalid_rule', `there are more than ${MAX_RULES} rules`);
  const patterns: Patterns = { count: 0, set: new PatternSet() };
  const kept = rules.filter((rule) => rule.kind !== 'op');
  const entries = kept.map((rule) => compileRule(rule, patterns));
  return { entries, index: createIndex(kept.map((rule) => ('segments' in rule ? rule.segments : undefined))) };
};

type Patterns = { count: number; readonly set: PatternSet };

const compileRule = (rule: Exclude<Rule, OpRule>, patterns: Patterns): Entry => {
  const text = printRule(rule);
  switch (rule.kind) {
    case 'template':
      return compileTemplateRule(rule, text);
    case 'regex':
      return compileRegexRule(rule, text, patterns);
    case 'scope':
      return { kind: 'scope', text, name: rule.name };
    case 'graphql':
      return compileCallRule(rule, text, 'graphql', graphqlCheck(rule), rule.batch);
    case 'mcp':
      return compileCallRule(rule, text, 'mcp', mcpCheck(rule), true);
    default:
      return rule satisfies never;
  }
};

const compileRegexRule = ({ methods, pattern }: RegexRule, text: string, patterns: Patterns): RequestEntry => {
  const { set } = patterns;
  const place = set.add(pattern);
  patterns.count += 1;
  if (patterns.count > MAX_REGEX_RULES || set.size > MAX_PATTERNS_SIZE) {
    throw new DaypassError('invalid_rule', 'there are too many or too costly rules with ~');
  }
  const matches: RequestEntry['matches'] = (path, budget) => placesIn(set, path, budget).has(place);
  return { ...PLAIN, kind: 'request', text, methods, cost: 1, matches };
};

const placesIn = (set: PatternSet, path: string, budget: PatternBudget): ReadonlySet<number> => {
  budget.read ??= new Map();
  const known = budget.read.get(set);
  if (known !== undefined) return known;
  budget.steps -= LIST_STEPS + set.size * (path.length + 1);
  const places = budget.steps < 0 ? NO_PLACES : set.matching(path);
  budget.read.set(set, places);
  return places;
};

const NO_PLACES: ReadonlySet<number> = new Set();

const PLAIN = { head: undefined, body: undefined, batch: undefined } as const;

const compileTemplateRule = (rule: TemplateRule, text: string): RequestEntry => {
  const checks = jsonChecks(rule.conditions);
  return {
    kind: 'request',
    text,
    methods: rule.methods,
    cost: costOf(rule.segments),
    matches: compileTemplate(rule.segments),
    head: headChecks(rule.conditions, rule.segments),
    body: checks.length === 0 ? undefined : (body) => passAll(checks, body.value, body),
    batch: undefined,
  };
};

// GraphQL and MCP: a POST without a query, since some servers also read what is asked for from there.
const compileCallRule = (
  rule: GraphqlRule | McpRule,
  text: string,
  kind: 'graphql' | 'mcp',
  allows: MemberCheck,
  isBatchable: boolean,
): RequestEntry => {
  const head = headChecks(rule.conditions, rule.segments);
  return {
    kind: 'request',
    text,
    methods: ['POST'],
    cost: costOf(rule.segments),
    matches: compileTemplate(rule.segments),
    head: (path, details, budget) =>
      details.rawQuery === undefined && (head === undefined || head(path, details, budget)),
    body: (body) => body.mediaType === 'application/json' && allows(body.value, body),
    batch: isBatchable
      ? { kind, allows: (value, body) => body.mediaType === 'application/json' && allows(value, body) }
      : undefined,
  };
};

const graphqlCheck = ({ operation, fields, conditions }: GraphqlRule): MemberCheck => {
  const names = fields === '*' ? undefined : new Set(fields);
  const checks = jsonChecks(conditions);
  const allowsField = ({ name, args }: GraphqlCall['fields'][number], body: JsonBody): boolean =>
    (names === undefined ? !name.startsWith('__') : names.has(name)) && passAll(checks, args, body);
  return (value, body) => {
    const call = body.readOnce(value, readGraphqlCall);
    return call?.operation === operation && call.fields.every((field) => allowsField(field, body));
  };
};

const mcpCheck = ({ rpcMethods, names, conditions }: McpRule): MemberCheck => {
  const checks = jsonChecks(conditions);
  const allowsCall = ({ method, name, args }: RpcCall, body: JsonBody): boolean =>
    rpcMethods.includes(method) &&
    (names === undefined || (name !== undefined && names.includes(name))) &&
    passAll(checks, args, body);
  return (value, body) => {
    const call = body.readOnce(value, readRpcCall);
    return call !== undefined && allowsCall(call, body);
  };
};

const jsonChecks = (conditions: Conditions): readonly JsonCheck[] =>
  conditions.flatMap((condition) => compileJsonCheck(condition) ?? []);

const passAll = (checks: readonly JsonCheck[], root: BodyValue, body: JsonBody): boolean =>
  body.spend(1) && checks.every((check) => check(root, body));

const headChecks = (conditions: Conditions, segments: readonly Segment[]): HeadChecks | undefined => {
  const checks = conditions.flatMap((condition) => {
    const check = compileHeadCheck(condition, segments);
    return check === undefined ? [] : { check, cost: costOf(segments.slice(0, placeOf(condition, segments))) };
  });
  if (checks.length === 0) return undefined;
  return (path, details, budget) =>
    checks.every(({ check, cost }) => {
      budget.steps -= cost;
      return budget.steps >= 0 && check(path, details);
    });
};

/** Segments before the one that a condition on the path is about; they are counted to find it. */
const placeOf = ({ subject }: Condition, segments: readonly Segment[]): number =>
  subject.in === 'path' ? segments.findIndex((one) => one.kind === 'name' && one.name === subject.name) : 0;

const costOf = (segments: readonly Segment[]): number => 1 + (segments.length >> 3);

// The literal segments before the first wildcard are compared in one step, which is where most rules already fail.
const compileTemplate = (segments: readonly Segment[]): ((path: string) => boolean) => {
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
