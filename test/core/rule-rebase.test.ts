import { RequestDetails } from '@daypass/core/request-details';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import { underBasePath } from '@daypass/core/rule-rebase';
import { expect, test } from 'vitest';

const moved = (text: string, base: string): string => printRule(underBasePath(parseRule(text), base));

test.each([
  ['GET /repos/{owner}/**', '', 'GET /repos/{owner}/**'],
  ['GET /repos/{owner}/**', '/api/v3', 'GET /api/v3/repos/{owner}/**'],
  ['* /**', '/api', '* /api/**'],
  ['PUT /{o} where path.o = "a" and body.x = 1', '/api', 'PUT /api/{o} where path.o = "a" and body.x = 1'],
  ['graphql /graphql query viewer', '/api', 'graphql /api/graphql query viewer'],
  ['mcp /{t}/mcp tools/call x where path.t = "a"', '/v1', 'mcp /v1/{t}/mcp tools/call x where path.t = "a"'],
  ['GET ~/a|/b', '/api/v1.0', 'GET ~/api/v1\\.0(?:/a|/b)'],
])('%s below "%s" is %s', (rule, base, expected) => {
  expect(moved(rule, base)).toBe(expected);
});

test('a condition on a name speaks of the same segment after the move', () => {
  const rules = compileRules([underBasePath(parseRule('GET /{o}/x where path.o = "a"'), '/b/c')]);
  const details = new RequestDetails({ query: undefined, header: () => [] });
  expect(matchRules(rules, 'GET', '/b/c/a/x', undefined, details)).toBeDefined();
  expect(matchRules(rules, 'GET', '/b/c/b/x', undefined, details)).toBeUndefined();
});

test('a moved pattern does not let its alternatives out of the base path', () => {
  const rules = compileRules([underBasePath(parseRule('GET ~/a|/b'), '/api')]);
  expect(matchRules(rules, 'GET', '/api/b')).toBeDefined();
  expect(matchRules(rules, 'GET', '/b')).toBeUndefined();
});

test.each([
  'GET ~\\Q/a',
  'GET ~/a)|(?:/b',
])('a pattern that would swallow the group it is put in is refused: %s', (rule) => {
  const attempt = () => {
    const rules = compileRules([underBasePath(parseRule(rule), '/api')]);
    return matchRules(rules, 'GET', '/b');
  };
  let allowed: string | undefined;
  try {
    allowed = attempt();
  } catch (error) {
    expect(error).toMatchObject({ code: 'invalid_rule' });
  }
  expect(allowed).toBeUndefined();
});

test.each(['scope:triage', 'op:issues/add-labels'])('%s is refused', (rule) => {
  expect(() => underBasePath(parseRule(rule), '/api')).toThrow(expect.objectContaining({ code: 'invalid_rule' }));
});
