// A rule covers another only if it allows all that the other does.

import { covers } from '@daypass/core/rule-covers';
import { parseRules } from '@daypass/core/rule-parse';
import { printCondition, printRule } from '@daypass/core/rule-print';
import { expect, test } from 'vitest';

const answer = (a: readonly string[], b: readonly string[]) => covers(parseRules(a), parseRules(b));

test.each([
  // methods
  ['GET /a', 'GET /a'],
  ['* /a', 'GET,PURGE /a'],
  ['* /a', '* /a'],
  ['GET,HEAD /a', 'HEAD /a'],
  // segments
  ['GET /a/*', 'GET /a/b'],
  ['GET /a/*', 'GET /a/{x}'],
  ['GET /a/{x}', 'GET /a/*'],
  ['GET /a/**', 'GET /a/'],
  ['GET /a/**', 'GET /a/*/c/**'],
  ['GET /a/**', 'GET /a/**'],
  ['GET /**', 'GET /'],
  ['GET /a/*/', 'GET /a/b/'],
  // path names
  ['GET /repos/{o}/x where path.o = "acme"', 'GET /repos/acme/x'],
  ['GET /repos/acme/x', 'GET /repos/{o}/x where path.o = "acme"'],
  ['GET /{a}/{b} where path.b in ["x", "y"]', 'GET /{b}/{a} where path.a = "x"'],
  ['GET /n/{n} where path.n >= 3', 'GET /n/5.50'],
  ['GET /n/{n} where path.n = 5.5', 'GET /n/5.50'],
  ['GET /n/{n} where path.n > 3', 'GET /n/{m} where path.m in [4, 5]'],
  ['GET /a/**', 'GET /a/{x}/** where path.x = "b"'],
  // query
  ['GET /a', 'GET /a where query.q = "x"'],
  ['GET /a where query.q in ["x", "y"]', 'GET /a where query.q = "x"'],
  ['GET /a where query.q = 3', 'GET /a where query.q = "3"'],
  ['GET /a where query.q = 3', 'GET /a where query.q = "3.0"'],
  ['GET /a where query.q <= 3', 'GET /a where query.q < 3'],
  ['GET /a where query.q > 2', 'GET /a where query.q > 2 and query.q < 7'],
  ['GET /a where query.q = 3', 'GET /a where query.q >= 3 and query.q <= 3'],
  ['GET /a where query.q <= 5', 'GET /a where query.q in [1, 9] and query.q < 4'],
  ['GET /a where absent query.page', 'GET /a where absent query.PAGE and query.q = "x"'],
  ['GET /a where absent query.page', 'GET /a where absent query["page[]"]'],
  ['GET /a where query.q in [9007199254740991, 9007199254740992]', 'GET /a where query.q > 9007199254740990'],
  ['GET /a where query.q > 0', 'GET /a where query.q >= 0.000000000000000000000001'],
  ['GET /a where query.q >= 0.000000000000000000000001', 'GET /a where query.q > 0'],
  // header
  ['GET /a where header.x-a = "1"', 'GET /a where header.X-A = "1"'],
  ['GET /a where absent header.x-a', 'GET /a where absent header.x-a and header.x-b = "1"'],
  // body
  ['POST /a where body.a = 1', 'POST /a where body.a = 1.0 and body.b = "x"'],
  ['POST /a where body.l[*] in ["a", "b"]', 'POST /a where body.l[*] = "a"'],
  ['POST /a where body.l[*].n > 1', 'POST /a where body.l[*].n > 2 and body.l[*].t = true'],
  ['POST /a where absent body.a.b', 'POST /a where absent body.a'],
  ['POST /a where absent body.a.b', 'POST /a where absent body.A'],
  ['POST /a where absent body.a.b', 'POST /a where absent body.a.B and body.a.c = null'],
  ['POST /a where body.a in [null, true]', 'POST /a where body.a = null'],
  // what allows nothing lies within everything
  ['GET /z', 'GET /a where query.q = 1 and query.q = 2'],
  ['GET /z', 'GET /a where query.q > 3 and query.q < 3.0'],
  ['GET /z', 'GET /a where query.q > 9007199254740992'],
  ['GET /z', 'GET /a where query.q > 9007199254740990 and query.q < 9007199254740991'],
  ['GET /z', 'GET /a where query.q = 1 and absent query.q'],
  ['GET /z', 'GET /{x} where path.x = "a" and path.x > 1'],
  ['POST /z', 'POST /a where body.a = 1 and body.a.b = 1'],
  ['POST /z', 'POST /a where body.a = 1 and body.a[*] = 1'],
  ['POST /z', 'POST /a where absent body.a and body.a.b = 1'],
  ['POST /z', 'POST /a where absent body.a.b and body.a = "x"'],
  ['POST /z', 'POST /a where header.content-type = "text/plain" and body.a = 1'],
  ['POST /z', 'POST /a where absent header.content-type and body.a = 1'],
  ['POST /z', 'POST /a where header.content-encoding = "gzip" and body.a = 1'],
  // other kinds
  ['scope:triage', 'scope:triage'],
  ['op:a/b where path.owner = "acme"', 'op:a/b where path.owner = "acme"'],
  ['GET,POST ~/a/.+', 'GET ~/a/.+'],
  ['GET ~/a/.+', 'GET /a/b'],
  ['GET ~/a/.+', 'GET /a/{x} where path.x in ["b", "c"]'],
  ['* /**', 'GET ~/a/.+'],
  ['POST /g', 'graphql /g query a'],
  ['POST /g where absent query.q', 'graphql /g query a'],
  ['graphql /g query *', 'graphql /g query a,b where arg.x = 1'],
  ['graphql /g batch query a,b', 'graphql /g query b'],
  ['graphql /g query a where arg.x in [1, 2]', 'graphql /g query a where arg.x = 1'],
  ['POST /**', 'mcp /m tools/call a'],
  ['mcp /m tools/call,tools/list', 'mcp /m tools/call a'],
  ['mcp /m tools/call a,b', 'mcp /m tools/call b where arg.repo = "x"'],
])('%s covers %s', (a, b) => expect(answer([a], [b])).toEqual({ covered: true }));

