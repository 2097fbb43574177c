// MCP rules allow JSON-RPC calls by method, name and arguments, and a batch only if they allow each of its members.

import { readJsonBody } from '@daypass/core/request-body';
import { RequestDetails } from '@daypass/core/request-details';
import { covers } from '@daypass/core/rule-covers';
import { diff } from '@daypass/core/rule-diff';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { parseRules } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
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

describe('an answer to a request of the server', () => {
  const answer = { jsonrpc: '2.0', id: 1, result: { action: 'accept', content: { repo: 'site' } } };
  const failed = { jsonrpc: '2.0', id: 'a', error: { code: -1, message: 'User rejected the request' } };
  test.each<[string, unknown, boolean]>([
    ['response', answer, true],
    ['response', { jsonrpc: '2.0', id: 'x', result: {} }, true],
    ['response', failed, true],
    ['initialize,response', answer, true],
    ['response', [answer, failed], true],
    ['initialize,ping,tools/list', answer, false],
    ['tools/call', answer, false],
    ['response', { jsonrpc: '2.0', id: 1, method: 'response' }, false],
    ['response', { jsonrpc: '2.0', id: 1, method: 'response', params: {} }, false],
    ['response', { ...answer, method: 'tools/call', params: good.params }, false],
    ['tools/call', { ...answer, method: 'tools/call', params: good.params }, false],
    ['response', { ...answer, Method: 'tools/call' }, false],
    ['response', { ...answer, params: {} }, false],
    ['response', { ...answer, error: failed.error }, false],
    ['response', { ...failed, result: {} }, false],
    ['response', { ...answer, result: null }, false],
    ['response', { ...answer, result: [answer.result] }, false],
    ['response', { ...answer, result: undefined }, false],
    ['response', { ...failed, error: 'no' }, false],
    ['response', { ...failed, error: undefined }, false],
    ['response', { ...answer, id: null }, false],
    ['response', { ...answer, id: undefined }, false],
    ['response', { ...answer, jsonrpc: '1.0' }, false],
    ['response', { ...answer, method: null }, false],
    ['response', [answer, good], false],
    ['response where arg.action = "accept"', answer, true],
    ['response where arg.content.repo = "site"', answer, true],
    ['response where arg.action in ["cancel", "decline"]', answer, false],
    ['response where arg.action = "accept"', failed, false],
    ['response where arg.message = "User rejected the request"', failed, false],
    ['response where absent arg.content', answer, false],
    ['response where absent arg.content', failed, true],
  ])('by %s: %j: %s', (rule, body, expected) => expect(match([`mcp /mcp ${rule}`], body) !== undefined).toBe(expected));

  test('is no part of what other rules cover', () => {
    const [asked, ...ceilings] = parseRules(['mcp /mcp response', 'mcp /mcp ping', 'mcp /mcp tools/call', 'POST /mcp']);
    const covering = ceilings.filter((ceiling) => asked !== undefined && covers([ceiling], [asked]).covered);
    expect(covering.map(printRule)).toEqual(['POST /mcp']);
    expect(covers(parseRules(['mcp /mcp ping,response']), parseRules(['mcp /mcp response'])).covered).toBe(true);
  });

  test('is what a diff shows for it', () => {
    const [change] = diff([], parseRules(['mcp /mcp response where arg.action = "accept"'])).widens;
    expect(change?.example?.body).toBe('{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}');
  });

  test('has no name', () => {
    expect(() => parseRules(['mcp /mcp response add_labels'])).toThrow(
      expect.objectContaining({ code: 'invalid_rule', column: 19 }),
    );
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
