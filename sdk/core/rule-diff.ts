// What changes between two lists of rules.

import type { ExampleRequest } from './request-draft.ts';
import type { Rule } from './rule.ts';
import { type Clause, type Gap, gapsBetween } from './rule-covers.ts';
import { exampleBetween } from './rule-example.ts';
import { type CompiledRules, compileRules } from './rule-match.ts';

/** Something that one list allows and no single rule of the other one does. */
export type Change = {
  /** The rule as it stands in its list. */
  readonly of: Rule;
  /** The part of it that is not covered. */
  readonly part: Rule;
  /** What of `nearest`, a rule of the other list, decides. */
  readonly clause: Clause;
  readonly nearest: Rule | undefined;
  /**
   * A request that the one list allows and the other does not, by the matcher. `undefined` if none was found: several
   * rules of the other list together may cover the part, or it is looked up elsewhere (`scope:`, `op:`).
   */
  readonly example: ExampleRequest | undefined;
};

export type RuleDiff = {
  /** What only the new rules allow; empty: the new rules allow nothing more. */
  readonly widens: readonly Change[];
  /** What only the old rules allow. */
  readonly narrows: readonly Change[];
  /** There are more changes than are listed. */
  readonly isCut: boolean;
};

/** Changes of one direction that are listed. */
const MAX_CHANGES = 100;
/** Rules of the other list that an example is steered around. */
const MAX_HINTS = 12;

/**
 * Compares two lists of rules by `covers`: what is not listed as wider allows nothing more. What is listed may yet be
 * covered by several rules together; an `example` proves that it is not.
 */
export const diff = (before: readonly Rule[], after: readonly Rule[]): RuleDiff => {
  const wider = changes(before, after);
  const narrower = changes(after, before);
  return { widens: wider.list, narrows: narrower.list, isCut: wider.isCut || narrower.isCut };
};

const changes = (from: readonly Rule[], to: readonly Rule[]): { list: readonly Change[]; isCut: boolean } => {
  const compiled = compileRules(from);
  const list: Change[] = [];
  for (const gap of gapsBetween(from, to)) {
    if (list.length === MAX_CHANGES) return { list, isCut: true };
    list.push(changeOf(gap, from, compiled));
  }
  return { list, isCut: false };
};

const changeOf = ({ of, part, clause, nearest }: Gap, from: readonly Rule[], compiled: CompiledRules): Change => {
  const near = from.filter((rule) => rule !== nearest && startOf(rule) === startOf(part));
  const hints = [...(nearest === undefined ? [] : [nearest]), ...near].slice(0, MAX_HINTS);
  return { of, part, clause, nearest, example: exampleBetween(part, compiled, hints) };
};

const startOf = (rule: Rule): string => {
  const first = 'segments' in rule ? rule.segments[0] : undefined;
  return first?.kind === 'literal' ? first.text : '';
};
