// MCP rules allow JSON-RPC calls by method, name and arguments, and a batch only if they allow each of its members.

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
  return matchRules(compileRules(parseRules(rules)), 'POST', '/mcp', undefined, details);
};

const RULE = 'mcp /mcp tools/call add_labels,comment where arg.repo = "site"';
const call = (name: unknown, args: unknown, more: object = {}) => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name, arguments: args },
  ...more,
});
const good = call('add_labels', { repo: 'site', labels: ['x'] });

test.each<[unknown]>([
  [good],
  [call('comment', { repo: 'site' }, { id: 'x' })],
  [{ ...good, params: { ...good.params, _meta: { progressToken: 1 } } }],
  [{ jsonrpc: '2.0', method: 'tools/call', params: good.params }],
  ['{"jsonrpc":"2.0","id":1,"method":"tools\\/call","params":{"name":"add\\u005flabels","arguments":{"repo":"site"}}}'],
])('%j is allowed', (body) => expect(match([RULE], body)).toBe(RULE));

test.each<[unknown]>([
  [call('delete_repo', { repo: 'site' })],
  [call('add_labels', { repo: 'other' })],
  [call('add_labels', { repo: ['site'] })],
  [call('add_labels', { repo: 'site', Repo: 'other' })],
  [call('add_labels', {})],
  [call('add_labels', null)],
  [call('add_labels', undefined)],
  [call('add_labels', [{ repo: 'site' }])],
  [call('add_labels', '{"repo":"site"}')],
  [call(['add_labels'], { repo: 'site' })],
  [call('Add_Labels', { repo: 'site' })],
  [call('add_labels ', { repo: 'site' })],
  [call(undefined, { repo: 'site' })],
  [{ ...good, params: { ...good.params, Name: 'delete_repo' } }],
  [{ ...good, params: { ...good.params, ARGUMENTS: { repo: 'other' } } }],
  [{ ...good, params: { ...good.params, NAME: 'x' } }],
  [{ ...good, params: [good.params] }],
  [{ ...good, params: undefined }],
  [{ ...good, Method: 'resources/read' }],
  [{ ...good, Params: {} }],
  [{ ...good, extra: 1 }],
  [{ ...good, id: null }],
  [{ ...good, id: {} }],
  [{ ...good, jsonrpc: '1.0' }],
  [{ ...good, jsonrpc: 2.0 }],
  [{ ...good, jsonrpc: undefined }],
  [{ ...good, method: 'Tools/call' }],
  [{ ...good, method: 'tools/list' }],
  [{ ...good, method: ['tools/call'] }],
  [{ ...good, result: {} }],
  [{ jsonrpc: '2.0', id: 1, result: {} }],
  [null],
  ['1'],
])('%j is refused', (body) => expect(match([RULE], body)).toBeUndefined());

test.each([
  [
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add_labels","name":"x","arguments":{"repo":"site"}}}',
  ],
  [
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","n\\u0061me":"add_labels","arguments":{"repo":"site"}}}',
  ],
  [
    '{"jsonrpc":"2.0","id":1,"method":"x","method":"tools/call","params":{"name":"add_labels","arguments":{"repo":"site"}}}',
  ],
])('%s says a thing twice and cannot be read', (body) => {
  expect(() => match([RULE], body)).toThrow(expect.objectContaining({ code: 'invalid_json' }));
});

test('the type is plain JSON, and the URL has no query', () => {
  expect(match([RULE], good, 'application/json-rpc+json')).toBeUndefined();
  expect(match([RULE], good, 'application/json', 'method=x')).toBeUndefined();
});

describe('other methods', () => {
  const rules = [
    'mcp /mcp initialize,notifications/initialized,ping,tools/list',
    'mcp /mcp resources/read where arg.uri = "file:///a"',
  ];
  test.each<[string, unknown, boolean]>([
    ['initialize', { protocolVersion: '2025-06-18' }, true],
    ['tools/list', undefined, true],
    ['ping', {}, true],
    ['notifications/initialized', undefined, true],
    ['notifications/cancelled', undefined, false],
    ['tools/call', { name: 'tools/list' }, false],
    ['resources/read', { uri: 'file:///a' }, true],
    ['resources/read', { uri: 'file:///b' }, false],
    ['resources/read', { uri: 'file:///a', URI: 'file:///b' }, false],
    ['resources/read', undefined, false],
  ])('%s with %j: %s', (method, params, expected) => {
    expect(match(rules, { jsonrpc: '2.0', id: 1, method, params }) !== undefined).toBe(expected);
  });
});

test('without names every name is allowed, if it is one', () => {
  const rule = 'mcp /mcp tools/call where absent arg.force';
  expect(match([rule], call('anything', {}))).toBe(rule);
  expect(match([rule], { ...good, params: { name: 'x' } })).toBe(rule);
  expect(match([rule], call('anything', { force: false }))).toBeUndefined();
  expect(match([rule], call(7, {}))).toBeUndefined();
});

describe('a batch', () => {
  const rules = [RULE, 'mcp /mcp tools/list'];
  const list = { jsonrpc: '2.0', id: 2, method: 'tools/list' };
  test('is allowed if each member is by some rule', () => {
    expect(match(rules, [good, list, good])).toBe(`${rules[0]}; ${rules[1]}`);
    expect(match(rules, [list])).toBe(rules[1]);
  });
  test.each<[unknown]>([
    [[]],
    [[good, call('delete_repo', { repo: 'site' })]],
    [[good, { jsonrpc: '2.0', id: 1, result: {} }]],
    [[[good]]],
    [[good, 1]],
    [Array(65).fill(list)],
  ])('%j is refused', (body) => expect(match(rules, body)).toBeUndefined());
  test('of a named scope has the text of the scope', () => {
    const scopes = new Map([['s', compileRules(parseRules(rules))]]);
    const details = new RequestDetails({ query: undefined, header: () => [] });
    details.body = readJsonBody('application/json', new TextEncoder().encode(JSON.stringify([good, list])));
    const compiled = compileRules(parseRules(['scope:s']), (name) => scopes.get(name));
    expect(matchRules(compiled, 'POST', '/mcp', undefined, details)).toBe('scope:s');
  });
});
