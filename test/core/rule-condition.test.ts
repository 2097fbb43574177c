// A condition holds if its value is there once, of the stated type, and passes; in every other case the rule does not match.

import { readJsonBody } from '@daypass/core/request-body';
import { RequestDetails } from '@daypass/core/request-details';
import { compileRules, matchRules, needsBody } from '@daypass/core/rule-match';
import { parseRules } from '@daypass/core/rule-parse';
import { describe, expect, test } from 'vitest';

type Asked = {
  readonly method?: string;
  readonly path?: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, readonly string[]>>;
  readonly body?: string;
};

const detailsOf = ({ query, headers = {}, body }: Asked): RequestDetails => {
  const details = new RequestDetails({ query, header: (name) => headers[name] ?? [] });
  if (body !== undefined) details.body = readJsonBody('application/json', new TextEncoder().encode(body));
  return details;
};

const allows = (rule: string, asked: Asked): boolean =>
  matchRules(
    compileRules(parseRules([rule])),
    asked.method ?? 'POST',
    asked.path ?? '/a',
    undefined,
    detailsOf(asked),
  ) !== undefined;

describe('a query', () => {
  test.each<[string, string | undefined, boolean]>([
    ['query.q = "x"', 'q=x', true],
    ['query.q = "x"', '%71=%78', true],
    ['query.q = "x"', 'a=1&q=x&b', true],
    ['query.q = "x"', '&&q=x&', true],
    ['query.q = "a b"', 'q=a+b', true],
    ['query.q = "a b"', 'q=a%20b', true],
    ['query.q = "a+b"', 'q=a%2Bb', true],
    ['query.q = "a+b"', 'q=a+b', false],
    ['query.q = "\\u00e9"', 'q=%C3%A9', true],
    ['query.q = "\\u00e9"', 'q=%E9', false],
    ['query.q = ""', 'q=', true],
    ['query.q = ""', 'q', false],
    ['query.q = "a=b"', 'q=a=b', true],
    ['query.q = "x"', 'Q=x', false],
    ['query.q = "x"', 'q[]=x', false],
    ['query["q[]"] = "x"', 'q[]=x', true],
    ['query["q[]"] = "x"', 'q%5B%5D=x', true],
    ['query["q[]"] = "x"', 'q[]=x&q=y', false],
    ['query["f[a]"] = "x"', 'f[a]=x&f[b]=y', false],
    ['query.q = "x"', undefined, false],
    ['query.q = "x"', '', false],
    ['query.q = "x"', 'q=x;', false],
    ['query.q = "x"', 'q=x;a=1', false],
    ['query.q = "x"', 'a=1;q=x', false],
    ['query.q = "x"', 'q=x&a=1;q=y', false],
    ['query.q = "x"', 'q=x&q', false],
    ['query.q = "x"', 'q=x&+q=y', false],
    ['query.q = "x"', 'q=x&q%20=y', false],
    ['query.q = "x"', 'q=x&q%00=y', false],
    ['query.q = "x"', 'q=x&%ef%bc%b1=y', false],
    ['query.q = "x"', 'q=x&q[=y', false],
    ['query.q = "x"', 'q=x&a[b[c=y', false],
    ['query.q = "x"', 'q=x&q%zz=y', false],
    ['query.q = "x"', 'q=x&b%ff=y', false],
    ['query.q = "x"', 'q=x&b=%ff', true],
    ['query.q = "x"', 'q=x%00', false],
    ['query.a_b = "x"', 'a_b=x&a.b=y', false],
    ['query.a_b = "x"', 'a_b=x&a%20b=y', false],
    ['query.k = "x"', 'k=x&%E2%84%AA=y', false],
    ['query.s = "x"', 's=x&%C5%BF=y', false],
    ['query.n = 5', 'n=5', true],
    ['query.n = 5', 'n=5.0', true],
    ['query.n = 5', 'n=05', false],
    ['query.n = 5', 'n=%2B5', false],
    ['query.n = 5', 'n=5e0', false],
    ['query.n = 5', 'n=+5', false],
    ['query.n = 5', 'n=0x5', false],
    ['query.n = 5', 'n=%EF%BC%95', false],
    ['query.n = "5"', 'n=5', true],
    ['query.n = "5"', 'n=5.0', false],
    ['query.n <= 100', 'n=100', true],
    ['query.n <= 100', 'n=100.5', false],
    ['query.n <= 100', 'n=-3', true],
    ['query.n <= 100', 'n=', false],
    ['query.n <= 100', 'n=-9007199254740993', false],
    ['query.n > 1 and query.n < 2', 'n=1.5', true],
    ['query.n < 100', 'n=99.99999999999999999', false],
    ['query.n in ["all", 1]', 'n=all', true],
    ['query.n in ["all", 1]', 'n=1', true],
    ['query.n in ["all", 1]', 'n=2', false],
    ['absent query.p', undefined, true],
    ['absent query.p', 'q=1', true],
    ['absent query.p', 'p', false],
    ['absent query.p', 'P=1', false],
    ['absent query.p', 'p[]=1', false],
    ['absent query.p', 'p[x][y]=1', false],
    ['absent query.p', 'a;p=1', false],
    ['absent query.p', '%70=1', false],
    ['absent query.p', 'x%=1', false],
  ])('with %s and %j: %s', (condition, query, expected) => {
    expect(allows(`GET /a where ${condition}`, { method: 'GET', ...(query === undefined ? {} : { query }) })).toBe(
      expected,
    );
  });
});

