// Likely requests of a rule: each thing that it leaves open tried in a few ways.

import { firstDecimals, rangeAround } from './decimal-range.ts';
import { callBody, type Draft, type ExampleRequest, placeValues } from './request-draft.ts';
import type { Condition, Conditions, Methods, Rule, Segment, Subject, Value } from './rule.ts';
import { compareSubjects, sortUnique } from './rule-order.ts';
import { passesAll, type Reading } from './value-set.ts';

/** One thing that can be chosen in several ways, the likeliest first. */
type Axis = readonly ((draft: Draft) => void)[];

/** Requests to try, the plainest first; the matcher decides which of them `rule` allows. `hints` say what to vary. */
export function* makeCandidates(rule: Rule, hints: readonly Rule[]): Generator<ExampleRequest, undefined> {
  const axes = axesOf(rule, hints);
  for (const choice of choicesOf(axes.map(({ length }) => length))) {
    const draft: Draft = {
      method: 'GET',
      path: [],
      query: [],
      headers: {},
      json: undefined,
      isBatch: false,
      fields: [],
    };
    for (const [index, axis] of axes.entries()) axis[choice[index] ?? 0]?.(draft);
    yield requestOf(rule, draft);
  }
  return undefined;
}

/** All first, then one axis varied, then two, then three. */
function* choicesOf(lengths: readonly number[]): Generator<readonly number[], undefined> {
  const first = lengths.map(() => 0);
  yield first;
  for (const depth of [1, 2, 3]) yield* varied(first, lengths, 0, depth);
  return undefined;
}

function* varied(
  base: readonly number[],
  lengths: readonly number[],
  from: number,
  depth: number,
): Generator<readonly number[], undefined> {
  for (let axis = from; axis < lengths.length; axis += 1) {
    for (let choice = 1; choice < (lengths[axis] ?? 0); choice += 1) {
      const next = base.with(axis, choice);
      if (depth === 1) yield next;
      else yield* varied(next, lengths, axis + 1, depth - 1);
    }
  }
  return undefined;
}

const axesOf = (rule: Rule, hints: readonly Rule[]): readonly Axis[] => {
  const own = conditionsOf(rule);
  const others = hints.flatMap(conditionsOf).filter(({ subject }) => subject.in !== 'path');
  const subjects = sortUnique(
    [...own, ...others].map(({ subject }) => subject).filter((subject) => subject.in !== 'path'),
    compareSubjects,
  );
  return [
    methodAxis('methods' in rule ? rule.methods : ['POST']),
    ...pathAxes(rule, own, hints),
    ...callAxes(rule),
    ...subjects.map((subject) => subjectAxis(subject, own, others)),
  ];
};

const conditionsOf = (rule: Rule): Conditions => ('conditions' in rule ? rule.conditions : []);

const methodAxis = (methods: Methods): Axis =>
  (methods === '*' ? ['GET', 'DELETE', 'POST', 'PUT', 'PATCH', 'HEAD', 'OPTIONS', 'PROPFIND'] : methods).map(
    (method) => (draft) => {
      draft.method = method;
    },
  );

const pathAxes = (rule: Rule, conditions: Conditions, hints: readonly Rule[]): readonly Axis[] => {
  if (rule.kind === 'regex')
    return [patternPaths(rule.pattern).map((path) => (draft) => draft.path.push(path.slice(1)))];
  if (!('segments' in rule)) return [];
  return rule.segments.map((segment, index) =>
    segmentTexts(segment, conditions, hints, index).map((text) => (draft) => void draft.path.push(text)),
  );
};

const FRESH = ['example', 'example-2', 'example-3'];
const TAILS = ['example', '', 'example/example-2', 'example/', 'example/example-2/example-3'];

const segmentTexts = (
  segment: Segment,
  conditions: Conditions,
  hints: readonly Rule[],
  index: number,
): readonly string[] => {
  if (segment.kind === 'literal') return [segment.text];
  if (segment.kind === 'rest') return TAILS;
  const own = conditions.filter(({ subject }) => segment.kind === 'name' && isName(subject, segment.name));
  const asked = textsOf(passing(own.flatMap(valuesOf), own, 'text'));
  const near = hints.flatMap((hint) => {
    const other = 'segments' in hint ? hint.segments[index] : undefined;
    if (other?.kind === 'literal' && other.text !== '') return [other.text];
    if (other?.kind !== 'name') return [];
    return conditionsOf(hint)
      .filter(({ subject }) => isName(subject, other.name))
      .flatMap((condition) => textsOf(valuesOf(condition)));
  });
  return own.length > 0 ? unique(asked) : unique([...FRESH, ...near]);
};

const isName = (subject: Subject, name: string): boolean => subject.in === 'path' && subject.name === name;

