// Reads rule texts that somebody sent: each problem with its field, duplicates dropped, canonical form out.
import { DaypassError } from '@daypass/core/errors';
import { MAX_REGEX_RULES } from '@daypass/core/rule';
import { compileRules } from '@daypass/core/rule-match';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import type { ExpandOperation } from './operations.ts';
import type { Problems } from './problems.ts';

/** What a list of rules may name: the service's named scopes, or nothing inside a named scope itself. */
export type ScopeNames = (name: string) => boolean;

/** Reads rules under `path` into canonical texts, operations replaced by what they stand for now. */
export const readRules = (
  texts: readonly string[],
  path: string,
  hasScope: ScopeNames | undefined,
  problems: Problems,
  expand: ExpandOperation,
): readonly string[] => {
  const rules = new Map<string, ReturnType<typeof parseRule>>();
  for (const [i, text] of texts.entries()) {
    const rule = problems.check(`${path}[${i}]`, () => {
      const parsed = parseRule(text);
      if (parsed.kind === 'scope') checkScope(parsed.name, hasScope);
      return parsed.kind === 'op' ? expand(parsed) : parsed;
    });
    if (rule !== undefined) rules.set(printRule(rule), rule);
  }
  const expressions = [...rules.values()].filter((rule) => rule.kind === 'regex').length;
  if (expressions > MAX_REGEX_RULES) {
    problems.add(path, `holds ${expressions} \`~\` rules of at most ${MAX_REGEX_RULES}`);
    return [...rules.keys()];
  }
  const own = [...rules.values()].filter((rule) => rule.kind !== 'scope');
  problems.check(path, () => compileRules(own));
  return [...rules.keys()];
};

const checkScope = (name: string, hasScope: ScopeNames | undefined): void => {
  if (hasScope === undefined) {
    throw new DaypassError('invalid_rule', `\`scope:${name}\`: a named scope cannot name another one`);
  }
  if (!hasScope(name)) throw new DaypassError('invalid_rule', `\`scope:${name}\`: the service has no such named scope`);
};