describe('a header', () => {
  test.each<[string, readonly string[], boolean]>([
    ['header.x = "a"', ['a'], true],
    ['header.x = "a"', ['A'], false],
    ['header.x = "a"', ['a', 'a'], false],
    ['header.x = "a"', ['a, a'], false],
    ['header.x = "a"', [], false],
    ['header.x = ""', [''], true],
    ['header.x >= 2', ['10'], true],
    ['header.x >= 2', ['1e1'], false],
    ['absent header.x', [], true],
    ['absent header.x', [''], false],
  ])('with %s and %j: %s', (condition, values, expected) => {
    expect(allows(`POST /a where ${condition}`, { headers: { x: values } })).toBe(expected);
  });
});

describe('a segment of the path', () => {
  test.each<[string, string, boolean]>([
    ['* /r/{o}/{n} where path.o = "acme" and path.n <= 9', '/r/acme/9', true],
    ['* /r/{o}/{n} where path.o = "acme" and path.n <= 9', '/r/acme/10', false],
    ['* /r/{o}/{n} where path.o = "acme" and path.n <= 9', '/r/acme/x', false],
    ['* /r/{o}/{n} where path.o = "acme" and path.n <= 9', '/r/Acme/9', false],
    ['* /r/{o}/{n} where path.o = "acme" and path.n <= 9', '/r/acm%65/9', false],
    ['* /{o}/** where path.o in ["a", "b"]', '/b/c/d', true],
    ['* /{o}/** where path.o in ["a", "b"]', '/c/b/d', false],
  ])('with %s and %s: %s', (rule, path, expected) => expect(allows(rule, { path })).toBe(expected));
});

