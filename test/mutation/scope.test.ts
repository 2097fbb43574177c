// What mutants of the matcher showed to be untested: batches beside their path, budgets that are spent, the tree itself.
import { readJsonBody } from '@daypass/core/request-body';
import { RequestDetails } from '@daypass/core/request-details';
import { MAX_REGEX_RULES, MAX_RULE_CHARS } from '@daypass/core/rule';
import { compileEntries, type RequestEntry } from '@daypass/core/rule-compile';
import { createIndex } from '@daypass/core/rule-index';
import { compileRules, matchRules, needsBody, smallestRule } from '@daypass/core/rule-match';
import { parseRule, parseRules } from '@daypass/core/rule-parse';
import { describe, expect, test } from 'vitest';
import { codeOf } from '../core/fixture.ts';

const detailsOf = (json: unknown, type = 'application/json', headers: Readonly<Record<string, string>> = {}) => {
  const value = (name: string) => headers[name];
  const details = new RequestDetails({ query: undefined, header: (name) => [value(name) ?? []].flat() });
  details.body = readJsonBody(type, new TextEncoder().encode(JSON.stringify(json)));
  return details;
};

const MCP = 'mcp /mcp tools/list';
const GRAPHQL = 'graphql /mcp batch query a';
const list = { jsonrpc: '2.0', id: 1, method: 'tools/list' };
const query = { query: '{ a }' };

describe('a batch', () => {
  const match = (rules: readonly string[], method: string, path: string, details: RequestDetails) =>
    matchRules(compileRules(parseRules(rules)), method, path, undefined, details);

  test('is allowed where its members are', () => {
    expect(match([MCP], 'POST', '/mcp', detailsOf([list, list]))).toBe(MCP);
    expect(match([GRAPHQL], 'POST', '/mcp', detailsOf([query]))).toBe(GRAPHQL);
  });

  test.each([
    ['POST', '/other'],
    ['PUT', '/mcp'],
    ['GET', '/mcp'],
  ])('is not allowed by a rule for another place: %s %s', (method, path) => {
    for (const members of [[list], [query]])
      expect(match([MCP, GRAPHQL], method, path, detailsOf(members))).toBeUndefined();
  });

  test('needs what its rule asks of the headers', () => {
    const rule = `${MCP} where header.x-a = "1"`;
    expect(match([rule], 'POST', '/mcp', detailsOf([list], 'application/json', { 'x-a': '1' }))).toBe(rule);
    expect(match([rule], 'POST', '/mcp', detailsOf([list], 'application/json', { 'x-a': '2' }))).toBeUndefined();
  });

  test('is JSON and nothing like it', () => {
    for (const members of [[list], [query]])
      expect(match([MCP, GRAPHQL], 'POST', '/mcp', detailsOf(members, 'application/problem+json'))).toBeUndefined();
  });

  test('is of one kind', () => {
    expect(match([MCP, GRAPHQL], 'POST', '/mcp', detailsOf([list, query]))).toBeUndefined();
    expect(match([MCP, GRAPHQL, 'POST /x'], 'POST', '/mcp', detailsOf([query, query]))).toBe(GRAPHQL);
  });

  test('has 64 members at most', () => {
    expect(match([MCP], 'POST', '/mcp', detailsOf(Array(64).fill(list)))).toBe(MCP);
    expect(match([MCP], 'POST', '/mcp', detailsOf(Array(65).fill(list)))).toBeUndefined();
  });
});

test.each(['TRACE', 'CONNECT', 'get', ''])('no body is read for a request with the method %j', (method) => {
  const rules = compileRules(parseRules(['* /a where body.x = 1']));
  expect(needsBody(rules, method, '/a', undefined, detailsOf({}))).toBe(false);
  expect(needsBody(rules, 'POST', '/a', undefined, detailsOf({}))).toBe(true);
});

test.each([0, 1, 2, 3, 4, 5, 6])('with %i steps left nothing is found absent', (left) => {
  const details = detailsOf({ b: 1 });
  const rules = compileRules([parseRule('POST /x where absent body.a')]);
  expect(matchRules(rules, 'POST', '/x', undefined, details)).toBeDefined();
  const spent = detailsOf({ b: 1 });
  // Whatever the budget is, take it down to `left`.
  let budget = 1;
  while (detailsOf({}).body?.spend(budget)) budget *= 2;
  let most = budget / 2;
  for (let step = most / 2; step >= 1; step /= 2) if (detailsOf({}).body?.spend(most + step)) most += step;
  while (detailsOf({}).body?.spend(most + 1)) most += 1;
  spent.body?.spend(most - left);
  expect(matchRules(rules, 'POST', '/x', undefined, spent)).toBeUndefined();
});

test('64 rules with patterns are taken, and not one more', async () => {
  const rules = Array.from({ length: MAX_REGEX_RULES + 1 }, (_, at) => parseRule(`GET ~/${at}`));
  expect(await codeOf(() => compileRules(rules.slice(0, MAX_REGEX_RULES)))).toBe('nothing');
  expect(await codeOf(() => compileRules(rules))).toBe('invalid_rule');
});

