// Conditions are read, put in one order and printed in one form; what could not be meant is refused at its column.

import type { Rule } from '@daypass/core/rule';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import { expect, test } from 'vitest';

test.each<[string, Rule]>([
  [
    'POST /repos/acme/{repo}/issues/{n}/labels where path.n <= 10 and body.labels[*] in ["bug", "triage"]',
    {
      kind: 'template',
      methods: ['POST'],
      segments: [
        { kind: 'literal', text: 'repos' },
        { kind: 'literal', text: 'acme' },
        { kind: 'name', name: 'repo' },
        { kind: 'literal', text: 'issues' },
        { kind: 'name', name: 'n' },
        { kind: 'literal', text: 'labels' },
      ],
      conditions: [
        { subject: { in: 'path', name: 'n' }, test: { kind: 'compare', operator: '<=', bound: '10' } },
        {
          subject: { in: 'body', steps: [{ kind: 'member', name: 'labels' }, { kind: 'each' }] },
          test: {
            kind: 'in',
            values: [
              { kind: 'string', value: 'bug' },
              { kind: 'string', value: 'triage' },
            ],
          },
        },
      ],
    },
  ],
  [
    'GET /search/issues where absent query.page and query.q = "repo:acme/site"',
    {
      kind: 'template',
      methods: ['GET'],
      segments: [
        { kind: 'literal', text: 'search' },
        { kind: 'literal', text: 'issues' },
      ],
      conditions: [
        { subject: { in: 'query', name: 'page' }, test: { kind: 'absent' } },
        {
          subject: { in: 'query', name: 'q' },
          test: { kind: 'in', values: [{ kind: 'string', value: 'repo:acme/site' }] },
        },
      ],
    },
  ],
  [
    'graphql /graphql query repository where arg.owner = "acme"',
    {
      kind: 'graphql',
      segments: [{ kind: 'literal', text: 'graphql' }],
      batch: false,
      operation: 'query',
      fields: ['repository'],
      conditions: [
        {
          subject: { in: 'arg', steps: [{ kind: 'member', name: 'owner' }] },
          test: { kind: 'in', values: [{ kind: 'string', value: 'acme' }] },
        },
      ],
    },
  ],
  [
    'graphql /{tenant} batch persisted ab12,cd34 where header.x-a = 1',
    {
      kind: 'graphql',
      segments: [{ kind: 'name', name: 'tenant' }],
      batch: true,
      operation: 'persisted',
      fields: ['ab12', 'cd34'],
      conditions: [
        { subject: { in: 'header', name: 'x-a' }, test: { kind: 'in', values: [{ kind: 'number', text: '1' }] } },
      ],
    },
  ],
  [
    'graphql /graphql mutation *',
    {
      kind: 'graphql',
      segments: [{ kind: 'literal', text: 'graphql' }],
      batch: false,
      operation: 'mutation',
      fields: '*',
      conditions: [],
    },
  ],
  [
    'mcp /mcp tools/call add_labels where arg.repo in ["api", "site"]',
    {
      kind: 'mcp',
      segments: [{ kind: 'literal', text: 'mcp' }],
      rpcMethods: ['tools/call'],
      names: ['add_labels'],
      conditions: [
        {
          subject: { in: 'arg', steps: [{ kind: 'member', name: 'repo' }] },
          test: {
            kind: 'in',
            values: [
              { kind: 'string', value: 'api' },
              { kind: 'string', value: 'site' },
            ],
          },
        },
      ],
    },
  ],
  [
    'mcp /mcp initialize,notifications/initialized,tools/list',
    {
      kind: 'mcp',
      segments: [{ kind: 'literal', text: 'mcp' }],
      rpcMethods: ['initialize', 'notifications/initialized', 'tools/list'],
      names: undefined,
      conditions: [],
    },
  ],
  [
    'op:issues/add-labels where path.owner = "acme"',
    {
      kind: 'op',
      operation: 'issues/add-labels',
      conditions: [
        { subject: { in: 'path', name: 'owner' }, test: { kind: 'in', values: [{ kind: 'string', value: 'acme' }] } },
      ],
    },
  ],
])('reads %s', (text, rule) => {
  expect(parseRule(text)).toEqual(rule);
  expect(printRule(rule)).toBe(text);
});

