// Rules allow what they say, and nothing else.

import { PatternSet } from '@daypass/core/pattern';
import type { Rule } from '@daypass/core/rule';
import { compileRules, matchRules, smallestRule } from '@daypass/core/rule-match';
import { parseRule, parseRules } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import { parseTarget } from '@daypass/core/target';
import fc from 'fast-check';
import { RE2JS } from 're2js';
import { expect, test } from 'vitest';
import { anyMethod, anyPath, pathRule } from './rule-arbitrary.ts';
import { fitsSlowly } from './rule-linear.ts';

const match = (rules: readonly string[], method: string, path: string): string | undefined =>
  matchRules(compileRules(parseRules(rules)), method, path);

test.each([
  ['GET /a', 'GET', '/a'],
  ['GET /', 'GET', '/'],
  ['GET /a/', 'GET', '/a/'],
  ['GET /a/*', 'GET', '/a/b'],
  ['GET /a/{x}', 'GET', '/a/b.c:d'],
  ['GET /a/*/c', 'GET', '/a/*/c'],
  ['GET /*/', 'GET', '/a/'],
  ['GET /a/**', 'GET', '/a/'],
  ['GET /a/**', 'GET', '/a/b/c/'],
  ['GET /**', 'GET', '/'],
  ['GET /**', 'GET', '/a/b'],
  ['GET /*/**', 'GET', '/a/'],
  ['* /a', 'PURGE', '/a'],
  ['GET,HEAD /a', 'HEAD', '/a'],
  ['GET /caf%C3%A9', 'GET', '/caf%C3%A9'],
  ['GET /a/x%2Fy', 'GET', '/a/x%2Fy'],
  ['GET /a/{x}', 'GET', '/a/x%2Fy'],
  ['GET ~/a|/b', 'GET', '/b'],
  ['GET ~/a/[^/]+', 'GET', '/a/b'],
  ['GET ~/repos/acme/.+?/issues', 'GET', '/repos/acme/site/issues'],
])('%s allows %s %s', (rule, method, path) => expect(match([rule], method, path)).toBe(rule));

test.each([
  ['GET /public/**', 'GET', '/public'],
  ['GET /public/**', 'GET', '/public2/a'],
  ['GET /public/**', 'GET', '/PUBLIC/a'],
  ['GET /public/**', 'GET', '/public..'],
  ['GET /public/**', 'GET', '/x/public/a'],
  ['GET /public/**', 'PUT', '/public/a'],
  ['GET /public/**', 'OPTIONS', '/public/a'],
  ['GET /public/**', 'GETT', '/public/a'],
  ['GET /public/**', 'GE', '/public/a'],
  ['GET /public/**', 'get', '/public/a'],
  ['GET /public/**', 'HEAD', '/public/a'],
  ['GET,POST /a', 'GET,POST', '/a'],
  ['* /**', 'CONNECT', '/a'],
  ['* /**', 'TRACE', '/a'],
  ['* /**', 'TRACK', '/a'],
  ['* /**', '*', '/a'],
  ['* /**', '', '/a'],
  ['POST /v1/items', 'PATCH', '/v1/items'],
  ['GET /v1/items/*', 'GET', '/v1/items/'],
  ['GET /v1/items/*', 'GET', '/v1/items'],
  ['GET /v1/items/*', 'GET', '/v1/items/1/'],
  ['GET /v1/items/*', 'GET', '/v1/items/1/secrets'],
  ['GET /a/{x}/c', 'GET', '/a//c'],
  ['GET /a/{x}/c', 'GET', '/a/b/b/c'],
  ['GET /a', 'GET', '/a/'],
  ['GET /a/', 'GET', '/a'],
  ['GET /', 'GET', '/a'],
  ['GET /a', 'GET', '/'],
  ['GET /caf%C3%A9', 'GET', '/caf%c3%a9'],
  ['GET /a.c', 'GET', '/abc'],
  ['GET ~/a', 'GET', '/a/b'],
  ['GET ~/a', 'GET', '/x/a'],
  ['GET ~/a|/b', 'GET', '/a/b'],
  ['GET ~/a', 'GET', '/A'],
  ['GET ~/a$', 'GET', '/a\n'],
  ['GET ~(?m)^/a$', 'GET', '/b\n/a'],
  ['GET ~/a', 'HEAD', '/a'],
  ['GET ~/public/.*', 'GET', '/public'],
])('%s does not allow %s %s', (rule, method, path) => expect(match([rule], method, path)).toBeUndefined());

