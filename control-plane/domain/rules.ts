// Reads rule texts that somebody sent: each problem with its field, duplicates dropped, canonical form out.
import { DaypassError } from '@daypass/core/errors';
import { MAX_REGEX_RULES, type Rule } from '@daypass/core/rule';
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

/** Characters of the rules of one token, whose 6,000 bytes hold far less: what is longer is not even read. */
export const MAX_ASKED_CHARS = 64 * 1024;

/**
 * Reads rules under `path` into canonical texts, operations replaced by what they stand for now. Reads no more of a list
 * that is too long, as it was sent or spelt out.
 */
export const readRules = (
  texts: readonly string[],
  path: string,
  hasScope: ScopeNames | undefined,
  problems: Problems,
  expand: ExpandOperation,
  charsMax: number = MAX_RULES_CHARS,
): readonly string[] => {
  const rules = new Map<string, Rule>();
  let chars = 0;
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
  }
  if (chars > charsMax) problems.add(path, `holds more than ${charsMax} characters, operations spelt out`);
  else if (expressions > MAX_REGEX_RULES) problems.add(path, `holds more than ${MAX_REGEX_RULES} \`~\` rules`);
  else problems.check(path, () => compileRules([...rules.values()].filter(({ kind }) => kind !== 'scope')));
  return [...rules.keys()];
};

/** A `~` rule, whether its pattern is one or not: to find out is dear. */
const EXPRESSION = /^[^ ]+ ~/;

const checkScope = (name: string, hasScope: ScopeNames | undefined): void => {
  if (hasScope === undefined) {
    throw new DaypassError('invalid_rule', `\`scope:${name}\`: a named scope cannot name another one`);
  }
  if (!hasScope(name)) throw new DaypassError('invalid_rule', `\`scope:${name}\`: the service has no such named scope`);
};