test.each([
  ['GET /a where query.b = 1 and query.a = 1', 'GET /a where query.a = 1 and query.b = 1'],
  ['GET /a where query.a = 1 and query.a=1', 'GET /a where query.a = 1'],
  ['GET /a where query.a in ["b","a" ,  "b"]', 'GET /a where query.a in ["a", "b"]'],
  ['GET /a where query.a in[1]', 'GET /a where query.a = 1'],
  ['GET /a where query.a in [ 10, 9, "9", 1.50 ]', 'GET /a where query.a in ["9", 1.5, 9, 10]'],
  ['GET /a where query.a >=1.0 and query.a<2', 'GET /a where query.a >= 1 and query.a < 2'],
  ['GET /a where header.X-Mode = ""', 'GET /a where header.x-mode = ""'],
  ['GET /a where query["a"] = 1', 'GET /a where query.a = 1'],
  ['GET /a where query["a b"] = 1', 'GET /a where query["a b"] = 1'],
  ['GET /a where query["a[b]"] = 1', 'GET /a where query["a[b]"] = 1'],
  ['POST /a where body["x"][*]["y z"].w = null', 'POST /a where body.x[*]["y z"].w = null'],
  ['POST /a where body[*].x = true', 'POST /a where body[*].x = true'],
  ['POST /a where body.x = "\\u0041\\u00e9\\/"', 'POST /a where body.x = "A\\u00e9/"'],
  ['POST /a where body.x = "\\ud83d\\ude00"', 'POST /a where body.x = "\\ud83d\\ude00"'],
  ['POST /a where body.b in [null, true, false, 2, "x"]', 'POST /a where body.b in ["x", 2, false, true, null]'],
  ['POST /a where  absent  body.a  and  body.b = " and "', 'POST /a where absent body.a and body.b = " and "'],
  [
    'POST /a where body.a = 1 and header.z = 1 and query.y = 1',
    'POST /a where query.y = 1 and header.z = 1 and body.a = 1',
  ],
  ['graphql /g query b,a,b', 'graphql /g query a,b'],
  ['mcp /m tools/list,ping', 'mcp /m ping,tools/list'],
])('%s is printed as %s', (text, canonical) => {
  expect(printRule(parseRule(text))).toBe(canonical);
});

