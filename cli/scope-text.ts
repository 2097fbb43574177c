// How clauses, changes and example requests are shown.

import type { ExampleRequest } from '@daypass/core/request-draft';
import type { Clause } from '@daypass/core/rule-covers';
import type { Change } from '@daypass/core/rule-diff';
import { printCondition, printRule } from '@daypass/core/rule-print';

/** A clause in a few words. */
export const clauseText = (clause: Clause): string => {
  switch (clause.kind) {
    case 'condition':
      return printCondition(clause.condition);
    case 'methods':
      return 'the method';
    case 'path':
      return 'the path';
    case 'operation':
      return 'what is called';
    case 'form':
      return 'the kind of rule';
    case 'combinations':
      return 'too many combinations to compare';
    default:
      return clause satisfies never;
  }
};

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
  const decided = `${clauseText(clause)}${nearest === undefined ? '' : `, against ${printRule(nearest)}`}`;
  lines.push(`    decided by: ${decided}`);
  lines.push(`    example: ${example === undefined ? noExample(part.kind) : requestText(example)}`);
  return lines.map((line) => `${line}\n`).join('');
};

const noExample = (kind: string): string =>
  kind === 'scope' || kind === 'op'
    ? 'none, since what it stands for is looked up elsewhere'
    : 'none found; several rules together may cover it';

const requestText = ({ method, path, query, headers, body }: ExampleRequest): string => {
  const fields = Object.entries(headers).map(([name, value]) => ` --header '${name}: ${value}'`);
  const target = query === undefined ? path : `${path}?${query}`;
  return `${method} ${target}${fields.join('')}${body === undefined ? '' : ` with the body ${body}`}`;
};
