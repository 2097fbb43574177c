// Reads the conditions of a rule: what follows `where`.

import { findAmbiguity } from './ambiguity.ts';
import { readDecimal } from './decimal.ts';
import { isRequestFieldDropped } from './dropped-fields.ts';
import { foldName } from './fold.ts';
import { isQueryName, queryFamily } from './query-family.ts';
import { MAX_BODY_DEPTH } from './request-body.ts';
import {
  type Condition,
  type Conditions,
  MAX_CONDITIONS,
  type Operator,
  type Step,
  type Subject,
  type Test,
  type Value,
} from './rule.ts';
import { compareConditions, compareValues, sortUnique } from './rule-order.ts';
import { SEGMENT_NAME } from './rule-template.ts';
import type { RuleText } from './rule-text.ts';

/** What the conditions of a kind of rule may speak of. */
export type Speaks = {
  readonly of: readonly Subject['in'][];
  /** The names of the rule's template; `undefined`: it is not known yet. */
  readonly names: readonly string[] | undefined;
};

/**
 * Reads to the end of the text, in canonical order; none if the text is at its end already.
 * @throws DaypassError `invalid_rule` with the column
 */
export const parseConditions = (source: RuleText, speaks: Speaks): Conditions => {
  if (source.isAtEnd) return [];
  if (!source.take(' where ')) throw source.wrong('the rule must end here, or go on with " where " and conditions');
  const conditions: Condition[] = [];
  for (;;) {
    source.skipSpaces();
    const start = source.at;
    const condition = parseCondition(source, speaks);
    refuseTwoSpellings(source, start, condition.subject, conditions);
    conditions.push(condition);
    if (conditions.length > MAX_CONDITIONS) throw source.wrong(`at most ${MAX_CONDITIONS} conditions`, start);
    const end = source.at;
    source.skipSpaces();
    if (source.isAtEnd) {
      if (source.at > end) throw source.wrong('a space at the end', end);
      return sortUnique(conditions, compareConditions);
    }
    if (source.at === end || !source.take('and '))
      throw source.wrong('" and " and another condition, or the end, is needed');
  }
};

const parseCondition = (source: RuleText, speaks: Speaks): Condition => {
  if (source.take('absent ')) {
    source.skipSpaces();
    const start = source.at;
    const subject = parseSubject(source, speaks);
    if (subject.in === 'path') throw source.wrong('no path is without its segments', start);
    if ('steps' in subject && subject.steps.some(({ kind }) => kind === 'each'))
      throw source.wrong('absent takes no [*]', start);
    return { subject, test: { kind: 'absent' } };
  }
  const subject = parseSubject(source, speaks);
  source.skipSpaces();
  return { subject, test: parseTest(source, subject) };
};

const SUBJECTS: readonly Subject['in'][] = ['path', 'query', 'header', 'body', 'arg'];

const parseSubject = (source: RuleText, { of, names }: Speaks): Subject => {
  const start = source.at;
  const word = source.match(/[a-z]+/y);
  const kind = SUBJECTS.find((one) => one === word);
  if (kind === undefined) throw source.wrong('path., query., header., body., arg. or absent is needed', start);
  if (!of.includes(kind)) throw source.wrong(`${kind} cannot be constrained in this kind of rule`, start);
  if (kind === 'body' || kind === 'arg') return { in: kind, steps: parseSteps(source, kind) };
  const nameStart = source.at;
  const name = parseMember(source);
  if (name === undefined) throw source.wrong(`a name is needed, as in ${kind}.name`);
  return { in: kind, name: checkName(source, nameStart, kind, name, names) };
};

const IDENTIFIER = /[A-Za-z_$][A-Za-z0-9_$-]*/y;

/** `.name` or `["name"]`. */
const parseMember = (source: RuleText): string | undefined => {
  if (source.take('.')) {
    const name = source.match(IDENTIFIER);
    if (name === undefined) throw source.wrong('a name is needed: letters, digits, _, $ and -, or ["any name"]');
    return name;
  }
  if (!source.text.startsWith('["', source.at)) return undefined;
  source.at += 1;
  const name = source.string();
  if (!source.take(']')) throw source.wrong('] is missing');
  return name;
};

const parseSteps = (source: RuleText, kind: 'body' | 'arg'): readonly Step[] => {
  const steps: Step[] = [];
  const first = source.at;
  for (;;) {
    const start = source.at;
    if (source.take('[*]')) {
      if (kind === 'arg' && steps.length === 0) throw source.wrong('arguments have names', start);
      steps.push({ kind: 'each' });
      continue;
    }
    const name = parseMember(source);
    if (name === undefined) break;
    steps.push({ kind: 'member', name });
  }
  if (steps.length === 0) throw source.wrong(`a member is needed, as in ${kind}.name`);
  if (steps.length > MAX_BODY_DEPTH) throw source.wrong(`no body is nested deeper than ${MAX_BODY_DEPTH}`, first);
  return steps;
};

