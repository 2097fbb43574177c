// Whether one list of rules allows nothing that another does not.

import type { Condition, GraphqlRule, McpRule, Methods, RegexRule, Rule, Segment, Value } from './rule.ts';
import { type Budget, type Ceiling, compiledPattern, createCeiling } from './rule-ceiling.ts';
import { printRule } from './rule-print.ts';
import { implies, type PathRule, type RuleReading, readRule } from './rule-reading.ts';

/** Why a rule does not lie within another one. */
export type Clause =
  /** There is none of its kind to be compared with. */
  | { readonly kind: 'form' }
  | { readonly kind: 'methods' }
  | { readonly kind: 'path' }
  /** GraphQL operation and root fields, JSON-RPC method and name. */
  | { readonly kind: 'operation' }
  /** A condition of the other rule does not follow. */
  | { readonly kind: 'condition'; readonly condition: Condition }
  /** The lists split into more combinations than are looked at. */
  | { readonly kind: 'combinations' };

/** A rule that no rule of the ceiling covers. */
export type Gap = {
  /** The rule as it stands in the list. */
  readonly of: Rule;
  /** What of it is not covered, split only as far as some rule of the ceiling covers a part. */
  readonly part: Rule;
  /** The first of that with all lists split: one method, one value. */
  readonly rule: Rule;
  /** The rule of the ceiling that comes nearest; `undefined` if none is of such a kind, or begins like it. */
  readonly nearest: Rule | undefined;
  /** What of `nearest` decides. */
  readonly clause: Clause;
};

export type Coverage = { readonly covered: true } | ({ readonly covered: false } & Gap);

/**
 * Whether each rule of `b`, its methods and `in` lists split, lies within one rule of `a`. Never says yes to what is
 * wider. Says yes to every single pair of template rules that is not; but no where only several rules together would
 * cover, and for `~` rules wherever it is not plain. `scope:NAME` and `op:` rules are covered by the same rule alone.
 */
export const covers = (a: readonly Rule[] | Ceiling, b: readonly Rule[], budget?: Budget): Coverage => {
  for (const gap of gapsBetween(a, b, budget)) return { covered: false, ...gap };
  return { covered: true };
};

/** What of `b` no single rule of `a` covers, in the order of `b`; where the budget ends, what is left is not covered. */
export function* gapsBetween(
  a: readonly Rule[] | Ceiling,
  b: readonly Rule[],
  budget: Budget = { left: MAX_COST },
): Generator<Gap, undefined> {
  const ceiling = 'texts' in a ? a : createCeiling(a);
  for (const rule of b) {
    if (ceiling.texts.has(printRule(rule))) continue;
    const reading = readRule(rule);
    for (const gap of gapsOf(rule, reading, ceiling.candidates(reading, budget), { ceiling, budget })) {
      const beginsOtherwise = gap.clause.kind === 'form' && 'segments' in rule && ceiling.hasPaths();
      yield beginsOtherwise ? { ...gap, clause: { kind: 'path' } } : gap;
    }
  }
  return undefined;
}

/** Two seconds or so. */
const MAX_COST = 10_000_000;

type Near = { readonly rule: Rule; readonly clause: Clause; readonly rank: number };
type Run = { readonly ceiling: Ceiling; readonly budget: Budget };

function* gapsOf(
  of: Rule,
  reading: RuleReading,
  candidates: Iterable<RuleReading>,
  run: Run,
): Generator<Gap, undefined> {
  const { rule } = reading;
  const { budget } = run;
  if (reading.isEmpty) return undefined;
  let nearest: Near | undefined;
  const remaining: RuleReading[] = [];
  for (const candidate of candidates) {
    budget.left -= 1;
    if (budget.left < 0) break;
    const clause = obstacle(candidate, reading);
    budget.left -= costOf(clause, candidate.rule, rule);
    if (clause === undefined) return undefined;
    const rank = rankOf(clause, candidate.rule);
    if (nearest === undefined || rank > nearest.rank) nearest = { rule: candidate.rule, clause, rank };
    if (mayCoverPart(clause, candidate, reading)) remaining.push(candidate);
  }
  if (budget.left < 0) {
    yield { of, part: rule, rule, nearest: undefined, clause: { kind: 'combinations' } };
    return undefined;
  }
  const parts = remaining.length === 0 ? undefined : split(rule);
  if (parts !== undefined) {
    for (const part of parts) {
      budget.left -= READING_COST + weightOf(part);
      yield* gapsOf(of, readRule(part), remaining, run);
    }
    return undefined;
  }
  const near = nearest === undefined || nearest.rank <= RANK_OF_PATH ? nearestHint(reading, run.ceiling) : nearest;
  const found = { of, part: rule, rule: firstPart(rule) };
  yield { ...found, nearest: near?.rule, clause: near?.clause ?? { kind: 'form' } };
  return undefined;
}