describe('what one rule takes of a request', () => {
  const entryOf = (text: string): RequestEntry => {
    const [entry] = compileEntries([parseRule(text)]).entries;
    if (entry?.kind !== 'request') throw new Error('no such entry');
    return entry;
  };
  const names = Array.from({ length: 24 }, (_, at) => `{n${at}}`).join('/');
  const path = `/${'a/'.repeat(23)}a`;
  const details = new RequestDetails({ query: 'q=a', header: () => [] });

  test.each([
    [`GET /${names} where path.n0 = "a"`, 1],
    [`GET /${names} where path.n7 = "a"`, 1],
    [`GET /${names} where path.n8 = "a"`, 2],
    [`GET /${names} where path.n23 = "a"`, 3],
    [`GET /${names} where query.q = "a"`, 1],
    [`GET /${names} where query.q = "a" and path.n23 = "a"`, 4],
  ])('%s takes %#, and does not hold with less', (text, steps) => {
    const { head } = entryOf(text);
    expect(head?.(path, details, { steps })).toBe(true);
    expect(head?.(path, details, { steps: steps - 1 })).toBe(false);
  });

  test('a pattern takes its size for each character and the end, and its share of a list', () => {
    const { matches } = entryOf('GET ~/a+');
    const least = (length: number): number => {
      let steps = 5000;
      while (!matches(`/${'a'.repeat(length - 1)}`, { steps })) steps += 1;
      return steps;
    };
    const size = least(11) - least(10);
    expect(size).toBeGreaterThan(0);
    expect(least(10)).toBe(5000 + 11 * size);
  });
});

describe('the tree', () => {
  const indexOf = (templates: readonly string[]) =>
    createIndex(
      templates.map((text) => {
        const rule = parseRule(`GET ${text}`);
        return 'segments' in rule ? rule.segments : undefined;
      }),
    );

  test('has no node for what all rules have in common', () => {
    const common = Array.from({ length: 50 }, (_, at) => (at % 3 === 0 ? '*' : `s${at}`)).join('/');
    const index = indexOf(Array.from({ length: 40 }, (_, at) => `/${common}/r${at}`));
    const { places, visited } = index(`/${common.replaceAll('*', 'x')}/r7`);
    expect(places).toEqual([7]);
    expect(visited).toBe(2);
  });

  test('tells only what it was asked for, however often', () => {
    const index = indexOf([...Array.from({ length: 20 }, (_, at) => `/a/${at}`), '/a', '/a/**', '/*/7', '/a/']);
    const first = ['/a/7', '/a/', '/a', '/b'].map((path) => index(path).places);
    expect(['/a/7', '/a/', '/a', '/b'].map((path) => index(path).places)).toEqual(first);
    expect(first[0]).toEqual([7, 21, 22]);
    expect(first[1]).toEqual(expect.arrayContaining([21, 23]));
    expect(first[2]).toContain(20);
    expect(first[3]).not.toContain(7);
    expect(index('/a/7').visited).toBeGreaterThan(1);
  });

  test('knows rules without a template everywhere, and nothing else', () => {
    const rules = [...Array.from({ length: 20 }, (_, at) => `GET /${at}`), 'GET ~/x'].map(parseRule);
    const index = createIndex(rules.map((rule) => ('segments' in rule ? rule.segments : undefined)));
    expect(index('/7').places).toEqual([7, 20]);
    expect(index('/none').places).toEqual([20]);
  });
});

describe('the smallest rule for a path', () => {
  const room = MAX_RULE_CHARS - 'GET '.length;
  const long = (length: number) => `/${'a'.repeat(9)}`.repeat(Math.ceil(length / 10)).slice(0, length);

  test.each([1, room - 1, room])('of %i characters is the path itself', (length) => {
    expect(smallestRule('GET', long(length).replace(/\/$/, 'b'))).toBe(`GET ${long(length).replace(/\/$/, 'b')}`);
  });

  test.each([room + 1, room + 2, 9000])('of %i characters is the longest beginning that fits', (length) => {
    const path = long(length);
    const text = smallestRule('GET', path);
    expect(text.endsWith('/**')).toBe(true);
    expect(path.startsWith(text.slice(4, -2))).toBe(true);
    expect(text.length).toBeLessThanOrEqual(MAX_RULE_CHARS);
    expect(text.length).toBeGreaterThan(MAX_RULE_CHARS - 10 - 3);
    expect(matchRules(compileRules([parseRule(text)]), 'GET', path)).toBe(text);
  });

  test('with a star is a pattern while that is short, and has stars for whole segments then', () => {
    const before = 'b'.repeat(600);
    expect(smallestRule('GET', '/a*/b')).toBe('GET ~/a\\*/b');
    expect(smallestRule('GET', `/${before}/x*y/*/z*/*q/e`)).toBe(`GET /${before}/*/*/*/*/e`);
    expect(smallestRule('GET', `/*${before}`)).toBe('GET /*');
    expect(smallestRule('GET', `/*${'b'.repeat(509)}`)).toBe(`GET ~/\\*${'b'.repeat(509)}`);
    expect(smallestRule('GET', `/*${'b'.repeat(510)}`)).toBe('GET /*');
    const full = long(room - 2).replace(/\/$/, 'b');
    expect(smallestRule('GET', `/x*${full}`)).toBe(`GET /*${full}`);
    const star = `/a*${long(9000)}`;
    const text = smallestRule('GET', star);
    expect(text.startsWith('GET /*/aaaaaaaaa/')).toBe(true);
    expect(text.length).toBeLessThanOrEqual(MAX_RULE_CHARS);
    expect(matchRules(compileRules([parseRule(text)]), 'GET', star)).toBe(text);
  });
});
