// GraphQL rules allow what is really asked of the root, however the document hides it.

import { readJsonBody } from '@daypass/core/request-body';
import { RequestDetails } from '@daypass/core/request-details';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { parseRules } from '@daypass/core/rule-parse';
import { describe, expect, test } from 'vitest';

const match = (
  rules: readonly string[],
  body: unknown,
  type = 'application/json',
  query?: string,
): string | undefined => {
  const details = new RequestDetails({ query, header: () => [] });
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  details.body = readJsonBody(type, new TextEncoder().encode(text));
  return matchRules(compileRules(parseRules(rules)), 'POST', '/graphql', undefined, details);
};

const ANY = 'graphql /graphql query repository,viewer';
const OWNED = 'graphql /graphql query repository where arg.owner = "acme"';

describe('a document', () => {
  test.each([
    ['{ viewer { login } }'],
    ['query { viewer { login } }'],
    ['query Q($a: [String!]! = ["x"] @d, $b: Int) { viewer { login } }'],
    ['\t{,,viewer,,{login}}\r\n'],
    ['# { secrets }\n{ viewer { login } }'],
    ['{ viewer # } secrets {\n { login } }'],
    ['{ secrets: viewer { login } }'],
    ['{ viewer { login } repository(owner: "x") { id } }'],
    ['{ ...F } fragment F on Query { viewer { login } }'],
    ['{ ... on Query { viewer { login } } }'],
    ['{ ... { viewer { login } } }'],
    ['{ ...F } fragment F on Query { ...G viewer { login } } fragment G on Query { ...F repository { id } }'],
    ['{ viewer { secrets @include(if: true) ...F } } fragment F on User @d { login }'],
    ['{ viewer { a(x: """ } secrets { """) b(x: " } secrets { ") } }'],
    ['{ viewer(a: 1, b: -1.5e3, c: [1 2], d: {x: $y}, e: ENUM, f: null, g: "") { id } }'.replace('$y', '1')],
    ['{ viewer { é: id } }'.replace('é', 'e')],
    ['{ viewer(a: "é 😀") { id } }'],
  ])('%s asks for what the rule names', (query) => expect(match([ANY], { query })).toBe(ANY));

  test.each([
    ['{ secrets }'],
    ['{ viewer: secrets { login } }'],
    ['{ viewer { login } secrets }'],
    ['{ __schema { types { name } } }'],
    ['{ __typename }'],
    ['mutation { viewer { login } }'],
    ['subscription { viewer { login } }'],
    ['{ ...F } fragment F on Query { secrets }'],
    ['{ ...F viewer { id } } fragment F on Query { ... on Query { ...G } } fragment G on Query { secrets }'],
    ['{ ... on Query { secrets } }'],
    ['{ ...F }'],
    ['{ ...F } fragment F on Query { viewer { id } } fragment F on Query { secrets }'],
    ['{ viewer { id } } { secrets }'],
    ['query A { viewer { id } } query B { secrets }'],
    ['query A { viewer { id } } mutation B { viewer { id } }'],
    ['fragment F on Query { viewer { id } }'],
    ['{ viewer @skip(if: false) { login } }'],
    ['{ viewer @include(if: $x) { login } }'],
    ['{ ...F @include(if: true) } fragment F on Query { viewer { id } }'],
    ['{ ... @include(if: true) { viewer { id } } }'],
    ['{ ...F } fragment F on Query @x { viewer { id } }'],
    ['query @live { viewer { id } }'],
    ['{ viewer(a: 1, a: 2) { id } }'],
    ['{ viewer(a: {b: 1, b: 2}) { id } }'],
    ['query ($a: Int, $a: Int) { viewer(a: $a) { id } }'],
    ['{ viewer(a: $undeclared) { id } }'],
    ['query ($a: Int = $b, $b: Int) { viewer(a: $a) { id } }'],
    ['# a comment ends at a carriage return\r{ secrets }'],
    ['{ viewer(a: """ \\""" """) { id } secrets }'],
    ['{ viewer(a: """ \\""" ) { id } }'],
    ['{ viewer(a: """) { id } } # """'],
    ['{ viewer(a: "\n") { id } }'],
    ['{ viewer(a: "\\u{61}") { id } }'],
    ['{ viewer(a: "\\ud800") { id } }'],
    ['{ viewer(a: "\\x") { id } }'],
    ['{ viewer(a: 01) { id } }'],
    ['{ viewer(a: 1.) { id } }'],
    ['{ viewer(a: 1a) { id } }'],
    ['{ viewer(a: +1) { id } }'],
    ["{ viewer(a: 'x') { id } }"],
    ['{ viewer() { id } }'],
    ['{ viewer { } }'],
    ['{ }'],
    [''],
    ['{ viewer { id }'],
    ['{ viewer { id } } }'],
    ['{ viewer { id } };'],
    ['\ufeff{ viewer { id } }'],
    ['{ viewer\u00a0{ id } }'],
    ['{ viewer #\u2028 secrets\n { id } }'],
    ['{ viewer #\u0000\n { id } }'],
    ['{ vi\\u0065wer { id } }'],
    ['{ ｖiewer { id } }'],
    ['type Query { viewer: Int }'],
    ['"description" { viewer { id } }'],
    ['Query { viewer { id } }'],
    [`{ viewer ${'{ a '.repeat(70)}${'}'.repeat(70)} }`],
    [`{ viewer(a: ${'['.repeat(70)}${']'.repeat(70)}) { id } }`],
    [`{ ${'viewer '.repeat(1001)} }`],
    [`{ viewer { ${'a '.repeat(20_001)} } }`],
  ])('%s is refused', (query) => expect(match([ANY], { query })).toBeUndefined());
});