describe('a body', () => {
  test.each<[string, string, boolean]>([
    ['body.a = "x"', '{"a":"x"}', true],
    ['body.a = "x"', '{"\\u0061":"\\u0078"}', true],
    ['body.a = "x"', '{"a":["x"]}', false],
    ['body.a = "x"', '[{"a":"x"}]', false],
    ['body.a = "x"', '{"b":1,"A":"x"}', false],
    ['body.a = "x"', '{"a":"x","A":1}', false],
    ['body.a = 1', '{"a":1}', true],
    ['body.a = 1', '{"a":1.0}', true],
    ['body.a = 1', '{"a":"1"}', false],
    ['body.a = 1', '{"a":1e0}', false],
    ['body.a = 1', '{"a":true}', false],
    ['body.a = "1"', '{"a":1}', false],
    ['body.a = 0.1', '{"a":0.1}', true],
    ['body.a = 0.1', '{"a":0.1000000000000000055}', false],
    ['body.a = 0', '{"a":-0}', false],
    ['body.a = 9007199254740992', '{"a":9007199254740992}', true],
    ['body.a = 9007199254740992', '{"a":9007199254740993}', false],
    ['body.a < 100', '{"a":99.99999999999999999}', false],
    ['body.a < 100', '{"a":"5"}', false],
    ['body.a < 100', '{"a":null}', false],
    ['body.a < 100', '{}', false],
    ['body.a = true', '{"a":true}', true],
    ['body.a = true', '{"a":"true"}', false],
    ['body.a = null', '{"a":null}', true],
    ['body.a = null', '{}', false],
    ['body.a.b = 1', '{"a":{"b":1}}', true],
    ['body.a.b = 1', '{"a":{"b":1},"A":{"b":2}}', false],
    ['body.a.b = 1', '{"a":{"b":1,"B":2}}', false],
    ['body.a.b = 1', '{"a":[{"b":1}]}', false],
    ['body["a.b"] = 1', '{"a.b":1}', true],
    ['body["a.b"] = 1', '{"a":{"b":1}}', false],
    ['body.a[*].b = 1', '{"a":[{"b":1},{"b":1,"c":2}]}', true],
    ['body.a[*].b = 1', '{"a":[{"b":1},{"b":2}]}', false],
    ['body.a[*].b = 1', '{"a":[{"b":1},{}]}', false],
    ['body.a[*].b = 1', '{"a":[]}', false],
    ['body.a[*].b = 1', '{"a":{"0":{"b":1}}}', false],
    ['body[*] in ["x", 1]', '["x",1,"x"]', true],
    ['body[*] in ["x", 1]', '["x",1,null]', false],
    ['body[*] in ["x", 1]', '[]', false],
    ['body[*][*] = 1', '[[1],[1,1]]', true],
    ['body[*][*] = 1', '[[1],[]]', false],
    ['absent body.a', '{}', true],
    ['absent body.a', '{"a":null}', false],
    ['absent body.a', '{"A":1}', false],
    ['absent body.a', '[]', false],
    ['absent body.a', '"x"', false],
    ['absent body.a.b', '{}', true],
    ['absent body.a.b', '{"a":{}}', true],
    ['absent body.a.b', '{"a":null}', false],
    ['absent body.a.b', '{"a":[{"b":1}]}', false],
    ['absent body.a.b', '{"A":{"b":1}}', false],
    ['body.__proto__ = 1', '{"__proto__":1}', true],
    ['body.constructor.name = "Object"', '{}', false],
    ['absent body.toString', '{}', true],
    ['body.k = 1', '{"k":1,"\u212a":2}', false],
    ['body.s = 1', '{"s":1,"\u017f":2}', false],
  ])('with %s and %s: %s', (condition, body, expected) => {
    expect(allows(`POST /a where ${condition}`, { body })).toBe(expected);
  });
});

test('without details or a body, a rule that asks for them allows nothing', () => {
  const rules = compileRules(parseRules(['GET /a where absent query.q', 'GET /a where absent body.x']));
  expect(matchRules(rules, 'GET', '/a')).toBeUndefined();
  expect(matchRules(rules, 'GET', '/a', undefined, detailsOf({ query: 'q=1' }))).toBeUndefined();
  expect(matchRules(rules, 'GET', '/a', undefined, detailsOf({}))).toBe('GET /a where absent query.q');
});

test.each<[string, Asked, boolean]>([
  ['POST /a where body.x = 1', {}, true],
  ['POST /a where body.x = 1 and query.q = 1', {}, false],
  ['POST /a where body.x = 1 and query.q = 1', { query: 'q=1' }, true],
  ['POST /a where query.q = 1', { query: 'q=1' }, false],
  ['POST /a where body.x = 1', { path: '/b' }, false],
  ['PUT /a where body.x = 1', {}, false],
  ['scope:s', {}, true],
  ['scope:other', {}, false],
  ['mcp /a ping', {}, true],
  ['mcp /a ping', { method: 'PUT' }, false],
  ['mcp /a ping', { query: '' }, false],
  ['graphql /a query x', {}, true],
  ['graphql /a query x', { method: 'GET', query: 'query={x}' }, false],
  ['op:x', {}, false],
])('%s asks for the body of %j: %s', (rule, asked, expected) => {
  const scopes = new Map([['s', compileRules(parseRules(['POST /a where absent body.x']))]]);
  const rules = compileRules(parseRules([rule]));
  const { method = 'POST', path = '/a' } = asked;
  expect(needsBody(rules, method, path, (name) => scopes.get(name), detailsOf(asked))).toBe(expected);
});

