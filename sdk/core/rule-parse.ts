// Reads rule texts.

import { DaypassError } from './errors.ts';
import { isMethod, NEVER_FORWARDED } from './method.ts';
import { compilePattern } from './pattern.ts';
import {
  type GraphqlOperation,
  type GraphqlRule,
  MAX_REGEX_CHARS,
  MAX_REGEX_RULES,
  MAX_RULE_CHARS,
  MAX_RULES,
  type McpRule,
  type Methods,
  NAMED_METHODS,
  type OpRule,
  type Rule,
  type ScopeRule,
  type Segment,
} from './rule.ts';
import { compareTexts, sortUnique } from './rule-order.ts';
import { parseTemplate } from './rule-template.ts';
import { RuleText, wrong } from './rule-text.ts';
import { parseConditions } from './rule-where.ts';

/**
 * Reads one rule. Lists and conditions may come in any order; `printRule` gives the canonical form.
 * @throws DaypassError `invalid_rule` with the 1-based column and a message that quotes the text
 */
export const parseRule = (text: string): Rule => {
  if (text.length > MAX_RULE_CHARS) throw wrong(text, MAX_RULE_CHARS, `it is longer than ${MAX_RULE_CHARS} characters`);
  const strange = text.search(/[^ -~]/);
  if (strange >= 0) throw wrong(text, strange, 'only visible ASCII characters and spaces may stand in a rule');
  const source = new RuleText(text, 0);
  if (source.take('scope:')) return parseScope(text);
  if (source.take('op:')) return parseOp(source);
  if (source.take('graphql ')) return parseGraphql(source);
  if (source.take('mcp ')) return parseMcp(source);
  const space = text.indexOf(' ');
  if (space < 0) throw wrong(text, text.length, 'a method, one space and a path are needed, as in GET /items/{id}');
  const methods = parseMethods(text, space);
  source.at = space + 1;
  if (source.take('~')) return { kind: 'regex', methods, pattern: parsePattern(source) };
  const segments = parsePath(source);
  const conditions = parseConditions(source, { of: ['path', 'query', 'header', 'body'], names: namesOf(segments) });
  return { kind: 'template', methods, segments, conditions };
};

/**
 * Reads a list of rules, of which at most 64 may be `~` rules.
 * @throws DaypassError `invalid_rule`
 */
export const parseRules = (texts: readonly string[]): readonly Rule[] => {
  if (texts.length > MAX_RULES) throw new DaypassError('invalid_rule', `there are more than ${MAX_RULES} rules`);
  let regexes = 0;
  return texts.map((text) => {
    const rule = parseRule(text);
    if (rule.kind === 'regex') regexes += 1;
    if (regexes > MAX_REGEX_RULES) throw wrong(text, 0, `there are more than ${MAX_REGEX_RULES} rules with ~`);
    return rule;
  });
};

const SCOPE_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;

const parseScope = (text: string): ScopeRule => {
  const name = text.slice('scope:'.length);
  if (!SCOPE_NAME.test(name)) {
    throw wrong(text, 'scope:'.length, 'a scope name is 1 to 64 letters, digits, dots, dashes and underscores');
  }
  return { kind: 'scope', name };
};

const parseMethods = (text: string, end: number): Methods => {
  const list = text.slice(0, end);
  if (list === '*') return '*';
  const methods = new Set<string>();
  let column = 0;
  for (const method of list.split(',')) {
    if (!isMethod(method)) throw wrong(text, column, 'a method in upper case is needed, or * alone');
    if (NEVER_FORWARDED.has(method)) throw wrong(text, column, `${method} is never forwarded`);
    methods.add(method);
    column += method.length + 1;
  }
  return [...methods].sort();
};

const parsePath = (source: RuleText): readonly Segment[] => {
  const start = source.at;
  source.word();
  return parseTemplate(source.text, start, source.at);
};

const namesOf = (segments: readonly Segment[]): readonly string[] =>
  segments.flatMap((segment) => (segment.kind === 'name' ? [segment.name] : []));