describe('a request', () => {
  const query = 'query Q { viewer { id } }';
  test.each<[unknown]>([
    [{ query }],
    [{ query, operationName: 'Q' }],
    [{ query, operationName: null, variables: null, extensions: null }],
    [{ query, variables: { unused: 1 }, extensions: { clientLibrary: { name: 'x' } } }],
  ])('%j is read', (body) => expect(match([ANY], body)).toBe(ANY));

  test.each<[unknown]>([
    [{ query, operationName: 'q' }],
    [{ query, operationName: '' }],
    [{ query: '{ viewer { id } }', operationName: 'Q' }],
    [{ query, operationName: ['Q'] }],
    [{ query, variables: '{}' }],
    [{ query, variables: [] }],
    [{ query, Query: '{ secrets }' }],
    [{ query, Variables: {} }],
    [{ query, doc_id: '1' }],
    [{ query, id: '1' }],
    [{ query, documentId: 'x' }],
    [{ query, extensions: { persistedQuery: { version: 1, sha256Hash: 'x' } } }],
    [{ query, extensions: { PersistedQuery: null } }],
    [{ query, extensions: [] }],
    [{ query: [query] }],
    [{ query: null }],
    [{}],
    [[{ query }]],
    ['"x"'],
    [null],
  ])('%j is refused', (body) => expect(match([ANY], body)).toBeUndefined());

  test('has a plain JSON type and no query in its URL', () => {
    expect(match([ANY], { query }, 'application/graphql+json')).toBeUndefined();
    expect(match([ANY], { query }, 'application/json', 'query={secrets}')).toBeUndefined();
    expect(match([ANY], { query }, 'application/json', '')).toBeUndefined();
  });

  test('is a POST to the path of the rule', () => {
    const rules = compileRules(parseRules([ANY]));
    const details = new RequestDetails({ query: undefined, header: () => [] });
    details.body = readJsonBody('application/json', new TextEncoder().encode(JSON.stringify({ query })));
    expect(matchRules(rules, 'POST', '/graphql', undefined, details)).toBe(ANY);
    for (const method of ['GET', 'PUT', 'QUERY']) {
      expect(matchRules(rules, method, '/graphql', undefined, details)).toBeUndefined();
    }
    expect(matchRules(rules, 'POST', '/graphql/', undefined, details)).toBeUndefined();
  });
});