test('a named scope may have conditions', () => {
  const scopes = new Map([['s', compileRules(parseRules(['POST /a where body.x = 1']))]]);
  const rules = compileRules(parseRules(['scope:s']));
  const match = (body: string) => matchRules(rules, 'POST', '/a', (name) => scopes.get(name), detailsOf({ body }));
  expect(match('{"x":1}')).toBe('scope:s');
  expect(match('{"x":2}')).toBeUndefined();
});

test('an op: rule allows nothing', () => {
  expect(allows('op:x', { body: '{}' })).toBe(false);
});

test('a body that costs too many steps is not decided on, and soon', () => {
  const condition = 'body[*].x[*] in [1] and absent body[*]';
  expect(() => parseRules([`POST /a where ${condition}`])).toThrow();
  const rules = Array.from({ length: 1000 }, (_, index) => `POST /a where body.x[*] = 1 and body.z = ${index}`);
  const compiled = compileRules(parseRules([...rules, 'POST /a where body.z = -1']));
  const details = detailsOf({ body: `{"x":[${'1,'.repeat(90_000)}1],"z":-1}` });
  const start = performance.now();
  expect(matchRules(compiled, 'POST', '/a', undefined, details)).toBeUndefined();
  expect(performance.now() - start).toBeLessThan(2000);
});

const MARKS = '\u0315\u0300\u05ae\u0300';

test.each([
  ['marks without end', ['POST /a where body.x = 1'], `{"a${MARKS.repeat(100_000)}":1,"x":2}`],
  ['runs of marks', ['POST /a where body.x = 1'], `{${member(12_000, MARKS.repeat(9))}}`],
  ['ligatures', ['POST /a where body.x = 1'], `{${member(4000, '\ufdfa'.repeat(80))}}`],
  ['marks in parameters', ['mcp /a tools/call b'], rpc(`{"name":"c","a${MARKS.repeat(100_000)}":1}`)],
  ['marks in extensions', ['graphql /a query b'], `{"query":"{c}","extensions":{"a${MARKS.repeat(100_000)}":1}}`],
  ['a default used often', ['graphql /a query * where arg.x[*] = 2'], `{"query":"${defaults()}"}`],
])('member names and documents made to be slow are decided on soon: %s', (_name, rules, body) => {
  const compiled = compileRules(parseRules(rules));
  const details = detailsOf({ body });
  const start = performance.now();
  expect(matchRules(compiled, 'POST', '/a', undefined, details)).toBeUndefined();
  // Milliseconds on a free machine; some of these took minutes.
  expect(performance.now() - start).toBeLessThan(1000);
});

function member(count: number, tail: string): string {
  return Array.from({ length: count }, (_, i) => `"${i}${tail}":1`).join(',');
}

function rpc(params: string): string {
  return `{"jsonrpc":"2.0","method":"tools/call","params":${params}}`;
}

function defaults(): string {
  const fields = Array.from({ length: 500 }, (_, i) => `a${i}:f(x:[$x,$x,$x,$x])`);
  return `query($x:[Int]=[${'1 '.repeat(6000)}]){${fields.join(' ')}}`;
}

test('a long list of literals is asked at once', () => {
  const literals = Array.from({ length: 900 }, (_, i) => i);
  expect(allows(`POST /a where body.x in [${literals.join(',')}]`, { body: '{"x":899.0}' })).toBe(true);
  expect(allows(`POST /a where body.x in [${literals.join(',')}]`, { body: '{"x":"899"}' })).toBe(false);
  expect(allows('POST /a where body.x in ["1",true]', { body: '{"x":true}' })).toBe(true);
  expect(allows('POST /a where body.x in ["1",true]', { body: '{"x":false}' })).toBe(false);
  expect(allows('POST /a where body.x in [null,1]', { body: '{"x":null}' })).toBe(true);
});
