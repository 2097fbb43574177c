// How clauses, changes and example requests are shown.

import type { ExampleRequest } from '@daypass/core/request-draft';
import type { Rule } from '@daypass/core/rule';
import type { Clause } from '@daypass/core/rule-covers';
import type { Change } from '@daypass/core/rule-diff';
import { decisionText } from '@daypass/core/rule-gap-text';
import { printCondition, printRule } from '@daypass/core/rule-print';

/** A clause for programs. */
export const clauseJson = (clause: Clause): Readonly<Record<string, string>> =>
  clause.kind === 'condition' ? { kind: clause.kind, text: printCondition(clause.condition) } : { kind: clause.kind };

/** A change for programs. */
export const changeJson = ({ of, part, nearest, clause, example }: Change): object => ({
  rule: printRule(of),
  part: printRule(part),
  nearest: nearest === undefined ? null : printRule(nearest),
  clause: clauseJson(clause),
  example: example ?? null,
});

/** A change in three or four lines. */
export const changeText = (sign: '+' | '-', { of, part, nearest, clause, example }: Change): string => {
  const lines = [`${sign} ${printRule(part)}`];
  if (printRule(of) !== printRule(part)) lines.push(`    of: ${printRule(of)}`);
  lines.push(`    decided by: ${decisionText({ clause, nearest })}`);
  lines.push(`    example: ${example === undefined ? noExample(part, nearest) : requestText(example)}`);
  return lines.map((line) => `${line}\n`).join('');
};

const noExample = (part: Rule, nearest: Rule | undefined): string => {
  if (part.kind === 'scope' || part.kind === 'op') return 'none, since what it stands for is looked up elsewhere';
  if (part.kind === 'regex' || nearest?.kind === 'regex') return 'none found; what a pattern matches is not compared';
  return 'none found; several rules together may cover it';
};

const requestText = ({ method, path, query, headers, body }: ExampleRequest): string => {
  const fields = Object.entries(headers).map(([name, value]) => ` --header '${name}: ${value}'`);
  const target = query === undefined ? path : `${path}?${query}`;
  return `${method} ${target}${fields.join('')}${body === undefined ? '' : ` with the body ${body}`}`;
};