const parsePattern = (source: RuleText): string => {
  const { text, at: start } = source;
  const pattern = source.word();
  if (pattern === '') throw source.wrong('a pattern is missing', start);
  if (text.startsWith(' where ', source.at)) throw source.wrong('a ~ rule takes no conditions', source.at + 1);
  if (!source.isAtEnd) throw source.wrong('no path has a space');
  if (pattern.length > MAX_REGEX_CHARS) {
    throw source.wrong(`a pattern has at most ${MAX_REGEX_CHARS} characters`, start + MAX_REGEX_CHARS);
  }
  try {
    compilePattern(pattern);
  } catch (cause) {
    throw source.wrong(cause instanceof Error ? cause.message : 'not a pattern', start);
  }
  return pattern;
};

const OPERATION_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,199}$/;

/** Whether an `op:` rule can name an operation by this id. */
export const isOperationId = (id: string): boolean => OPERATION_NAME.test(id);

const parseOp = (source: RuleText): OpRule => {
  const start = source.at;
  const operation = source.word();
  if (!OPERATION_NAME.test(operation))
    throw source.wrong(
      'an operation is 1 to 200 letters, digits, dots, colons, slashes, dashes and underscores',
      start,
    );
  const speaks = ['path', 'query', 'header', 'body', 'arg'] as const;
  return { kind: 'op', operation, conditions: parseConditions(source, { of: speaks, names: undefined }) };
};

const OPERATIONS: readonly GraphqlOperation[] = ['query', 'mutation', 'subscription', 'persisted'];
const FIELD = /^[_A-Za-z][_0-9A-Za-z]{0,127}$/;
const DOCUMENT = /^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,127}$/;

const parseGraphql = (source: RuleText): GraphqlRule => {
  const segments = parsePath(source);
  takeSpace(source, 'query, mutation, subscription or persisted is needed');
  const batch = source.take('batch ');
  const start = source.at;
  const word = source.word();
  const operation = OPERATIONS.find((one) => one === word);
  if (operation === undefined) throw source.wrong('query, mutation, subscription or persisted is needed', start);
  takeSpace(source, operation === 'persisted' ? 'the name of a document is needed' : 'a root field is needed, or *');
  const fields = parseFields(source, operation);
  const conditions = parseConditions(source, { of: ['path', 'header', 'arg'], names: namesOf(segments) });
  return { kind: 'graphql', segments, batch, operation, fields, conditions };
};

const parseFields = (source: RuleText, operation: GraphqlOperation): GraphqlRule['fields'] => {
  if (operation === 'persisted') return parseList(source, DOCUMENT, 'the name of a document is needed');
  const start = source.at;
  if (source.word() === '*') return '*';
  source.at = start;
  return parseList(source, FIELD, 'the name of a root field is needed');
};

const RPC_METHOD = /^[A-Za-z_$][A-Za-z0-9_$./-]{0,127}$/;
const RPC_NAME = /^[!#-+\--[\]-~]{1,128}$/;

const parseMcp = (source: RuleText): McpRule => {
  const segments = parsePath(source);
  takeSpace(source, 'a method is needed, as in tools/call');
  const rpcMethods = parseList(source, RPC_METHOD, 'the name of a method is needed');
  const names = parseNames(source, rpcMethods);
  const conditions = parseConditions(source, { of: ['path', 'header', 'arg'], names: namesOf(segments) });
  return { kind: 'mcp', segments, rpcMethods, names, conditions };
};

const parseNames = (source: RuleText, rpcMethods: readonly string[]): readonly string[] | undefined => {
  if (source.isAtEnd || source.text.startsWith(' where ', source.at)) return undefined;
  takeSpace(source, 'the rule must end here');
  const [only = ''] = rpcMethods;
  if (rpcMethods.length > 1 || !NAMED_METHODS.has(only))
    throw source.wrong('names go with tools/call alone, or prompts/get alone');
  return parseList(source, RPC_NAME, 'a name of visible characters without comma, quote and backslash is needed');
};

const takeSpace = (source: RuleText, needed: string): void => {
  if (!source.take(' ') || source.isAtEnd) throw source.wrong(needed);
};

/** A list with commas and no spaces, sorted. */
const parseList = (source: RuleText, item: RegExp, needed: string): readonly string[] => {
  let { at } = source;
  const items = source.word().split(',');
  for (const text of items) {
    if (!item.test(text)) throw source.wrong(needed, at);
    at += text.length + 1;
  }
  return sortUnique(items, compareTexts);
};
