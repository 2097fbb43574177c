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
  ['GET ~/a|/b', '/api/v1.0', 'GET ~/api/v1\\.0(?:/a|/b)'],
])('%s below "%s" is %s', (rule, base, expected) => {
  expect(moved(rule, base)).toBe(expected);
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

test('a named scope is refused', () => {
  expect(() => underBasePath(parseRule('scope:triage'), '/api')).toThrow(
    expect.objectContaining({ code: 'invalid_rule' }),
  );
});