const checkName = (
  source: RuleText,
  start: number,
  kind: 'path' | 'query' | 'header',
  name: string,
  names: readonly string[] | undefined,
): string => {
  if (kind === 'header') {
    if (!/^[A-Za-z][A-Za-z0-9-]{0,63}$/.test(name)) throw source.wrong('a header name is letters, digits and -', start);
    if (isRequestFieldDropped(name.toLowerCase()))
      throw source.wrong(`${name.toLowerCase()} never passes the proxy, so that nothing can be asked of it`, start);
    return name.toLowerCase();
  }
  if (kind === 'query') {
    if (!/^[!-~](?:[ -~]*[!-~])?$/.test(name)) throw source.wrong('a query name is visible ASCII', start);
    if (!isQueryName(name)) throw source.wrong('brackets come in pairs, at the end of a query name', start);
    return name;
  }
  if (names === undefined ? SEGMENT_NAME.test(name) : names.includes(name)) return name;
  throw source.wrong(`the path of the rule has no {${name}}`, start);
};

const OPERATORS: readonly Operator[] = ['>=', '<=', '>', '<'];

const parseTest = (source: RuleText, subject: Subject): Test => {
  const operator = OPERATORS.find((one) => source.take(one));
  if (operator !== undefined) {
    source.skipSpaces();
    const start = source.at;
    const bound = parseValue(source, subject);
    if (bound.kind !== 'number') throw source.wrong(`${operator} compares numbers only`, start);
    return { kind: 'compare', operator, bound: bound.text };
  }
  if (source.take('=')) {
    source.skipSpaces();
    return { kind: 'in', values: [parseValue(source, subject)] };
  }
  if (source.match(/in(?=[ [])/y) === undefined) throw source.wrong('=, in, <, <=, > or >= is needed');
  source.skipSpaces();
  return { kind: 'in', values: parseList(source, subject) };
};

const parseList = (source: RuleText, subject: Subject): readonly Value[] => {
  if (!source.take('[')) throw source.wrong('[ is missing');
  const values: Value[] = [];
  do {
    source.skipSpaces();
    values.push(parseValue(source, subject));
    source.skipSpaces();
  } while (source.take(','));
  if (!source.take(']')) throw source.wrong('a comma or ] is missing');
  return sortUnique(values, compareValues);
};

const parseValue = (source: RuleText, subject: Subject): Value => {
  const start = source.at;
  if (source.text[start] === '"') {
    const value = source.string();
    refuseUnmatchable(source, start, subject, value);
    return { kind: 'string', value };
  }
  const digits = source.match(/[-+.0-9][-+.0-9A-Za-z]*/y);
  if (digits !== undefined) {
    const text = readDecimal(digits);
    if (text === undefined)
      throw source.wrong('a plain decimal within ±2^53 is needed, with a fraction of at most 15 digits in all', start);
    return { kind: 'number', text };
  }
  const word = source.match(/[a-z]+/y);
  if (word !== 'true' && word !== 'false' && word !== 'null')
    throw source.wrong('a string, a number, true, false or null is needed', start);
  if (!('steps' in subject)) throw source.wrong(`${subject.in} values are text: "${word}"`, start);
  return word === 'null' ? { kind: 'null' } : { kind: 'boolean', value: word === 'true' };
};

// A literal that no request can hold would look like a grant and never be one.
const refuseUnmatchable = (source: RuleText, start: number, subject: Subject, value: string): void => {
  if (subject.in === 'path' && (value === '' || value.includes('/') || findAmbiguity(`/${value}`, true) !== undefined))
    throw source.wrong('no segment of a path can be that; it is compared without decoding', start);
  if (subject.in === 'header' && !/^(?:[!-~](?:[ -~]*[!-~])?)?$/.test(value))
    throw source.wrong('no header can be that', start);
};

// Two names that some upstream takes for one: what they say together would depend on the reader.
const refuseTwoSpellings = (source: RuleText, start: number, subject: Subject, before: Conditions): void => {
  const other = before.find((one) => areTwoSpellings(one.subject, subject));
  if (other !== undefined) throw source.wrong('another condition names this in another spelling', start);
};

const areTwoSpellings = (a: Subject, b: Subject): boolean => {
  if (a.in === 'query' && b.in === 'query') return a.name !== b.name && queryFamily(a.name) === queryFamily(b.name);
  if (!('steps' in a) || !('steps' in b)) return false;
  for (const [index, step] of a.steps.entries()) {
    const other = b.steps[index];
    if (other === undefined || step.kind !== other.kind) return false;
    if (step.kind === 'each' || other.kind === 'each' || step.name === other.name) continue;
    return foldName(step.name) === foldName(other.name);
  }
  return false;
};