test.each([
  ['GET /a where', 7],
  ['GET /a where ', 14],
  ['GET /a  where query.a = 1', 7],
  ['GET /a WHERE query.a = 1', 7],
  ['GET /a where query', 19],
  ['GET /a where query.', 20],
  ['GET /a where query.a', 21],
  ['GET /a where query.a ', 22],
  ['GET /a where query.a =', 23],
  ['GET /a where query.a == 1', 23],
  ['GET /a where query.a != 1', 22],
  ['GET /a where query.a = 1 or query.b = 1', 26],
  ['GET /a where query.a = 1 and', 26],
  ['GET /a where query.a = 1and query.b = 1', 24],
  ['GET /a where query.a = 1 ', 25],
  ['GET /a where not query.a', 14],
  ['GET /a where cookie.a = 1', 14],
  ['GET /a where arg.a = 1', 14],
  ['GET /a where path.x = "1"', 18],
  ['GET /a/{x} where absent path.x', 25],
  ['GET /a/{x} where path.x = "a/b"', 27],
  ['GET /a/{x} where path.x = ""', 27],
  ['GET /a/{x} where path.x = "a b"', 27],
  ['GET /a/{x} where path.x = ".."', 27],
  ['GET /a/{x} where path.x = true', 27],
  ['GET /a where query.a = true', 24],
  ['GET /a where query.a = null', 24],
  ['GET /a where query.a = yes', 24],
  ['GET /a where query.a = "x', 24],
  ['GET /a where query.a = "\\x"', 24],
  ['GET /a where query.a = "\\ud800"', 24],
  ['GET /a where query.a in []', 26],
  ['GET /a where query.a in [1,]', 28],
  ['GET /a where query.a in [1 2]', 28],
  ['GET /a where query.a in [1', 27],
  ['GET /a where query.a in 1', 25],
  ['GET /a where query.a < "x"', 24],
  ['GET /a where query.a = 01', 24],
  ['GET /a where query.a = +1', 24],
  ['GET /a where query.a = -0', 24],
  ['GET /a where query.a = 1e3', 24],
  ['GET /a where query.a = .5', 24],
  ['GET /a where query.a = 5.', 24],
  ['GET /a where query.a = 0x10', 24],
  ['GET /a where query.a = 9007199254740993', 24],
  ['GET /a where query.a = 0.1234567890123456', 24],
  ['GET /a where query[""] = 1', 19],
  ['GET /a where query["\\u0000"] = 1', 19],
  ['GET /a where query["a" = 1', 23],
  ['GET /a where query[*] = 1', 19],
  ['GET /a where query.a = 1 and query.A = 1', 30],
  ['GET /a where query.a = 1 and absent query["a[]"]', 30],
  ['GET /a where header.x_y = 1', 20],
  ['GET /a where header.authorization = "x"', 20],
  ['GET /a where header.X-Api-Key = "x"', 20],
  ['GET /a where absent header.x-forwarded-for', 27],
  ['graphql /a query b where header.connection = "x"', 32],
  ['GET /a where query["a["] = "x"', 19],
  ['GET /a where query["a]"] = "x"', 19],
  ['GET /a where query["a[b]c"] = "x"', 19],
  ['GET /a where absent query["a[[b]]"]', 26],
  [`POST /a where body${'.a'.repeat(65)} = 1`, 19],
  [`POST /a where body${'[*]'.repeat(65)} = 1`, 19],
  [`mcp /a b where arg${'.a'.repeat(65)} = 1`, 19],
  ['GET /a where header.a = "\\u00e9"', 25],
  ['GET /a where header.a = " x"', 25],
  ['POST /a where body = 1', 19],
  ['POST /a where absent body.a[*]', 22],
  ['POST /a where absent body[*].a', 22],
  ['POST /a where body.a = 1 and body.A.b = 1', 30],
  ['POST /a where body.a[0] = 1', 21],
  ['graphql /g', 11],
  ['graphql /g ', 12],
  ['graphql g query a', 9],
  ['graphql /g Query a', 12],
  ['graphql /g query', 17],
  ['graphql /g query ', 18],
  ['graphql /g query a, b', 20],
  ['graphql /g query a,*', 20],
  ['graphql /g query a-b', 18],
  ['graphql /g query a b', 19],
  ['graphql /g persisted *', 22],
  ['graphql /g batch', 12],
  ['graphql /g query a where query.a = 1', 26],
  ['graphql /g query a where body.a = 1', 26],
  ['graphql /g query a where arg[*] = 1', 29],
  ['mcp /m', 7],
  ['mcp /m tools/list x', 19],
  ['mcp /m ping,tools/call x', 24],
  ['mcp /m tools/call a"b', 19],
  ['mcp /m tools/call a b', 20],
  ['mcp /m tools/call a where body.a = 1', 27],
  ['op:', 4],
  ['op:a b', 5],
  ['op:../x', 4],
  ['scope:a where query.a = 1', 7],
])('refuses %j at column %i', (text, column) => {
  expect(() => parseRule(text)).toThrow(expect.objectContaining({ code: 'invalid_rule', column }));
});

test('a rule has at most 32 conditions', () => {
  const rule = (count: number) =>
    `GET /a where ${Array.from({ length: count }, (_, index) => `query.q${index} = 1`).join(' and ')}`;
  expect(parseRule(rule(32))).toMatchObject({ kind: 'template' });
  expect(() => parseRule(rule(33))).toThrow(expect.objectContaining({ code: 'invalid_rule' }));
});

test.each([
  'GET /a where query["a[b][]"] = "x"',
  'GET /a where absent query["[a]"]',
  'GET /a where header.accept = "x"',
  `POST /a where body${'.a'.repeat(64)} = 1`,
])('%j can be meant', (text) => expect(parseRule(printRule(parseRule(text)))).toEqual(parseRule(text)));
