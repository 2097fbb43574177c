// Ceilings: refuses rules that go beyond what a caller, or the token that is exchanged, may have.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DaypassError } from '@daypass/core/errors';
import type { Rule } from '@daypass/core/rule';
import { type Ceiling, startCeiling } from '@daypass/core/rule-ceiling';
import { type Gap, gapsBetween } from '@daypass/core/rule-covers';
import { gapText } from '@daypass/core/rule-gap-text';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import type { Aggregates } from '../store/interface.ts';
import type { CallerActor } from './actor.ts';
import type { ExpandOperation } from './operations.ts';

/** Rules that are to lie within a ceiling. */
export type AskedRules = {
  /** Canonical texts. */
  readonly rules: readonly string[];
  /** The field that a rule came in. */
  readonly fieldOf: (rule: Rule) => string;
};

/** The ceilings of callers, made ready for comparing and kept for a while. */
export type CallerCeilings = {
  /** @throws {DaypassError} `permission_denied` naming the field, the rule and the clause that decides */
  check(
    tx: Pick<Aggregates, 'ceilings'>,
    caller: CallerActor,
    service: string,
    asked: AskedRules,
    effort?: Effort,
  ): Promise<void>;
};

/** Makes the ceilings of callers. */
export const createCallerCeilings = (): CallerCeilings => {
  const kept = new Map<string, Kept>();
  const keep = (key: string, entry: Kept): void => {
    kept.delete(key);
    kept.set(key, entry);
    let chars = 0;
    for (const one of kept.values()) chars += one.chars;
    for (const [oldest, one] of kept) {
      if (kept.size <= KEPT_MAX && chars <= KEPT_CHARS_MAX) return;
      if (oldest === key) continue;
      kept.delete(oldest);
      chars -= one.chars;
    }
  };
  return {
    check: async (tx, caller, service, asked, effort) => {
      if (caller.admin) return;
      // Each change of a caller gives it a new etag. One that has none was never given a ceiling.
      const key = JSON.stringify([caller.name, caller.createdAt, caller.etag, service]);
      const known = kept.get(key) ?? (await readKept(tx, caller.name, service));
      keep(key, known);
      const whose = `the ceiling of \`${caller.name}\``;
      if (known.ceiling !== undefined) await checkWithin(known.ceiling, asked, whose, effort);
    },
  };
};

type Kept = { readonly ceiling: Ceiling | undefined; readonly chars: number };

/** Ceilings that are kept, and characters of all their rules: 10,000 rules of 50 take 25 to 50 MB. */
const KEPT_MAX = 1000;
const KEPT_CHARS_MAX = 1_000_000;

const readKept = async (tx: Pick<Aggregates, 'ceilings'>, caller: string, service: string): Promise<Kept> => {
  const texts = await tx.ceilings.get(caller, service);
  return texts === undefined
    ? { ceiling: undefined, chars: 0 }
    : { ceiling: await readCeiling(texts), chars: texts.reduce((sum, text) => sum + text.length, 0) };
};

/** A rule is parsed, printed and read: the longer it is, the longer that takes. */
const readingCost = (text: string): number => 100 + text.length / 2;

/** Makes canonical texts ready to be compared with; the loop gets its turn in between. */
export const readCeiling = async (texts: readonly string[]): Promise<Ceiling> => {
  const ceiling = startCeiling();
  let turn = TURN_COST;
  for (const text of texts) {
    ceiling.add(parseRule(text));
    turn -= readingCost(text);
    if (turn > 0) continue;
    await nextTurn();
    turn = TURN_COST;
  }
  return ceiling;
};

/**
 * Refuses rules that no single rule of a ceiling covers; `whose` names it.
 * @throws {DaypassError} `permission_denied`
 */
export const checkWithin = async (
  ceiling: Ceiling,
  asked: AskedRules,
  whose: string,
  effort?: Effort,
): Promise<void> => {
  const gap = await firstGap(ceiling, asked.rules, effort);
  if (gap === undefined) return;
  throw new DaypassError('permission_denied', `goes beyond ${whose}: ${gapText(gap)}`, {
    field: asked.fieldOf(gap.of),
  });
};

/** About a tenth of a second at worst for one rule, and a second for all; the loop gets its turn in between. */
const RULE_COST_MAX = 400_000;
const COST_MAX = 4_000_000;
const TURN_COST = 100_000;

/** What comparing may still cost; those that share one share what is left of it. */
export type Effort = { left: number };

/** For all tokens of one call, while every other change waits: half a second at worst. */
export const mintEffort = (): Effort => ({ left: COST_MAX / 2 });

/** The first of canonical texts that no single rule of the ceiling covers, or that is too dear to compare. */
export const firstGap = async (
  ceiling: Ceiling,
  texts: readonly string[],
  effort: Effort = { left: COST_MAX },
): Promise<Gap | undefined> => {
  let turn = TURN_COST;
  for (const text of texts) {
    const budget = { left: Math.min(RULE_COST_MAX, effort.left) };
    const before = budget.left;
    for (const gap of gapsBetween(ceiling, [parseRule(text)], budget)) return gap;
    const cost = before - budget.left + readingCost(text);
    effort.left -= cost;
    turn -= cost;
    if (turn > 0) continue;
    await nextTurn();
    turn = TURN_COST;
  }
  return undefined;
};

/** Finds the field of a rule among the texts that somebody sent. */
export const fieldsOf =
  (texts: readonly string[], path: string, expand: ExpandOperation): AskedRules['fieldOf'] =>
  (rule) => {
    const wanted = printRule(rule);
    const index = texts.findIndex((text) => {
      const parsed = parseRule(text);
      return printRule(parsed.kind === 'op' ? expand(parsed) : parsed) === wanted;
    });
    return index < 0 ? path : `${path}[${index}]`;
  };