describe('arguments', () => {
  test.each<[string, unknown?]>([
    ['{ repository(owner: "acme") { id } }'],
    ['{ repository(owner: "\\u0061cme") { id } }'],
    ['{ repository(owner: acme) { id } }'],
    ['query ($o: String!) { repository(owner: $o) { id } }', { o: 'acme' }],
    ['query ($o: String = "acme") { repository(owner: $o) { id } }', {}],
    ['query ($o: String = "x") { repository(owner: $o) { id } }', { o: 'acme' }],
    ['{ a: repository(owner: "acme") { id } b: repository(owner: "acme", name: """x""") { id } }'],
    ['query ($o: String!) { ...F } fragment F on Query { repository(owner: $o) { id } }', { o: 'acme' }],
  ])('%s with %j fit', (query, variables) => expect(match([OWNED], { query, variables })).toBe(OWNED));

  test.each<[string, unknown?]>([
    ['{ repository { id } }'],
    ['{ repository(owner: "other") { id } }'],
    ['{ repository(Owner: "acme") { id } }'],
    ['{ repository(owner: "acme", Owner: "x") { id } }'],
    ['{ repository(owner: ["acme"]) { id } }'],
    ['{ repository(owner: """acme""") { id } }'],
    ['{ repository(owner: null) { id } }'],
    ['{ repository(name: "x") { owner(owner: "acme") } }'],
    ['{ a: repository(owner: "acme") { id } b: repository(owner: "x") { id } }'],
    ['{ owner: repository(owner: "x") { id } }'],
    ['query ($o: String!) { repository(owner: $o) { id } }', { o: 'other' }],
    ['query ($o: String!) { repository(owner: $o) { id } }', { O: 'acme' }],
    ['query ($o: String!) { repository(owner: $o) { id } }', {}],
    ['query ($o: String = "acme") { repository(owner: $o) { id } }', { o: 'x' }],
    ['query ($o: String = "acme") { repository(owner: $o) { id } }', { o: null }],
    ['query ($o: String = "x") { repository(owner: $o) { id } }'],
    ['query ($o: [String]) { repository(owner: $o) { id } }', { o: ['acme'] }],
    ['query ($acme: String) { repository(owner: $acme) { id } }', { acme: 'x' }],
    [
      '{ ...F ...G } fragment F on Query { repository(owner: "acme") { id } } fragment G on Query { repository(owner: "x") { id } }',
    ],
  ])('%s with %j are refused', (query, variables) => expect(match([OWNED], { query, variables })).toBeUndefined());

  test.each<[string, string, unknown, boolean]>([
    ['arg.input.labels[*] in ["bug"]', '{ x(input: {labels: ["bug", "bug"]}) }', {}, true],
    ['arg.input.labels[*] in ["bug"]', '{ x(input: {labels: ["bug", "x"]}) }', {}, false],
    ['arg.input.labels[*] in ["bug"]', '{ x(input: {labels: "bug"}) }', {}, false],
    ['arg.input.labels[*] in ["bug"]', 'query ($l: [String]) { x(input: {labels: $l}) }', { l: ['bug'] }, true],
    ['arg.input.labels[*] in ["bug"]', 'query ($l: String) { x(input: {labels: ["bug", $l]}) }', {}, false],
    ['arg.input.labels[*] in ["bug"]', 'query ($i: I) { x(input: $i) }', { i: { labels: ['bug'], Labels: [] } }, false],
    ['arg.l[*] in ["bug", null]', '{ x(l: ["bug", null]) }', {}, true],
    ['arg.n <= 10', '{ x(n: 10) }', {}, true],
    ['arg.n <= 10', '{ x(n: 10.5) }', {}, false],
    ['arg.n <= 10', '{ x(n: 1e1) }', {}, false],
    ['arg.n <= 10', '{ x(n: "10") }', {}, false],
    ['arg.n <= 10', 'query ($n: Int) { x(n: $n) }', { n: 3 }, true],
    ['absent arg.force', '{ x }', {}, true],
    ['absent arg.force', '{ x(force: null) }', {}, false],
    ['absent arg.force', '{ x(force: """x""") }', {}, false],
    ['absent arg.force', 'query ($f: Boolean) { x(force: $f) }', {}, true],
    ['absent arg.force', 'query ($f: Boolean) { x(force: $f) }', { f: null }, false],
    ['absent arg.input.force', '{ x(input: """x""") }', {}, false],
    ['arg.dry = true', '{ x(dry: true) }', {}, true],
    ['arg.dry = true', '{ x(dry: "true") }', {}, false],
    ['arg.state = "OPEN"', '{ x(state: OPEN) }', {}, true],
  ])('%s on %s with %j: %s', (condition, query, variables, expected) => {
    expect(match([`graphql /graphql query x where ${condition}`], { query, variables }) !== undefined).toBe(expected);
  });
});