test.each([
  ['GET /a', 'HEAD /a', 'methods'],
  ['GET,POST /a', '* /a', 'methods'],
  ['GET /a', 'GET /b', 'path'],
  ['GET /a', 'GET /a/', 'path'],
  ['GET /a/*', 'GET /a/', 'path'],
  ['GET /a/*', 'GET /a/**', 'path'],
  ['GET /a/**', 'GET /a', 'path'],
  ['GET /a/*/**', 'GET /a/**', 'path'],
  ['GET /a/b', 'GET /a/*', 'path'],
  ['GET /n/5', 'GET /n/{n} where path.n = 5', 'path'],
  ['GET /n/{n} where path.n = "5"', 'GET /n/{n} where path.n = 5', 'path.n = "5"'],
  ['GET /n/{n} where path.n > 3', 'GET /n/*', 'path.n > 3'],
  ['GET /a where query.q = "x"', 'GET /a', 'query.q = "x"'],
  ['GET /a where query.q = "x"', 'GET /a where query.Q = "x"', 'query.q = "x"'],
  ['GET /a where query.q = "x"', 'GET /a where query.q in ["x", "y"]', 'query.q = "x"'],
  ['GET /a where absent query.q', 'GET /a', 'absent query.q'],
  ['GET /a where absent query.q', 'GET /a where query.q = 1', 'absent query.q'],
  ['GET /a where query.q < 3', 'GET /a where query.q <= 3', 'query.q < 3'],
  ['GET /a where query.q in [1, 2, 3]', 'GET /a where query.q >= 1 and query.q <= 3', 'query.q in [1, 2, 3]'],
  ['GET /a where header.x-a = "1"', 'GET /a where query.x-a = "1"', 'header.x-a = "1"'],
  ['POST /a where body.a = 1', 'POST /a where body.a = "1"', 'body.a = 1'],
  ['POST /a where body.a = 1', 'POST /a where body.A = 1', 'body.a = 1'],
  ['POST /a where body.a >= 1', 'POST /a where body.a = "1"', 'body.a >= 1'],
  ['POST /a where body.a[*] = 1', 'POST /a where body.a = 1', 'body.a[*] = 1'],
  ['POST /a where absent body.a', 'POST /a', 'absent body.a'],
  ['POST /a where absent body.a', 'POST /a where body.b = 1', 'absent body.a'],
  ['POST /a where absent body.a.b', 'POST /a where body.a = 1', 'absent body.a.b'],
  ['POST /a where absent body.a.b', 'POST /a where absent body.a.b.c', 'absent body.a.b'],
  ['* /**', 'scope:triage', 'form'],
  ['scope:triage', 'scope:other', 'form'],
  ['scope:triage', 'GET /a', 'form'],
  ['* /**', 'op:a/b', 'form'],
  ['GET ~/a/.+', 'GET ~/a/..+', 'path'],
  ['GET ~/.*', 'GET /**', 'path'],
  ['GET /a/**', 'GET ~/a/.*', 'path'],
  ['GET /** where query.q = 1', 'GET ~/a', 'query.q = 1'],
  ['GET /g', 'graphql /g query a', 'methods'],
  ['graphql /g query a', 'POST /g', 'form'],
  ['graphql /g query a', 'graphql /g mutation a', 'operation'],
  ['graphql /g query a', 'graphql /g query a,b', 'operation'],
  ['graphql /g query *', 'graphql /g query __schema', 'operation'],
  ['graphql /g query a', 'graphql /g batch query a', 'operation'],
  ['graphql /g query a where arg.x = 1', 'graphql /g query a', 'arg.x = 1'],
  ['mcp /m tools/call a', 'mcp /m tools/call', 'operation'],
  ['mcp /m tools/call a', 'mcp /m tools/list', 'operation'],
])('%s does not cover %s, by %s', (a, b, clause) => {
  const found = answer([a], [b]);
  if (found.covered) throw new Error('covered');
  expect(found.clause.kind === 'condition' ? printCondition(found.clause.condition) : found.clause.kind).toBe(clause);
});

