// Says in words why a rule is not covered, and by which clause of which rule.

import type { Clause, Gap } from './rule-covers.ts';
import { printCondition, printRule } from './rule-print.ts';

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

/** What decides, and the rule that comes nearest: `the method, against GET /a`. */
export const decisionText = ({ clause, nearest }: Pick<Gap, 'clause' | 'nearest'>): string => {
  if (nearest !== undefined) return `${clauseText(clause)}, against ${printRule(nearest)}`;
  return clause.kind === 'form' ? 'there is nothing of its kind to compare it with' : clauseText(clause);
};

/** A gap in one sentence; long rules are cut. */
export const gapText = (gap: Pick<Gap, 'of' | 'part' | 'clause' | 'nearest'>): string => {
  const [of, part] = [printRule(gap.of), printRule(gap.part)];
  const inPart = part === of ? '' : `, in its part ${cut(part)}`;
  const against = gap.nearest === undefined ? '' : `, against ${cut(printRule(gap.nearest))}`;
  return `${cut(of)} is not covered${inPart}; decided by ${cut(clauseText(gap.clause))}${against}`;
};

const SHOWN_CHARS = 200;

const cut = (text: string): string => `\`${text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text}\``;