test.each([
  ['{ viewer repository }', true],
  ['{ viewer __typename }', false],
  ['{ __schema { types { name } } }', false],
  ['{ __type(name: "x") { name } }', false],
  ['mutation { viewer }', false],
])('with * for the fields, %s: %s', (query, expected) => {
  expect(match(['graphql /graphql query *'], { query }) !== undefined).toBe(expected);
});

test('introspection is allowed when it is named', () => {
  const rule = 'graphql /graphql query __schema,__type,__typename';
  expect(match([rule], { query: '{ __schema { types { name } } __typename }' })).toBe(rule);
});

describe('a persisted document', () => {
  const rule = 'graphql /graphql persisted abc,def where arg.owner = "acme"';
  const variables = { owner: 'acme' };
  const named = (persistedQuery: unknown, more: object = {}) => ({
    variables,
    extensions: { persistedQuery },
    ...more,
  });
  test.each<[unknown]>([
    [named({ version: 1, sha256Hash: 'abc' })],
    [{ documentId: 'def', variables, operationName: 'Q' }],
  ])('%j is allowed where it is named', (body) => expect(match([rule], body)).toBe(rule));
  test.each<[unknown]>([
    [named({ version: 1, sha256Hash: 'xyz' })],
    [named({ version: 2, sha256Hash: 'abc' })],
    [named({ version: '1', sha256Hash: 'abc' })],
    [named({ version: 1, sha256Hash: 'abc', x: 1 })],
    [named('abc')],
    [named({ version: 1, sha256Hash: 'abc' }, { query: '{ secrets }' })],
    [named({ version: 1, sha256Hash: 'abc' }, { documentId: 'def' })],
    [named({ version: 1, sha256Hash: 'abc' }, { variables: { owner: 'x' } })],
    [{ extensions: { PersistedQuery: { version: 1, sha256Hash: 'abc' } }, variables }],
    [{ documentId: 'def', query: '{ secrets }', variables }],
    [{ documentId: ['def'], variables }],
    [{ documentId: 'def' }],
    [{ id: 'def', variables }],
  ])('%j is refused', (body) => expect(match([rule], body)).toBeUndefined());
});

describe('a batch', () => {
  const rules = ['graphql /graphql batch query viewer', 'graphql /graphql batch mutation star', ANY];
  const viewer = { query: '{ viewer { id } }' };
  const star = { query: 'mutation { star(id: 1) { id } }' };
  test('is allowed only if each member is, by rules that name batches', () => {
    expect(match(rules, [viewer])).toBe(rules[0]);
    expect(match(rules, [viewer, star, viewer])).toBe(`${rules[0]}; ${rules[1]}`);
    expect(match(rules, viewer)).toBe(rules[0]);
  });
  test.each<[unknown]>([
    [[]],
    [[[viewer]]],
    [[viewer, { query: '{ secrets }' }]],
    [[viewer, { query: '{ repository { id } }' }]],
    [[viewer, null]],
    [Array(65).fill(viewer)],
  ])('%j is refused', (body) => expect(match(rules, body)).toBeUndefined());
});
