// What widens and what narrows, each with a request that shows it.

import type { ExampleRequest } from '@daypass/core/request-draft';
import { diff } from '@daypass/core/rule-diff';
import { isAllowed } from '@daypass/core/rule-example';
import { compileRules } from '@daypass/core/rule-match';
import { parseRules } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import { parseTarget } from '@daypass/core/target';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { anyRule } from './rule-arbitrary.ts';

const between = (before: readonly string[], after: readonly string[]) => {
  const { widens, narrows } = diff(parseRules(before), parseRules(after));
  return { wider: widens.map(({ part }) => printRule(part)), narrower: narrows.map(({ part }) => printRule(part)) };
};

test.each([
  [['GET /a'], ['GET /a'], [], []],
  [['GET /a/**'], ['GET /a/b'], [], ['GET /a/**']],
  [['GET /a'], ['GET,POST /a'], ['POST /a'], []],
  [['GET /a'], ['GET,POST /b'], ['GET,POST /b'], ['GET /a']],
  [['GET /a where query.q = 1'], ['GET /a where query.q in [1, 2]'], ['GET /a where query.q = 2'], []],
  [['GET /a', 'GET /b'], ['GET /b', 'GET /a'], [], []],
  [['GET /a'], ['GET /a', 'GET /a where query.q = 1'], [], []],
  [['GET /{x}'], ['GET /{y}'], [], []],
])('from %j to %j', (before, after, wider, narrower) => expect(between(before, after)).toEqual({ wider, narrower }));

test.each([
  ['GET /a', 'HEAD /a'],
  ['GET /a', '* /a'],
  ['GET,DELETE,POST /a', '* /a'],
  ['GET /a/*', 'GET /a/**'],
  ['GET /example', 'GET /*'],
  ['GET /a/*/**', 'GET /a/**'],
  ['GET /a/b', 'GET /a/{x} where path.x in ["b", "c"]'],
  ['GET /a/{x} where path.x < 5', 'GET /a/{x} where path.x <= 5'],
  ['GET /a where query.q = "1"', 'GET /a where query.q = 1'],
  ['GET /a where query.q < 3', 'GET /a where query.q <= 3 and query.q > 2'],
  ['GET /a where absent query.q', 'GET /a'],
  ['GET /a where absent query.q and absent query.r', 'GET /a where absent query.r'],
  ['GET /a where header.x-a = "b"', 'GET /a where header.x-a in ["b", "c"]'],
  ['POST /a where body.l[*] = "a"', 'POST /a where body.l[*] in ["a", "b"]'],
  ['POST /a where body.l[*].n > 5', 'POST /a where body.l[*].n > 4'],
  ['POST /a where absent body.x.y', 'POST /a where absent body.z'],
  ['POST /a where body.a = 1 and body.b = 2', 'POST /a where body.a = 1'],
  ['POST /a where body.a = 1', 'POST /a'],
  ['GET ~/a', 'GET ~/a/[^/]+'],
  ['GET ~/a/.+', 'GET /a/**'],
  ['graphql /g query a', 'graphql /g query a,b where arg.x = "y"'],
  ['graphql /g query a', 'graphql /g mutation a'],
  ['graphql /g query a', 'graphql /g persisted d1'],
  ['graphql /g query a', 'graphql /g batch query a'],
  ['mcp /m tools/call a', 'mcp /m tools/call b where arg.repo in ["x", "y"]'],
  ['mcp /m tools/list', 'mcp /m prompts/get'],
  ['mcp /m tools/call a where arg.n.m > 4', 'mcp /m tools/call a'],
])('from %s to %s, an example shows what widens', (before, after) => {
  const { widens } = diff(parseRules([before]), parseRules([after]));
  expect(widens.length).toBeGreaterThan(0);
  for (const { example } of widens) expectShown(example, [before], [after]);
});

const expectShown = (example: ExampleRequest | undefined, refusing: readonly string[], allowing: readonly string[]) => {
  if (example === undefined) throw new Error('no example');
  expect(isAllowed(compileRules(parseRules(allowing)), example)).toBe(true);
  expect(isAllowed(compileRules(parseRules(refusing)), example)).toBe(false);
  const target = example.query === undefined ? example.path : `${example.path}?${example.query}`;
  expect(parseTarget(target).path).toBe(example.path);
};

test('what several rules cover only together is listed, without an example', () => {
  const before = parseRules(['GET /a where query.q < 5', 'GET /a where query.q >= 5']);
  const { widens, narrows } = diff(before, parseRules(['GET /a where query.q >= 0']));
  expect(widens).toMatchObject([{ example: undefined }]);
  expect(narrows.map(({ example }) => example === undefined)).toEqual([false]);
});

test('a named scope has no example: what it holds is looked up live', () => {
  expect(diff([], parseRules(['scope:triage'])).widens).toMatchObject([{ example: undefined }]);
});

test('an example is never shown that the matcher does not confirm', () => {
  fc.assert(
    fc.property(fc.array(anyRule, { maxLength: 3 }), fc.array(anyRule, { maxLength: 3 }), (before, after) => {
      const { widens } = diff(before, after);
      const [old, now] = [compileRules(before), compileRules(after)];
      for (const { example } of widens) {
        if (example === undefined) continue;
        expect(isAllowed(now, example)).toBe(true);
        expect(isAllowed(old, example)).toBe(false);
      }
      expect(diff(after, after)).toEqual({ widens: [], narrows: [], isCut: false });
    }),
    { numRuns: 50 },
  );
});
