// Moves a rule below a base path: from a service's own paths to the paths that its upstream sees.

import { DaypassError } from './errors.ts';
import type { Rule, Segment } from './rule.ts';
import { parseRule } from './rule-parse.ts';
import { printRule } from './rule-print.ts';

/**
 * The rule that allows `<basePath><path>` wherever `rule` allows `path`, and nothing else. A seal holds rules in this
 * form, so that whoever can change a service's base path cannot widen what its credential may reach.
 * `basePath` is `''` or `/base/path` without a slash at its end.
 * @throws DaypassError `invalid_rule` for `scope:` and `op:` rules, or when the result is longer than a rule may be
 */
export const underBasePath = (rule: Rule, basePath: string): Rule => {
  if (rule.kind === 'scope' || rule.kind === 'op') {
    throw new DaypassError(
      'invalid_rule',
      `"${printRule(rule)}": only a rule that says all by itself can stand in a seal`,
    );
  }
  if (basePath === '') return rule;
  const moved: Rule =
    rule.kind === 'regex'
      ? { ...rule, pattern: `${quote(basePath)}(?:${rule.pattern})` }
      : { ...rule, segments: [...literals(basePath), ...rule.segments] };
  return parseRule(printRule(moved));
};

const literals = (basePath: string): readonly Segment[] =>
  basePath
    .slice(1)
    .split('/')
    .map((text) => ({ kind: 'literal', text }));

const quote = (text: string): string => text.replace(/[^A-Za-z0-9/_]/g, (character) => `\\${character}`);