test('no rules allow nothing', () => expect(match([], 'GET', '/')).toBeUndefined());

test('the rule that allows is told in its canonical form', () => {
  expect(match(['GET /a', 'PUT,GET /b/{x}', 'GET /b/*'], 'GET', '/b/c')).toBe('GET,PUT /b/{x}');
});

test('the matcher agrees with the slow one', () => {
  fc.assert(
    fc.property(fc.array(pathRule, { maxLength: 6 }), anyMethod, anyPath, (rules, method, path) => {
      const expected = rules.find((rule) => fitsSlowly(rule, method, path));
      const found = matchRules(compileRules(rules), method, path);
      expect(found).toBe(expected === undefined ? undefined : printRule(expected));
    }),
    { numRuns: 5000 },
  );
});

test('the smallest rule allows the request, and by itself nothing near it', () => {
  const path = fc.oneof(anyPath, fc.constantFrom('/a/*', '/*', '/a*b/c.d', '/**/a', "/x/$&'()*+,"));
  fc.assert(
    fc.property(path, anyPath, (asked, other) => {
      const rule = smallestRule('PATCH', asked);
      expect(printRule(parseRule(rule))).toBe(rule);
      expect(match([rule], 'PATCH', parseTarget(asked).path)).toBe(rule);
      expect(match([rule], 'PUT', asked)).toBeUndefined();
      if (other !== asked) expect(match([rule], 'PATCH', other)).toBeUndefined();
    }),
    { numRuns: 1000 },
  );
});

test.each([
  ['/a/b', 'GET /a/b'],
  ['/a/*', 'GET ~/a/\\*'],
  [`/a/*/${'b'.repeat(600)}`, `GET /a/*/${'b'.repeat(600)}`],
  [`/a/${'b'.repeat(4100)}/c`, 'GET /a/**'],
  [`/${'b'.repeat(4100)}`, 'GET /**'],
])('where the path is odd or long, the smallest rule is the nearest that can be said', (path, rule) => {
  expect(smallestRule('GET', path)).toBe(rule);
  expect(match([rule], 'GET', path)).toBe(rule);
});

test('a named scope is looked up at every match, and told by its name', () => {
  const scopes = new Map([['triage', compileRules(parseRules(['GET /issues']))]]);
  const rules = compileRules(parseRules(['scope:triage', 'GET /own']), (name) => scopes.get(name));
  expect(matchRules(rules, 'GET', '/issues')).toBe('scope:triage');
  scopes.set('triage', compileRules(parseRules(['GET /labels'])));
  expect(matchRules(rules, 'GET', '/issues')).toBeUndefined();
  expect(matchRules(rules, 'GET', '/labels')).toBe('scope:triage');
  scopes.clear();
  expect(matchRules(rules, 'GET', '/labels')).toBeUndefined();
  expect(matchRules(rules, 'GET', '/own')).toBe('GET /own');
});

test('the lookup given at a match goes before the one given at compile time', () => {
  const rules = compileRules(parseRules(['scope:s']), () => compileRules(parseRules(['* /**'])));
  expect(matchRules(rules, 'GET', '/a')).toBe('scope:s');
  expect(matchRules(rules, 'GET', '/a', () => undefined)).toBeUndefined();
});

test('a scope within a scope allows nothing, so none can go round', () => {
  const lookup = (name: string) => (name === 'outer' ? outer : compileRules(parseRules(['* /**'])));
  const outer = compileRules(parseRules(['scope:inner', 'scope:outer']), lookup);
  const rules = compileRules(parseRules(['scope:outer']), lookup);
  expect(matchRules(rules, 'GET', '/a')).toBeUndefined();
});

