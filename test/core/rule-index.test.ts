// A long list is matched as a short one is, and at the same cost.

import { JsonBody } from '@daypass/core/request-body';
import { RequestDetails } from '@daypass/core/request-details';
import type { Rule, Segment } from '@daypass/core/rule';
import { createIndex } from '@daypass/core/rule-index';
import { compileRules, matchRules, needsBody } from '@daypass/core/rule-match';
import { parseRules } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { anyMethod, anyPath, anyRule, pathRule } from './rule-arbitrary.ts';
import { findSlowly, fitsSlowly } from './rule-linear.ts';

const templatesOf = (rules: readonly Rule[]): readonly (readonly Segment[] | undefined)[] =>
  rules.map((rule) => ('segments' in rule ? rule.segments : undefined));

const manyOf = (rule: fc.Arbitrary<Rule>) => fc.array(rule, { minLength: 17, maxLength: 120, size: 'max' });

const textAt = (rules: readonly Rule[], at: number | undefined): string | undefined => {
  const rule = at === undefined ? undefined : rules[at];
  return rule === undefined ? undefined : printRule(rule);
};

test('the first rule of a long list that allows is the one that is told', () => {
  let hits = 0;
  fc.assert(
    fc.property(manyOf(pathRule), anyMethod, anyPath, (rules, method, path) => {
      const found = matchRules(compileRules(rules), method, path);
      expect(found).toBe(textAt(rules, findSlowly(rules, method, path)));
      if (found !== undefined) hits += 1;
    }),
    { numRuns: 1000 },
  );
  expect(hits).toBeGreaterThan(100);
});

const anyBody = fc.option(
  fc.constantFrom(
    { a: 1 },
    { a: 'a', b: true },
    { jsonrpc: '2.0', method: 'tools/list' },
    { jsonrpc: '2.0', method: 'tools/call', params: { name: 'add_labels', arguments: { a: 'b' } } },
    { query: '{viewer}' },
    { query: 'mutation{repository(a:"a"){b}}' },
  ),
  { nil: undefined },
);
const anyQuery = fc.constantFrom(undefined, 'q=a', 'q=5&page=1', 'per+page=b');

test('conditions, calls and bodies of a long list are decided as each rule alone would', () => {
  let hits = 0;
  fc.assert(
    fc.property(manyOf(anyRule), anyMethod, anyPath, anyQuery, anyBody, (rules, method, path, query, body) => {
      const details = (): RequestDetails => {
        const one = new RequestDetails({ query, header: (name) => (name === 'accept' ? ['a'] : []) });
        if (body !== undefined) one.body = new JsonBody('application/json', Object.assign(Object.create(null), body));
        return one;
      };
      const compiled = compileRules(rules);
      const found = matchRules(compiled, method, path, undefined, details());
      expect(found).toBe(textAt(rules, findSlowly(rules, method, path, details)));
      if (found !== undefined) hits += 1;
      const head = () => new RequestDetails({ query, header: (name) => (name === 'accept' ? ['a'] : []) });
      const isOpen = rules.some((rule) => needsBody(compileRules([rule]), method, path, undefined, head()));
      expect(needsBody(compiled, method, path, undefined, head())).toBe(isOpen);
    }),
    { numRuns: 500 },
  );
  expect(hits).toBeGreaterThan(50);
});

test('a batch is decided by a long list as by a short one', () => {
  const near = Array.from({ length: 100 }, (_, i) => `mcp /mcp/${i} tools/call add_labels`);
  const own = ['mcp /mcp tools/list', 'mcp /{x} tools/call add_labels', 'mcp /** ping'];
  const call = (method: string, params?: object) =>
    Object.assign(Object.create(null), { jsonrpc: '2.0', method }, params === undefined ? {} : { params });
  const asked = (members: readonly unknown[]) => {
    const details = new RequestDetails({ query: undefined, header: () => [] });
    details.body = new JsonBody('application/json', members as never);
    return [own, [...near, ...own]].map((rules) =>
      matchRules(compileRules(parseRules(rules)), 'POST', '/mcp', undefined, details),
    );
  };
  const name = Object.assign(Object.create(null), { name: 'add_labels' });
  expect(asked([call('tools/list'), call('tools/call', name)])).toEqual(Array(2).fill(own.slice(0, 2).join('; ')));
  expect(asked([call('tools/list'), call('initialize')])).toEqual([undefined, undefined]);
  expect(asked([])).toEqual([undefined, undefined]);
});

