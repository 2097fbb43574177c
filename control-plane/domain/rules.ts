// Reads rule texts that somebody sent: each problem with its field, duplicates dropped, canonical form out.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DaypassError } from '@daypass/core/errors';
import { MAX_REGEX_RULES, MAX_RULES, type Rule } from '@daypass/core/rule';
import { compileRules } from '@daypass/core/rule-match';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import type { ExpandOperation } from './operations.ts';
import type { Problems } from './problems.ts';

/** What a list of rules may name: the service's named scopes, or nothing inside a named scope itself. */
export type ScopeNames = (name: string) => boolean;

/**
 * Characters of a list of rules, of all ceilings of a caller, and of all named scopes of a service: about what a message
 * holds. `op:` rules count as what they stand for, which can be a hundred times longer.
 */
export const MAX_RULES_CHARS = 4 * 1024 * 1024;

/** Notes under `path` lists of canonical rules that are too long together; `what` says what they are. */
export const checkLength = (
  lists: Iterable<readonly string[]>,
  what: string,
  path: string,
  problems: Problems,
): void => {
  let chars = 0;
  for (const list of lists) for (const text of list) chars += text.length;
  if (chars > MAX_RULES_CHARS)
    problems.add(path, `all ${what} together hold ${chars} characters of at most ${MAX_RULES_CHARS}`);
};

/** Characters of the rules of one token, whose 6,000 bytes hold less: what is longer is not even read. */
export const MAX_ASKED_CHARS = 8 * 1024;

/**
 * Reads rules under `path` into canonical texts, operations replaced by what they stand for now. Reads no more of a list
 * that is too long, as it was sent or spelt out.
 */
export const readRules = (...asked: Parameters<typeof reading>): readonly string[] => {
  const steps = reading(...asked);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
};

/** The same for a list that may be long: the loop gets its turn in between. */
export const readRulesInTurns = async (...asked: Parameters<typeof reading>): Promise<readonly string[]> => {
  const steps = reading(...asked);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    await nextTurn();
  }
};

/** Characters between two turns; a millisecond or two. */
const TURN_CHARS = 4000;

/** Stops where others may have their turn. */
function* reading(
  texts: readonly string[],
  path: string,
  hasScope: ScopeNames | undefined,
  problems: Problems,
  expand: ExpandOperation,
  charsMax: number = MAX_RULES_CHARS,
): Generator<void, readonly string[]> {
  const rules = new Map<string, Rule>();
  let chars = 0;
  let turn = TURN_CHARS;
  let expressions = 0;
  for (const [i, text] of texts.entries()) {
    chars += text.length;
    if (EXPRESSION.test(text)) expressions += 1;
    if (chars > charsMax || expressions > MAX_REGEX_RULES) break;
    const rule = problems.check(`${path}[${i}]`, () => {
      const parsed = parseRule(text);
      if (parsed.kind === 'scope') checkScope(parsed.name, hasScope);
      return parsed.kind === 'op' ? expand(parsed) : parsed;
    });
    if (rule === undefined) continue;
    const canonical = printRule(rule);
    chars += Math.max(0, canonical.length - text.length);
    if (rule.kind === 'regex' && !EXPRESSION.test(text)) expressions += 1;
    rules.set(canonical, rule);
    if (chars < turn) continue;
    turn = chars + TURN_CHARS;
    yield;
  }
  if (chars > charsMax) problems.add(path, `holds more than ${charsMax} characters, operations spelt out`);
  else if (expressions > MAX_REGEX_RULES) problems.add(path, `holds more than ${MAX_REGEX_RULES} \`~\` rules`);
  else yield* compiling([...rules.values()], path, problems);
  return [...rules.keys()];
}

/** Compiled together are those that are looked at together: `~` rules, whose cost adds up. All count. */
function* compiling(rules: readonly Rule[], path: string, problems: Problems): Generator<void> {
  const looked = rules.filter(({ kind }) => kind !== 'scope');
  if (looked.length > MAX_RULES) problems.check(path, () => compileRules(looked));
  else {
    problems.check(path, () => compileRules(looked.filter(({ kind }) => kind === 'regex')));
    const others = looked.filter(({ kind }) => kind !== 'regex');
    for (let at = 0; at < others.length; at += COMPILED_AT_ONCE) {
      if (at > 0) yield;
      problems.check(path, () => compileRules(others.slice(at, at + COMPILED_AT_ONCE)));
    }
  }
}

const COMPILED_AT_ONCE = 200;

/** A `~` rule, whether its pattern is one or not: to find out is dear. */
const EXPRESSION = /^[^ ]+ ~/;

const checkScope = (name: string, hasScope: ScopeNames | undefined): void => {
  if (hasScope === undefined) {
    throw new DaypassError('invalid_rule', `\`scope:${name}\`: a named scope cannot name another one`);
  }
  if (!hasScope(name)) throw new DaypassError('invalid_rule', `\`scope:${name}\`: the service has no such named scope`);
};