test('patterns that are too many or together too costly are refused', () => {
  const rule = (pattern: string): Rule => ({ kind: 'regex', methods: ['GET'], pattern });
  const invalid = expect.objectContaining({ code: 'invalid_rule' });
  expect(() => compileRules(Array(65).fill(rule('/a')))).toThrow(invalid);
  expect(() => compileRules(Array(9).fill(rule('.{900}')))).toThrow(invalid);
  expect(() => compileRules([rule('(')])).toThrow(invalid);
  expect(() => compileRules(Array(10_001).fill({ kind: 'scope', name: 'a' }))).toThrow(invalid);
});

test.each([
  'GET ~(a+)+',
  'GET ~/(a|a)*',
  'GET ~/(a|aa)+b',
  'GET ~/(.*a){100}',
  'GET ~/a?a?a?a?a?a?a?a?a?a?aaaaaaaaaa',
  'GET ~/(\\w+\\s?)*',
])('%s has no path that takes long', (rule) => {
  const rules = compileRules([parseRule(rule)]);
  const start = performance.now();
  for (const length of [64, 2000, 2048, 16_000]) matchRules(rules, 'GET', `/${'a'.repeat(length)}!`);
  expect(performance.now() - start).toBeLessThan(1000);
});

test('a path beyond 2,048 characters matches no pattern', () => {
  expect(match(['GET ~.*'], 'GET', `/${'a'.repeat(2047)}`)).toBe('GET ~.*');
  expect(match(['GET ~.*'], 'GET', `/${'a'.repeat(2048)}`)).toBeUndefined();
  expect(match(['GET /**'], 'GET', `/${'a'.repeat(2048)}`)).toBe('GET /**');
});

test('patterns that are too costly for a path do not match it, and templates still do', () => {
  const costly = Array.from({ length: 12 }, (_, i) => `GET ~/(.*a){20}${i}`);
  const path = `/${'a'.repeat(400)}`;
  expect(match([...costly, 'GET ~.*'], 'GET', path)).toBeUndefined();
  expect(match([...costly, 'GET ~.*', 'GET /*'], 'GET', path)).toBe('GET /*');
  expect(match([...costly, 'GET ~.*'], 'GET', path.slice(0, 100))).toBe('GET ~.*');
});

test('a dozen ordinary patterns match paths of 200 characters', () => {
  const rules = Array.from({ length: 12 }, (_, i) => `GET ~/repos/(acme|other)/.+?/(issues|pulls)/[0-9]+/c${i}/labels`);
  const path = `/repos/acme/${'s'.repeat(167)}/issues/12/c11/labels`;
  expect(path.length).toBe(200);
  expect(match(rules, 'GET', path)).toBe(rules.at(-1));
});

test('named scopes share what patterns may take', () => {
  const scope = compileRules(parseRules(['GET ~(.*a.{20}){20}', 'GET ~/aa.*']));
  const rules = compileRules(parseRules(Array.from({ length: 50 }, (_, i) => `scope:s${i}`)));
  const only = (name: string) => (at: string) => (at === name ? scope : undefined);
  const path = `/${'a'.repeat(200)}`;
  expect(matchRules(rules, 'GET', path, only('s49'))).toBe('scope:s49');
  const other = compileRules(parseRules(['GET ~(.*a.{20}){20}x']));
  expect(matchRules(rules, 'GET', path, (name) => (name === 's49' ? scope : other))).toBeUndefined();
});

test('patterns matched together match what each alone would', () => {
  const patterns = [
    '/a|/b',
    '/a|/a/b',
    '(?i)/A',
    '/(a|b)*',
    '/a/.+?/b',
    '.*',
    '^/a$',
    '(?m)^/a$',
    '.*a.{9}',
    '/[^/]+',
    '\\b.*',
  ];
  fc.assert(
    fc.property(fc.uniqueArray(fc.constantFrom(...patterns)), fc.oneof(anyPath, longPath), (list, path) => {
      const set = new PatternSet();
      const places = list.map((pattern) => set.add(pattern));
      const expected = list.flatMap((pattern, at) => (RE2JS.matches(pattern, path) ? (places[at] ?? []) : []));
      expect([...set.matching(path)].sort((a, b) => a - b)).toEqual(expected);
    }),
    { numRuns: 1000 },
  );
});

const longPath = fc
  .array(fc.constantFrom('a', 'b', '/'), { minLength: 200, maxLength: 1500 })
  .map((characters) => `/${characters.join('')}`);