test.each([
  [['GET /a', 'POST /a'], 'GET,POST /a'],
  [['GET /a where query.q = 1', 'GET /a where query.q = 2'], 'GET /a where query.q in [1, 2]'],
  [['GET /a/b', 'GET /a/{x} where path.x = "c"'], 'GET /a/{x} where path.x in ["b", "c"]'],
  [['POST /a where body.x = 1', 'POST /a where body.x = "a"'], 'POST /a where body.x in [1, "a"]'],
  [['mcp /m tools/call a', 'mcp /m tools/call b where arg.x = 1'], 'mcp /m tools/call a,b where arg.x = 1'],
  [['mcp /m tools/list', 'mcp /m initialize'], 'mcp /m initialize,tools/list'],
])('each part of a rule may be covered by another one: %j covers %s', (a, b) =>
  expect(answer(a, [b])).toEqual({ covered: true }));

test.each([
  [
    'elements of one array',
    ['POST /a where body.l[*] = 1', 'POST /a where body.l[*] = 2'],
    'POST /a where body.l[*] in [1, 2]',
  ],
  ['root fields of one request', ['graphql /g query a', 'graphql /g query b'], 'graphql /g query a,b'],
  [
    'arguments of several root fields',
    ['graphql /g query a where arg.x = 1', 'graphql /g query a where arg.x = 2'],
    'graphql /g query a where arg.x in [1, 2]',
  ],
  ['ranges that touch', ['GET /a where query.q < 5', 'GET /a where query.q >= 5'], 'GET /a where query.q >= 0'],
])('%s are not split', (_what, a, b) => expect(answer(a, [b]).covered).toBe(false));

test('the answer names the part, the nearest rule and its rule', () => {
  const found = answer(
    ['GET /other', 'GET,POST /a where query.q in [1, 2]', 'PUT /a'],
    ['GET /other', 'GET,POST /a where query.q in [2, 3]'],
  );
  if (found.covered) throw new Error('covered');
  expect(printRule(found.of)).toBe('GET,POST /a where query.q in [2, 3]');
  expect(printRule(found.rule)).toBe('GET /a where query.q = 3');
  expect(found.nearest === undefined ? '' : printRule(found.nearest)).toBe('GET,POST /a where query.q in [1, 2]');
});

test('no rules cover nothing but what allows nothing', () => {
  expect(answer([], ['GET /a']).covered).toBe(false);
  expect(answer([], [])).toEqual({ covered: true });
  expect(answer([], ['GET /a where query.q < 1 and query.q > 1'])).toEqual({ covered: true });
});

test('lists that split into too many combinations are answered no, soon', () => {
  const values = Array.from({ length: 60 }, (_, index) => index).join(', ');
  const wide = `GET /a where ${['q', 'r', 's', 't'].map((key) => `query.${key} in [${values}]`).join(' and ')}`;
  const ceiling = Array.from({ length: 60 }, (_, index) => `GET /a where query.t = ${index}`);
  const started = performance.now();
  const found = answer(ceiling, [wide]);
  expect(found.covered ? 'covered' : found.clause.kind).toBe('combinations');
  expect(performance.now() - started).toBeLessThan(10_000);
});