test('every rule that fits a path is among its candidates, in the order of the list', () => {
  fc.assert(
    fc.property(manyOf(pathRule), anyPath, (rules, path) => {
      const { places } = createIndex(templatesOf(rules))(path);
      const fitting = rules.flatMap((rule, at) =>
        fitsSlowly({ ...rule, methods: '*' } as Rule, 'GET', path) ? at : [],
      );
      expect(places).toEqual([...new Set(places)].sort((a, b) => a - b));
      expect(fitting.filter((at) => !places.includes(at))).toEqual([]);
    }),
    { numRuns: 1000 },
  );
});

const costOf = (rules: readonly string[], path: string): number => {
  const { places, visited } = createIndex(templatesOf(parseRules(rules)))(path);
  return places.length + visited;
};

test.each([
  ['all beginning alike', (i: number) => `GET /repos/acme/site/k${i}`, '/repos/acme/site/k77'],
  ['ending alike', (i: number) => `GET /o${i % 100}/{x}/r${Math.floor(i / 100)}/*/end`, '/o7/a/r3/b/end'],
  ['with a name between', (i: number) => `GET /a/{x}/${i}/b`, '/a/q/77/b'],
  ['with a rest', (i: number) => `GET /a/${i}/**`, '/a/77/b/c'],
  ['of calls', (i: number) => `mcp /mcp/${i} tools/list`, '/mcp/77'],
])('a list of 10,000 rules %s costs no more than one of 100', (_name, rule, path) => {
  const list = (count: number) => Array.from({ length: count }, (_, i) => rule(i));
  for (const asked of [path, `${path}/x`, '/nothing/like/it']) {
    expect(costOf(list(10_000), asked)).toBeLessThanOrEqual(costOf(list(1000), asked) + 4);
    expect(costOf(list(10_000), asked)).toBeLessThan(20);
  }
});

test('no path is led through more nodes than there are rules, however many ways there are', () => {
  for (const depth of [6, 9, 12]) {
    const rules = Array.from({ length: 2 ** depth }, (_, bits) => {
      const way = Array.from({ length: depth }, (__, at) => ((bits >> at) & 1 ? 'a' : '*')).join('/');
      return `GET /${way}/${'*/'.repeat(40)}end`;
    });
    expect(costOf(rules, `/${'a/'.repeat(depth + 40)}end`)).toBeLessThan(3 * rules.length);
  }
});

test('one request is compared with a bounded number of rules, whatever named scopes there are', () => {
  const scope = compileRules(parseRules(Array.from({ length: 2000 }, (_, i) => `GET /{x} where path.x = "${i}"`)));
  const rules = compileRules(parseRules(Array.from({ length: 400 }, (_, i) => `scope:s${i}`)));
  let asked = 0;
  const lookup = () => {
    asked += 1;
    return scope;
  };
  const details = new RequestDetails({ query: undefined, header: () => [] });
  expect(matchRules(rules, 'GET', '/none', lookup, details)).toBeUndefined();
  expect(asked).toBeLessThan(60);
  expect(matchRules(rules, 'GET', '/1999', lookup, details)).toBe('scope:s0');
});

test('the last of 10,000 rules that differ in their last condition alone is found', () => {
  const own = (i: number) => `path.w = "w" and path.x = "x" and path.y = "y" and path.z = "r${i}"`;
  const rules = Array.from({ length: 10_000 }, (_, i) => `GET /a/b/c/{w}/d/{x}/{y}/{z}/e where ${own(i)}`);
  const details = new RequestDetails({ query: undefined, header: () => [] });
  const path = '/a/b/c/w/d/x/y/r9999/e';
  expect(matchRules(compileRules(parseRules(rules)), 'GET', path, undefined, details)).toBe(rules.at(-1));
});