/** Comparisons of paths that take as long as a rule's reading. */
const READING_COST = 4;
const RANK_OF_PATH = 1;

/** What a comparison took beyond that of the paths: conditions look through each other's lists, patterns through a path. */
const costOf = (clause: Clause | undefined, a: Rule, b: Rule): number => {
  if (clause !== undefined && clause.kind !== 'condition') return a.kind === 'regex' ? PATTERN_COST : 0;
  return weightOf(a) + (valuesOf(a) * valuesOf(b)) / 32 + weightOf(b);
};

const PATTERN_COST = 50;

const weightOf = (rule: Rule): number =>
  rule.kind === 'regex'
    ? PATTERN_COST
    : 'conditions' in rule
      ? 8 * rule.conditions.length + valuesOf(rule) ** 2 / 32
      : 0;

const valuesOf = (rule: Rule): number =>
  'conditions' in rule
    ? rule.conditions.reduce((sum, { test }) => sum + (test.kind === 'in' ? test.values.length : 1), 0)
    : 0;

/** Where no rule got further than the path: the first one that could have. */
const nearestHint = (reading: RuleReading, ceiling: Ceiling): Pick<Near, 'rule' | 'clause'> | undefined => {
  for (const hint of ceiling.hints(reading.rule)) {
    const clause = obstacle(hint, reading);
    if (clause !== undefined && clause.kind !== 'form') return { rule: hint.rule, clause };
  }
  return undefined;
};

/** How far the comparison went: a rule that fails late is nearer. */
const rankOf = (clause: Clause, rule: Rule): number => {
  switch (clause.kind) {
    case 'form':
    case 'combinations':
      return 0;
    case 'path':
      return RANK_OF_PATH;
    case 'methods':
      return 2;
    case 'operation':
      return 3;
    case 'condition':
      return 4 + ('conditions' in rule ? rule.conditions.indexOf(clause.condition) : 0);
    default:
      return clause satisfies never;
  }
};

/** The first thing in which `b` goes beyond `a`; `undefined` if it lies within. `b` is not empty. */
const obstacle = (a: RuleReading, b: RuleReading): Clause | undefined => {
  const form = formObstacle(a, b);
  if (form !== undefined) return form === 'none' ? undefined : form;
  if (!('segments' in a.rule) || !('segments' in b.rule)) return { kind: 'form' };
  if (!pathCovers(a.rule, b, b.rule)) return { kind: 'path' };
  if (!methodsCover(a.methods, b.methods)) return { kind: 'methods' };
  if (!operationCovers(a.rule, b.rule)) return { kind: 'operation' };
  const { segments, conditions } = a.rule;
  const condition = conditions.find((one) => !implies(b, one, segments));
  return condition === undefined ? undefined : { kind: 'condition', condition };
};

// Pairs in which not both speak of segments, and kinds that cannot be compared.
const formObstacle = (a: RuleReading, b: RuleReading): Clause | 'none' | undefined => {
  switch (a.rule.kind) {
    case 'scope':
    case 'op':
      return printRule(a.rule) === printRule(b.rule) ? 'none' : { kind: 'form' };
    case 'regex':
      return regexObstacle(a.rule, b);
    case 'template':
      if (b.rule.kind === 'regex') return aboveRegexObstacle(a, b);
      return b.rule.kind === 'scope' || b.rule.kind === 'op' ? { kind: 'form' } : undefined;
    case 'graphql':
    case 'mcp':
      return a.rule.kind === b.rule.kind ? undefined : { kind: 'form' };
    default:
      return a.rule satisfies never;
  }
};

/** A pattern covers the same pattern, and every single path that it matches. */
const regexObstacle = (a: RegexRule, b: RuleReading): Clause | 'none' => {
  if (b.rule.kind === 'regex') {
    if (a.pattern !== b.rule.pattern) return { kind: 'path' };
  } else {
    if (!('segments' in b.rule)) return { kind: 'form' };
    const path = onlyPath(b, b.rule);
    if (path === undefined || !compiledPattern(a).matchesWhole(path)) return { kind: 'path' };
  }
  return methodsCover(a.methods, b.methods) ? 'none' : { kind: 'methods' };
};

/** Only `/**` is known to hold every path that a pattern matches. */
const aboveRegexObstacle = (a: RuleReading, b: RuleReading): Clause | 'none' => {
  if (!('segments' in a.rule)) return { kind: 'form' };
  if (a.rule.segments[0]?.kind !== 'rest') return { kind: 'path' };
  if (!methodsCover(a.methods, b.methods)) return { kind: 'methods' };
  const [condition] = a.rule.conditions;
  return condition === undefined ? 'none' : { kind: 'condition', condition };
};

