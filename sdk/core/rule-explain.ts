// Why a rule does not allow a request: which of its clauses decides, by the matcher itself.

import type { RequestDetails } from './request-details.ts';
import type { Rule } from './rule.ts';
import type { Clause } from './rule-covers.ts';
import { compileRules, matchRules } from './rule-match.ts';

/**
 * The first clause that keeps `rule` from allowing the request; `undefined` if it allows it. Clauses are tried one by
 * one: the path, the method, what a GraphQL or MCP rule calls, then each condition in canonical order. `details` makes
 * the request anew for each try.
 */
export const refusingClause = (
  rule: Rule,
  method: string,
  path: string,
  details: () => RequestDetails,
): Clause | undefined => {
  const allows = (one: Rule): boolean =>
    matchRules(compileRules([one]), method, path, undefined, details()) !== undefined;
  if (allows(rule)) return undefined;
  if (rule.kind === 'scope' || rule.kind === 'op') return { kind: 'form' };
  if (!allows(onlyPath(rule))) return { kind: 'path' };
  const bare: Rule = 'conditions' in rule ? { ...rule, conditions: [] } : rule;
  if (!allows(bare)) return { kind: rule.kind === 'graphql' || rule.kind === 'mcp' ? 'operation' : 'methods' };
  const conditions = 'conditions' in rule ? rule.conditions : [];
  const condition = conditions.find((only) => !allows({ ...rule, conditions: [only] } as Rule));
  return condition === undefined ? { kind: 'operation' } : { kind: 'condition', condition };
};

const onlyPath = (rule: Exclude<Rule, { readonly kind: 'scope' | 'op' }>): Rule =>
  rule.kind === 'regex'
    ? { ...rule, methods: '*' }
    : { kind: 'template', methods: '*', segments: rule.segments, conditions: [] };