/** What a pattern may match if its usual parts are filled in. */
const patternPaths = (pattern: string): readonly string[] =>
  unique(
    ['example', 'example/example-2', '1', ''].map((text) =>
      pattern
        .replace(/^\^|\$$/g, '')
        .replace(/\[\^\/\][+*]\??|\(\?:\[\^\/\]\+\)/g, text.includes('/') ? 'example' : text)
        .replace(/\\d[+*]?|\[0-9\][+*]?/g, '1')
        .replace(/\.[+*]\??/g, text)
        .replace(/\\(.)/g, '$1'),
    ),
  ).filter((path) => path.startsWith('/'));

const callAxes = (rule: Rule): readonly Axis[] => {
  if (rule.kind !== 'graphql' && rule.kind !== 'mcp') return [];
  const batch: Axis = [
    () => {},
    (draft) => {
      draft.isBatch = true;
    },
  ];
  return [fieldLists(rule).map((fields) => (draft) => void draft.fields.push(...fields)), batch];
};

type CallRule = Extract<Rule, { readonly kind: 'graphql' | 'mcp' }>;

/** Root fields together and one by one; or a method and a name. */
const fieldLists = (rule: CallRule): readonly (readonly string[])[] => {
  if (rule.kind === 'mcp')
    return rule.rpcMethods.flatMap((method) => (rule.names ?? FRESH).map((name) => [method, name]));
  if (rule.fields === '*') return FRESH.map((text) => [text.replace('-', '_')]);
  return [rule.fields, ...rule.fields.map((field) => [field])];
};

const subjectAxis = (subject: Subject, own: Conditions, others: Conditions): Axis => {
  const isOwn = ({ subject: other }: Condition) => compareSubjects(subject, other) === 0;
  const mine = own.filter(isOwn);
  const all = uniqueValues([...[...mine, ...others.filter(isOwn)].flatMap(valuesOf), ANY_VALUE]);
  const values = passing(all, mine, 'steps' in subject ? 'json' : 'text');
  // Several at once, where `[*]` lets each element be another one.
  const several = 'steps' in subject && subject.steps.some(({ kind }) => kind === 'each') && values.length > 1;
  const lists = [...(several ? [values] : []), ...values.map((value) => [value])];
  const put = lists.map((list) => (draft: Draft) => placeValues(draft, subject, list));
  return mine.some(({ test }) => test.kind !== 'absent') ? put : [() => {}, ...put];
};

const ANY_VALUE: Value = { kind: 'string', value: 'example' };

/** Those of the values that pass every test of what must be there. */
const passing = (values: readonly Value[], conditions: Conditions, reading: Reading): readonly Value[] =>
  values.filter((value) =>
    conditions.every(
      ({ test }) => test.kind === 'absent' || passesAll({ kind: 'list', values: [value] }, test, reading),
    ),
  );

/** Values that a test lets through, or just not. */
const valuesOf = ({ test, subject }: Condition): readonly Value[] => {
  if (test.kind === 'in') {
    if ('steps' in subject) return test.values;
    return test.values.flatMap((value) => (value.kind === 'number' ? [value, respelled(value.text)] : [value]));
  }
  if (test.kind === 'absent') return [];
  const near = [test.bound, ...nextWholes(test.bound), ...firstDecimals(rangeAround(test.bound), 3)];
  return near.map((text) => ({ kind: 'number', text }));
};

const nextWholes = (text: string): readonly string[] =>
  text.includes('.') ? [] : [String(BigInt(text) + 1n), String(BigInt(text) - 1n)];

/** Another way to write a number, for those who compare texts. */
const respelled = (text: string): Value => ({ kind: 'string', value: text.includes('.') ? `${text}0` : `${text}.0` });

const textsOf = (values: readonly Value[]): readonly string[] =>
  values.flatMap((value) => {
    if (value.kind === 'number') return [value.text];
    return value.kind === 'string' ? [value.value] : [];
  });

const unique = (texts: readonly string[]): readonly string[] => [...new Set(texts)];

const uniqueValues = (values: readonly Value[]): readonly Value[] => {
  const seen = new Map(values.map((value) => [JSON.stringify(value), value]));
  return [...seen.values()];
};

const requestOf = (rule: Rule, draft: Draft): ExampleRequest => {
  const { method, path, query, headers } = draft;
  const json = rule.kind === 'graphql' || rule.kind === 'mcp' ? callBody(rule, draft) : draft.json;
  const body = json === undefined ? undefined : JSON.stringify(json);
  return {
    method,
    path: `/${path.join('/')}`,
    query: query.length === 0 ? undefined : query.join('&'),
    headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
    body,
  };
};
