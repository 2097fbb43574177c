// Makes rules ready for matching: each one a few cheap checks, the cheapest first.

import { DaypassError } from './errors.ts';
import { type GraphqlCall, readGraphqlCall } from './graphql-request.ts';
import { type RpcCall, readRpcCall } from './mcp-request.ts';
import { compilePattern } from './pattern.ts';
import type { BodyValue, JsonBody } from './request-body.ts';
import {
  type Conditions,
  type GraphqlRule,
  MAX_REGEX_RULES,
  MAX_RULES,
  type McpRule,
  type Methods,
  type Rule,
  type Segment,
  type TemplateRule,
} from './rule.ts';
import { compileHeadCheck, compileJsonCheck, type HeadCheck, type JsonCheck } from './rule-condition.ts';
import { printRule } from './rule-print.ts';

/** A rule that speaks of requests by itself. */
export type RequestEntry = {
  readonly kind: 'request';
  readonly text: string;
  readonly methods: Methods;
  readonly matches: (path: string) => boolean;
  /** Conditions on path, query and headers, and what a kind of rule asks of them; `undefined`: none. */
  readonly head: HeadCheck | undefined;
  /** What the body must be; `undefined`: anything, unread. */
  readonly body: ((body: JsonBody) => boolean) | undefined;
  /** For a body that is an array: its kind, and whether one member may stand in it. */
  readonly batch: { readonly kind: 'graphql' | 'mcp'; readonly allows: MemberCheck } | undefined;
};

/** Decides on a body, or on one member of it. */
export type MemberCheck = (value: BodyValue, body: JsonBody) => boolean;

/** `scope:NAME`. */
export type ScopeEntry = { readonly kind: 'scope'; readonly text: string; readonly name: string };

export type Entry = RequestEntry | ScopeEntry;

/** The most steps that all `~` rules of a list together may cost a character of the path. */
const MAX_PATTERNS_SIZE = 8000;

/**
 * What is left of rules for matching. `op:` rules allow nothing, and are left out.
 * @throws DaypassError `invalid_rule` if there are too many rules, or too many or too costly `~` rules
 */
export const compileEntries = (rules: readonly Rule[]): readonly Entry[] => {
  if (rules.length > MAX_RULES) throw new DaypassError('invalid_rule', `there are more than ${MAX_RULES} rules`);
  const patterns = { count: 0, size: 0 };
  return rules.flatMap((rule) => compileRule(rule, patterns));
};

const compileRule = (rule: Rule, patterns: { count: number; size: number }): readonly Entry[] => {
  const text = printRule(rule);
  switch (rule.kind) {
    case 'template':
      return [compileTemplateRule(rule, text)];
    case 'regex': {
      const pattern = compilePattern(rule.pattern);
      patterns.count += 1;
      patterns.size += pattern.size;
      if (patterns.count > MAX_REGEX_RULES || patterns.size > MAX_PATTERNS_SIZE) {
        throw new DaypassError('invalid_rule', 'there are too many or too costly rules with ~');
      }
      const matches = pattern.matchesWhole;
      return [
        { kind: 'request', text, methods: rule.methods, matches, head: undefined, body: undefined, batch: undefined },
      ];
    }
    case 'scope':
      return [{ kind: 'scope', text, name: rule.name }];
    case 'graphql':
      return [compileCallRule(rule, text, 'graphql', graphqlCheck(rule), rule.batch)];
    case 'mcp':
      return [compileCallRule(rule, text, 'mcp', mcpCheck(rule), true)];
    case 'op':
      return [];
    default:
      return rule satisfies never;
  }
};

const compileTemplateRule = (rule: TemplateRule, text: string): RequestEntry => {
  const checks = jsonChecks(rule.conditions);
  return {
    kind: 'request',
    text,
    methods: rule.methods,
    matches: compileTemplate(rule.segments),
    head: headCheck(rule.conditions, rule.segments),
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
  const head = headCheck(rule.conditions, rule.segments);
  return {
    kind: 'request',
    text,
    methods: ['POST'],
    matches: compileTemplate(rule.segments),
    head: (path, details) => details.rawQuery === undefined && (head === undefined || head(path, details)),
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
  body.spend(1) && checks.every((check) => check(root, (steps) => body.spend(steps)));

const headCheck = (conditions: Conditions, segments: readonly Segment[]): HeadCheck | undefined => {
  const checks = conditions.flatMap((condition) => compileHeadCheck(condition, segments) ?? []);
  if (checks.length === 0) return undefined;
  return (path, details) => checks.every((check) => check(path, details));
};

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
