// The matcher as one would first write it: slow, and plain to see. It asks each rule alone, one after the other.

import type { RequestDetails } from '@daypass/core/request-details';
import type { Rule } from '@daypass/core/rule';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { printRule } from '@daypass/core/rule-print';

/** Whether a rule fits by method and path alone. `~` rules are read by JavaScript's own expressions. */
export const fitsSlowly = (rule: Rule, method: string, path: string): boolean => {
  if (['CONNECT', 'TRACE', 'TRACK'].includes(method)) return false;
  if (rule.kind === 'scope' || rule.kind === 'op') return false;
  const methods = rule.kind === 'graphql' || rule.kind === 'mcp' ? ['POST'] : rule.methods;
  if (methods !== '*' && !methods.includes(method)) return false;
  if (rule.kind === 'regex') {
    const [, flags = '', body = ''] = /^(?:\(\?(i)\))?(.*)$/.exec(rule.pattern) ?? [];
    return new RegExp(`^(?:${body})$`, flags).test(path);
  }
  const parts = path.slice(1).split('/');
  const ends = rule.segments.at(-1)?.kind === 'rest';
  if (ends ? parts.length < rule.segments.length : parts.length !== rule.segments.length) return false;
  return rule.segments.every((segment, index) => {
    if (segment.kind === 'rest') return true;
    return segment.kind === 'literal' ? parts[index] === segment.text : parts[index] !== '';
  });
};

/**
 * The place of the first rule that allows a request. What a rule asks beside method and path is left to the matcher,
 * with a list of that rule alone.
 */
export const findSlowly = (
  rules: readonly Rule[],
  method: string,
  path: string,
  details?: () => RequestDetails,
): number | undefined => {
  const at = rules.findIndex((rule) => fitsSlowly(rule, method, path) && allowsRest(rule, method, path, details));
  return at < 0 ? undefined : at;
};

const allowsRest = (rule: Rule, method: string, path: string, details: (() => RequestDetails) | undefined): boolean => {
  if (rule.kind === 'regex' || (rule.kind === 'template' && rule.conditions.length === 0)) return true;
  return matchRules(compileRules([rule]), method, path, undefined, details?.()) === printRule(rule);
};
