// Finds a request that a rule allows and a list of rules does not: tries likely ones until the matcher says so.

import { readContentHeaders, readJsonBody } from './request-body.ts';
import { RequestDetails } from './request-details.ts';
import type { ExampleRequest } from './request-draft.ts';
import type { Rule } from './rule.ts';
import { makeCandidates } from './rule-candidates.ts';
import { type CompiledRules, compileRules, matchRules } from './rule-match.ts';

/** Requests that may be tried for one example. */
const MAX_TRIES = 2_000;

/**
 * A request that `rule` allows and `refusing` does not, both by the matcher; `undefined` if none was found, which says
 * nothing: none may exist, or only an unlikely one. `hints` are rules of `refusing` to stay out of.
 */
export const exampleBetween = (
  rule: Rule,
  refusing: CompiledRules,
  hints: readonly Rule[],
): ExampleRequest | undefined => {
  const allowing = compileRules([rule]);
  let tries = 0;
  for (const request of makeCandidates(rule, hints)) {
    tries += 1;
    if (tries > MAX_TRIES) return undefined;
    if (isAllowed(allowing, request) && !isAllowed(refusing, request)) return request;
  }
  return undefined;
};

/** Whether the matcher allows the request, its body read as the data plane reads it. */
export const isAllowed = (rules: CompiledRules, request: ExampleRequest): boolean => {
  const { method, path, query, headers, body } = request;
  const header = (name: string): readonly string[] => {
    const value = headers[name];
    return value === undefined ? [] : [value];
  };
  const details = new RequestDetails({ query, header });
  const read = readContentHeaders({ type: header('content-type'), encoding: header('content-encoding') });
  if (body !== undefined && 'mediaType' in read) {
    details.body = readJsonBody(read.mediaType, new TextEncoder().encode(body));
  }
  return matchRules(rules, method, path, undefined, details) !== undefined;
};
