// Puts an operation's rule in the place of an `op:` rule.

import { DaypassError } from './errors.ts';
import type { OpRule, Rule } from './rule.ts';
import { parseRule } from './rule-parse.ts';
import { printRule } from './rule-print.ts';

/**
 * The rule that an `op:` rule stands for: the operation's own with the conditions of both.
 * @throws DaypassError `invalid_rule` naming the operation, where its rule cannot take a condition
 */
export const expandOp = (rule: OpRule, operation: Rule): Rule => {
  if (rule.conditions.length === 0) return operation;
  const stands = `\`op:${rule.operation}\` stands for \`${printRule(operation)}\``;
  if (operation.kind === 'scope' || operation.kind === 'op' || operation.kind === 'regex') {
    throw new DaypassError('invalid_rule', `${stands}, which takes no conditions`);
  }
  const problem = strangeName(rule, operation);
  if (problem !== undefined) throw new DaypassError('invalid_rule', `${stands}: ${problem}`);
  try {
    // Through the parser, so that what it says of conditions together holds here as well.
    return parseRule(printRule({ ...operation, conditions: [...operation.conditions, ...rule.conditions] }));
  } catch (cause) {
    if (cause instanceof DaypassError) throw new DaypassError(cause.code, `${stands}: ${cause.message}`, { cause });
    throw cause;
  }
};

/** What the parser would say of a text that nobody wrote. */
const strangeName = ({ conditions }: OpRule, operation: Extract<Rule, { segments: unknown }>): string | undefined => {
  const names = operation.segments.flatMap((segment) => (segment.kind === 'name' ? [segment.name] : []));
  for (const { subject } of conditions) {
    if (subject.in === 'arg' && operation.kind === 'template') {
      return 'it has no arguments; say path., query., header. or body.';
    }
    if (subject.in !== 'path' || names.includes(subject.name)) continue;
    const known = names.map((name) => `path.${name}`).join(', ');
    return `its path has no {${subject.name}}${known === '' ? '' : `; there is ${known}`}`;
  }
  return undefined;
};
