// Ceilings find what may cover a rule by its path; what is dear to compare ends with a no; and the words for it.
import { createCeiling } from '@daypass/core/rule-ceiling';
import { covers, gapsBetween } from '@daypass/core/rule-covers';
import { gapText } from '@daypass/core/rule-gap-text';
import { parseRule, parseRules } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import { readRule } from '@daypass/core/rule-reading';
import { expect, test } from 'vitest';

const found = (rules: readonly string[], rule: string): readonly string[] =>
  [...createCeiling(parseRules(rules)).candidates(readRule(parseRule(rule)), { left: 1e6 })].map((one) =>
    printRule(one.rule),
  );

test.each<[string, string[], string[]]>([
  [
    'GET /a/b',
    ['GET /a/b', 'GET /a/*', 'GET /a/**', 'GET /**', 'POST /*/b'],
    ['GET /a/c', 'GET /a', 'GET /a/b/c', 'GET /b/**'],
  ],
  ['GET /a/{x}', ['GET /a/*', 'GET /{y}/{x}', 'GET /a/**'], ['GET /a/b', 'GET /a', 'GET /a/*/']],
  ['GET /a/{x} where path.x in ["b", "c"]', ['GET /a/b', 'GET /a/c', 'GET /a/*'], ['GET /a/d']],
  ['GET /a/**', ['GET /a/**', 'GET /**'], ['GET /a/*', 'GET /a/', 'GET /a/*/**']],
  ['GET /a/', ['GET /a/', 'GET /a/**'], ['GET /a/*', 'GET /a']],
  ['GET ~/a/.*', ['GET ~/a/.*', 'GET ~/b', 'GET /**'], ['GET /a/**', 'scope:a']],
  ['scope:a', [], ['scope:a', 'GET /**']],
])('for %s only those are compared that its path fits', (rule, fitting, others) => {
  expect([...found([...others, ...fitting], rule)].sort()).toEqual(
    fitting.map((text) => printRule(parseRule(text))).sort(),
  );
});

test('a ceiling of 10,000 similar rules is hardly larger to compare with than one of ten', () => {
  const rules = (count: number, end: string) =>
    parseRules(Array.from({ length: count }, (_, i) => `GET /repos/acme/site-${i}/issues/${end}`));
  const cost = (count: number): number => {
    const budget = { left: 1e6 };
    expect(covers(createCeiling(rules(count, '**')), rules(10, '{n}'), budget).covered).toBe(true);
    return 1e6 - budget.left;
  };
  expect(cost(10_000)).toBe(cost(10));
});

const list = (from: string, count: number): string =>
  Array.from({ length: count }, (_, i) => `"${from}${i}"`).join(', ');
const bits = Array.from(
  { length: 4096 },
  (_, i) => `GET /${[...i.toString(2).padStart(12, '0')].map((bit) => (bit === '1' ? 'x' : '*')).join('/')}/end`,
);
test.each<[string, string[], string]>([
  [
    'lists that split into very many parts',
    ['a', 'b'].map(
      (z) => `GET /a where query.p in [${list('p', 120)}] and query.q in [${list('q', 120)}] and query.z = "${z}"`,
    ),
    `GET /a where query.p in [${list('p', 120)}] and query.q in [${list('q', 120)}] and query.z in ["a", "c"]`,
  ],
  [
    'many rules of one path',
    Array.from({ length: 10_000 }, (_, i) => `GET /a where query.q in [${list('q', 9)}] and query.z = ${i}`),
    `GET /a where query.q in [${list('q', 9)}]`,
  ],
  ['a path that fits everywhere but at its end', bits, `GET /${'x/'.repeat(12)}no`],
])('a budget ends the comparison of %s, with a no', (_name, rules, asked) => {
  const budget = { left: 20_000 };
  const answer = covers(createCeiling(parseRules(rules)), parseRules([asked]), budget);
  expect(answer).toMatchObject({ covered: false, clause: { kind: 'combinations' } });
});

test.each([
  ['GET /a', 'GET /a/b', '`GET /a/b` is not covered; decided by `the path`, against `GET /a`'],
  [
    'GET /a',
    'GET,POST /a',
    '`GET,POST /a` is not covered, in its part `POST /a`; decided by `the method`, against `GET /a`',
  ],
  [
    'GET /a where query.q = 1',
    'GET /a',
    '`GET /a` is not covered; decided by `query.q = 1`, against `GET /a where query.q = 1`',
  ],
  ['GET /a', 'scope:x', '`scope:x` is not covered; decided by `the kind of rule`'],
])('within %s, %s is refused in words', (ceiling, rule, text) => {
  const [gap] = gapsBetween(parseRules([ceiling]), parseRules([rule]));
  expect(gap === undefined ? '' : gapText(gap)).toBe(text);
});

test('long rules are cut in the words', () => {
  const [gap] = gapsBetween(parseRules([`GET /${'a'.repeat(4000)}`]), parseRules([`GET /${'b'.repeat(4000)}`]));
  expect(gap === undefined ? 0 : gapText(gap).length).toBeLessThan(600);
});
