// A rule with its conditions gathered by subject, ready to be compared with other rules.

import { isImpossible, type JsonShape, jsonShapeOf, shapeImplies } from './json-shape.ts';
import { queryFamily } from './query-family.ts';
import { readContentHeaders } from './request-body.ts';
import type { Condition, Conditions, Methods, Rule, Segment } from './rule.ts';
import { isEmptySet, passesAll, type ValueSet, type ValueTest, valueSetOf } from './value-set.ts';

/** A rule that speaks of a path segment by segment. */
export type PathRule = Extract<Rule, { readonly segments: readonly Segment[] }>;

/** What a rule says of a request. */
export type RuleReading<R extends Rule = Rule> = {
  readonly rule: R;
  readonly methods: Methods;
  /** By position in the path: what may stand there; `undefined` where that is any segment. */
  readonly path: readonly (ValueSet | undefined)[];
  /** By `queryFamily`. */
  readonly query: ReadonlyMap<string, TextClaim>;
  readonly header: ReadonlyMap<string, TextClaim>;
  readonly body: JsonShape | undefined;
  readonly arg: JsonShape | undefined;
  /** No request can meet all conditions. */
  readonly isEmpty: boolean;
};

/** What is said of a query key or a header. */
export type TextClaim = {
  readonly name: string;
  readonly absent: boolean;
  /** What it may be if it is there; `undefined`: nothing is said. */
  readonly values: ValueSet | undefined;
};

/** Gathers the conditions of a rule. */
export const readRule = <R extends Rule>(rule: R): RuleReading<R> => {
  const conditions: Conditions = 'conditions' in rule ? rule.conditions : [];
  const path = 'segments' in rule ? rule.segments.map((segment) => segmentSet(segment, conditions)) : [];
  const query = textClaims(conditions, 'query');
  const header = textClaims(conditions, 'header');
  const body = jsonShapeOf(conditions, 'body');
  const arg = jsonShapeOf(conditions, 'arg');
  const isCall = isCallRule(rule);
  const isEmpty =
    (body !== undefined && !mayBeJson(header, undefined)) ||
    (isCall && !mayBeJson(header, 'application/json')) ||
    path.some((set) => set !== undefined && isEmptySet(set)) ||
    [...query.values(), ...header.values()].some(isContradiction) ||
    (body !== undefined && isImpossible(body)) ||
    (arg !== undefined && isImpossible(arg));
  return { rule, methods: methodsOf(rule), path, query, header, body, arg, isEmpty };
};

/** Whether every request that a rule (which is not empty) allows meets a condition of another one. */
export const implies = (reading: RuleReading, condition: Condition, segments: readonly Segment[]): boolean => {
  const { subject, test } = condition;
  switch (subject.in) {
    case 'path': {
      const set = reading.path[segments.findIndex((one) => one.kind === 'name' && one.name === subject.name)];
      return set !== undefined && test.kind !== 'absent' && passesAll(set, test, 'text');
    }
    case 'query':
      // GraphQL and MCP rules allow no query at all.
      if (test.kind === 'absent' && isCallRule(reading.rule)) return true;
      return claimImplies(reading.query.get(queryFamily(subject.name)), subject.name, condition);
    case 'header':
      return claimImplies(reading.header.get(subject.name), subject.name, condition);
    case 'body':
    case 'arg': {
      const shape = reading[subject.in];
      return shape !== undefined && shapeImplies(shape, { steps: subject.steps, test });
    }
    default:
      return subject satisfies never;
  }
};

const methodsOf = (rule: Rule): Methods => {
  if ('methods' in rule) return rule.methods;
  return isCallRule(rule) ? ['POST'] : [];
};

const isCallRule = ({ kind }: Rule): boolean => kind === 'graphql' || kind === 'mcp';

const segmentSet = (segment: Segment, conditions: Conditions): ValueSet | undefined => {
  if (segment.kind === 'literal') return { kind: 'list', values: [{ kind: 'string', value: segment.text }] };
  if (segment.kind !== 'name') return undefined;
  return setOf(
    conditions.flatMap(({ subject, test }) =>
      subject.in === 'path' && subject.name === segment.name && test.kind !== 'absent' ? [test] : [],
    ),
  );
};

const setOf = (tests: readonly ValueTest[]): ValueSet | undefined =>
  tests.length === 0 ? undefined : valueSetOf(tests, 'text');

const textClaims = (conditions: Conditions, kind: 'query' | 'header'): ReadonlyMap<string, TextClaim> => {
  const claims = new Map<string, { name: string; absent: boolean; tests: ValueTest[] }>();
  for (const { subject, test } of conditions) {
    if (subject.in !== kind) continue;
    const key = kind === 'query' ? queryFamily(subject.name) : subject.name;
    const claim = claims.get(key) ?? { name: subject.name, absent: false, tests: [] };
    claims.set(key, claim);
    if (test.kind === 'absent') claim.absent = true;
    else claim.tests.push(test);
  }
  return new Map([...claims].map(([key, { name, absent, tests }]) => [key, { name, absent, values: setOf(tests) }]));
};

/** Whether the content headers that are asked for can be those of a body that rules read. */
const mayBeJson = (header: ReadonlyMap<string, TextClaim>, wanted: string | undefined): boolean => {
  const isWanted = (text: string): boolean => {
    const read = readContentHeaders({ type: [text], encoding: [] });
    return 'mediaType' in read && (wanted === undefined || read.mediaType === wanted);
  };
  const type = header.get('content-type');
  const encoding = header.get('content-encoding')?.values;
  return (
    type?.absent !== true &&
    someText(type?.values, isWanted) &&
    someText(encoding, (text) => 'mediaType' in readContentHeaders({ type: ['application/json'], encoding: [text] }))
  );
};

const someText = (set: ValueSet | undefined, fits: (text: string) => boolean): boolean =>
  set === undefined ||
  (set.kind === 'list' && set.values.some((value) => value.kind === 'string' && fits(value.value)));

const isContradiction = ({ absent, values }: TextClaim): boolean =>
  values !== undefined && (absent || isEmptySet(values));

const claimImplies = (claim: TextClaim | undefined, name: string, { test }: Condition): boolean => {
  if (claim === undefined) return false;
  if (test.kind === 'absent') return claim.absent;
  return claim.values !== undefined && claim.name === name && passesAll(claim.values, test, 'text');
};
