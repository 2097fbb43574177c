// A list of rules laid out so that those which may cover a rule are found by its path, and not by trying all.

import { compilePattern, type Pattern } from './pattern.ts';
import type { RegexRule, Rule, Segment } from './rule.ts';
import { printRule } from './rule-print.ts';
import { type RuleReading, readRule } from './rule-reading.ts';
import type { ValueSet } from './value-set.ts';

/** Rules made ready to be compared with others. Larger than the rules themselves; may be kept and used again. */
export type Ceiling = {
  /** Whether a rule of this canonical text is among them. */
  readonly texts: ReadonlySet<string>;
  /** Whether a template is among them. */
  hasPaths(): boolean;
  /** All rules that may cover the rule or a part of it, and few others; no more once the budget is used up. */
  candidates(reading: RuleReading, budget: Budget): Iterable<RuleReading>;
  /** A few rules that begin like it: those to name when none comes nearer. */
  hints(rule: Rule): readonly RuleReading[];
};

/** How much may still be compared: about a quarter of a microsecond each. */
export type Budget = { left: number };

/** Makes rules ready to be compared with. */
export const createCeiling = (rules: readonly Rule[]): Ceiling => {
  const ceiling = startCeiling();
  for (const rule of rules) ceiling.add(rule);
  return ceiling;
};

/** An empty ceiling, to which rules can be added: for who has other things to do in between. */
export const startCeiling = (): Ceiling & { add(rule: Rule): void } => {
  const root = createNode();
  const expressions: RuleReading[] = [];
  const texts = new Set<string>();
  const [all, others, byFirst]: [RuleReading[], RuleReading[], Map<string, RuleReading[]>] = [[], [], new Map()];
  let hasPaths = false;
  return {
    texts,
    hasPaths: () => hasPaths,
    candidates: (reading, budget) => candidates(root, expressions, reading, budget),
    hints: (rule) => {
      const first = firstLiteral(rule);
      return first === undefined ? all : [...(byFirst.get(first) ?? []), ...others];
    },
    add: (rule) => {
      const reading = readRule(rule);
      texts.add(printRule(rule));
      hasPaths ||= rule.kind === 'template';
      if ('segments' in rule) insert(root, rule.segments, reading);
      else if (rule.kind === 'regex') expressions.push(reading);
      const first = firstLiteral(rule);
      const list = first === undefined ? others : (byFirst.get(first) ?? []);
      if (first !== undefined) byFirst.set(first, list);
      for (const hints of [all, list]) if (hints.length < HINTS) hints.push(reading);
    },
  };
};

const HINTS = 100;

const patterns = new WeakMap<RegexRule, Pattern>();

/** The pattern of a rule, compiled once. */
export const compiledPattern = (rule: RegexRule): Pattern => {
  const pattern = patterns.get(rule) ?? compilePattern(rule.pattern);
  patterns.set(rule, pattern);
  return pattern;
};

/** What lies below one place of a path. */
type Node = {
  readonly literals: Map<string, Node>;
  /** Below `{name}` and `*`. */
  wild: Node | undefined;
  /** Rules that end here. */
  readonly ends: RuleReading[];
  /** Rules that go on with `**`. */
  readonly rests: RuleReading[];
};

const createNode = (): Node => ({ literals: new Map(), wild: undefined, ends: [], rests: [] });

const insert = (root: Node, segments: readonly Segment[], reading: RuleReading): void => {
  let node = root;
  for (const segment of segments) {
    if (segment.kind === 'rest') {
      node.rests.push(reading);
      return;
    }
    if (segment.kind === 'literal') {
      const next = node.literals.get(segment.text) ?? createNode();
      node.literals.set(segment.text, next);
      node = next;
    } else {
      node.wild ??= createNode();
      node = node.wild;
    }
  }
  node.ends.push(reading);
};

function* candidates(
  root: Node,
  expressions: readonly RuleReading[],
  reading: RuleReading,
  budget: Budget,
): Generator<RuleReading> {
  const { rule } = reading;
  if ('segments' in rule) yield* below(root, { segments: rule.segments, path: reading.path, budget }, 0);
  else if (rule.kind === 'regex') yield* root.rests;
  if ('segments' in rule || rule.kind === 'regex') yield* expressions;
}

type Search = {
  readonly segments: readonly Segment[];
  readonly path: readonly (ValueSet | undefined)[];
  readonly budget: Budget;
};

function* below(node: Node, search: Search, at: number): Generator<RuleReading> {
  const segment = search.segments[at];
  if (segment === undefined) {
    yield* node.ends;
    return;
  }
  yield* node.rests;
  if (segment.kind === 'rest') return;
  const texts = textsOf(search.path[at]);
  search.budget.left -= NODE_COST + texts.length;
  if (search.budget.left < 0) return;
  for (const text of texts) {
    const next = node.literals.get(text);
    if (next !== undefined) yield* below(next, search, at + 1);
  }
  // An empty segment is none that `*` stands for.
  if (node.wild !== undefined && !(segment.kind === 'literal' && segment.text === ''))
    yield* below(node.wild, search, at + 1);
}

const NODE_COST = 8;

/** The texts that may stand at a place, where they are listed. */
const textsOf = (set: ValueSet | undefined): readonly string[] =>
  set?.kind === 'list' ? set.values.flatMap((value) => (value.kind === 'string' ? [value.value] : [])) : [];

const firstLiteral = (rule: Rule): string | undefined => {
  const first = 'segments' in rule ? rule.segments[0] : undefined;
  return first?.kind === 'literal' ? first.text : undefined;
};