/** The path of a rule that allows one path alone. */
const onlyPath = ({ path }: RuleReading, { segments }: PathRule): string | undefined => {
  const texts: string[] = [];
  for (const index of segments.keys()) {
    const set = path[index];
    const [value, ...others] = set?.kind === 'list' ? set.values : [];
    if (value?.kind !== 'string' || others.length > 0) return undefined;
    texts.push(value.value);
  }
  return `/${texts.join('/')}`;
};

const methodsCover = (a: Methods, b: Methods): boolean =>
  a === '*' || (b !== '*' && b.every((method) => a.includes(method)));

const pathCovers = ({ segments }: PathRule, { path }: RuleReading, b: PathRule): boolean => {
  for (const [index, segment] of segments.entries()) {
    const other = b.segments[index];
    if (other === undefined) return false;
    if (segment.kind === 'rest') return true;
    if (other.kind === 'rest') return false;
    if (segment.kind === 'literal' ? !isAlways(path[index], segment.text) : isEmptyLiteral(other)) return false;
  }
  return segments.length === b.segments.length;
};

const isAlways = (set: RuleReading['path'][number], text: string): boolean =>
  set?.kind === 'list' && set.values.every((value) => value.kind === 'string' && value.value === text);

const isEmptyLiteral = (segment: Segment): boolean => segment.kind === 'literal' && segment.text === '';

const operationCovers = (a: PathRule, b: PathRule): boolean => {
  if (a.kind === 'graphql') return b.kind === 'graphql' && graphqlCovers(a, b);
  if (a.kind === 'mcp') return b.kind === 'mcp' && mcpCovers(a, b);
  return true;
};

const graphqlCovers = (a: GraphqlRule, b: GraphqlRule): boolean => {
  if (a.operation !== b.operation || (b.batch && !a.batch)) return false;
  if (a.fields !== '*') return b.fields !== '*' && isSubset(b.fields, a.fields);
  // `*` leaves out what begins so.
  return b.fields === '*' || b.fields.every((field) => !field.startsWith('__'));
};

const mcpCovers = (a: McpRule, b: McpRule): boolean =>
  isSubset(b.rpcMethods, a.rpcMethods) &&
  (a.names === undefined || (b.names !== undefined && isSubset(b.names, a.names)));

const isSubset = (inner: readonly string[], outer: readonly string[]): boolean =>
  inner.every((one) => outer.includes(one));

/** Whether a ceiling that does not cover the whole might cover a part of it. */
const mayCoverPart = (clause: Clause, a: RuleReading, { rule, methods }: RuleReading): boolean => {
  if (clause.kind === 'form') return false;
  if (clause.kind === 'path') return splitsPath(rule);
  if (clause.kind !== 'methods') return true;
  return methods !== '*' && a.methods !== '*' && methods.some((method) => a.methods.includes(method));
};

const splitsPath = (rule: Rule): boolean =>
  'conditions' in rule &&
  rule.conditions.some(({ subject, test }) => subject.in === 'path' && test.kind === 'in' && test.values.length > 1);

/** A rule's parts by its first list that can be split; `undefined` if it has none. */
const split = (rule: Rule): readonly Rule[] | undefined => {
  if ((rule.kind === 'template' || rule.kind === 'regex') && rule.methods !== '*' && rule.methods.length > 1) {
    return rule.methods.map((method) => ({ ...rule, methods: [method] }));
  }
  if (rule.kind === 'mcp') {
    if (rule.names !== undefined && rule.names.length > 1)
      return rule.names.map((name) => ({ ...rule, names: [name] }));
    if (rule.rpcMethods.length > 1) return rule.rpcMethods.map((method) => ({ ...rule, rpcMethods: [method] }));
  }
  return 'conditions' in rule ? splitConditions(rule) : undefined;
};

type WithConditions = Extract<Rule, { readonly conditions: unknown }>;

const splitConditions = (rule: WithConditions): readonly Rule[] | undefined => {
  const at = rule.conditions.findIndex((condition) => isSplittable(condition, rule));
  const condition = rule.conditions[at];
  if (condition?.test.kind !== 'in') return undefined;
  const withValue = (value: Value): Rule => ({
    ...rule,
    conditions: rule.conditions.with(at, { ...condition, test: { kind: 'in', values: [value] } }),
  });
  return condition.test.values.map(withValue);
};

// One request may hold several values of what `[*]` stands for, and several root fields with arguments of their own.
const isSplittable = ({ subject, test }: Condition, rule: WithConditions): boolean => {
  if (test.kind !== 'in' || test.values.length < 2) return false;
  if (subject.in === 'arg' && rule.kind !== 'mcp') return false;
  return !('steps' in subject) || subject.steps.every(({ kind }) => kind === 'member');
};

/** The rule with the first element of each list that can be split. */
const firstPart = (rule: Rule): Rule => {
  const [first] = split(rule) ?? [];
  return first === undefined ? rule : firstPart(first);
};
