// Rules are read and printed in one canonical form.

import type { Rule } from '@daypass/core/rule';
import { parseRule, parseRules } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { anyRule } from './rule-arbitrary.ts';

test('any rule comes back from its text, and the text is canonical', () => {
  fc.assert(
    fc.property(anyRule, (rule) => {
      const text = printRule(rule);
      expect(parseRule(text)).toEqual(rule);
      expect(printRule(parseRule(text))).toBe(text);
    }),
    { numRuns: 1000 },
  );
});

test.each<[string, Rule]>([
  ['GET /', { kind: 'template', methods: ['GET'], segments: [{ kind: 'literal', text: '' }], conditions: [] }],
  [
    'GET /repos/acme/{repo}/issues',
    {
      kind: 'template',
      methods: ['GET'],
      segments: [
        { kind: 'literal', text: 'repos' },
        { kind: 'literal', text: 'acme' },
        { kind: 'name', name: 'repo' },
        { kind: 'literal', text: 'issues' },
      ],
      conditions: [],
    },
  ],
  [
    'GET,HEAD /a/*/**',
    {
      kind: 'template',
      methods: ['GET', 'HEAD'],
      segments: [{ kind: 'literal', text: 'a' }, { kind: 'one' }, { kind: 'rest' }],
      conditions: [],
    },
  ],
  ['* /**', { kind: 'template', methods: '*', segments: [{ kind: 'rest' }], conditions: [] }],
  ['GET ~/repos/acme/.+?/issues', { kind: 'regex', methods: ['GET'], pattern: '/repos/acme/.+?/issues' }],
  ['scope:triage', { kind: 'scope', name: 'triage' }],
])('reads %s', (text, rule) => {
  expect(parseRule(text)).toEqual(rule);
  expect(printRule(rule)).toBe(text);
});

test.each([
  ['PUT,GET,PUT /a', 'GET,PUT /a'],
  ['POST,DELETE ~/a', 'DELETE,POST ~/a'],
])('%s is printed as %s', (text, canonical) => expect(printRule(parseRule(text))).toBe(canonical));

test.each([
  ['', 1],
  ['GET', 4],
  ['/a', 3],
  ['GET  /a', 5],
  [' GET /a', 1],
  ['GET /a ', 7],
  ['GET\t/a', 4],
  ['GET /a\n', 7],
  ['GET /é', 6],
  ['get /a', 1],
  ['GET,put /a', 5],
  ['GET, PUT /a', 5],
  ['GET,* /a', 5],
  ['*,GET /a', 1],
  ['CONNECT /a', 1],
  ['GET,TRACE /a', 5],
  ['TRACK /a', 1],
  ['GET a', 5],
  ['GET http://h/a', 5],
  ['GET //a', 6],
  ['GET /a//b', 8],
  ['GET /a/../b', 8],
  ['GET /a/.', 8],
  ['GET /a/%2e%2e', 8],
  ['GET /a/%2', 8],
  ['GET /a/b%5Cc', 9],
  ['GET /a/b;c', 9],
  ['GET /a?b=c', 7],
  ['GET /a#b', 7],
  ['GET /a\\b', 7],
  ['GET /a|b', 7],
  ['GET /**/a', 6],
  ['GET /a*', 6],
  ['GET /a/***', 8],
  ['GET /a/b*c/d', 8],
  ['GET /{a', 6],
  ['GET /a}', 6],
  ['GET /x{a}', 6],
  ['GET /{}', 6],
  ['GET /{1}', 6],
  ['GET /{a-b}', 6],
  ['GET /{a}/{a}', 10],
  ['GET ~', 6],
  ['GET ~/a b', 8],
  ['GET ~(', 6],
  ['GET ~a**', 6],
  ['GET ~(?=a)', 6],
  ['GET ~(?<=a)b', 6],
  ['GET ~(a)\\1', 6],
  ['GET ~.{1000}.{1000}', 6],
  [`GET ~${'a'.repeat(513)}`, 518],
  [`GET /${'a'.repeat(4096)}`, 4097],
  ['scope:', 7],
  ['scope:a b', 7],
  ['scope:../x', 7],
  ['scope:*', 7],
  [`scope:${'a'.repeat(65)}`, 7],
  ['GET ~/a where query.q = "x"', 9],
])('refuses %j at column %i', (text, column) => {
  expect(() => parseRule(text)).toThrow(expect.objectContaining({ code: 'invalid_rule', column }));
});

test('a refusal quotes the rule', () => {
  expect(() => parseRule('GET /a/**/b')).toThrow(/"GET \/a\/\*\*\/b"/);
});

test('a list has at most 64 patterns, and 10,000 rules', () => {
  const patterns = Array.from({ length: 64 }, (_, index) => `GET ~/${index}`);
  expect(parseRules(patterns)).toHaveLength(64);
  expect(() => parseRules([...patterns, 'GET ~/x'])).toThrow(expect.objectContaining({ code: 'invalid_rule' }));
  expect(() => parseRules(Array(10_001).fill('GET /a'))).toThrow(expect.objectContaining({ code: 'invalid_rule' }));
});

test('any text near a rule is refused at a column of it, or has a canonical text that stays', () => {
  const piece = fc.constantFrom(
    ...[
      ' ',
      '  ',
      ' where ',
      ' and ',
      'absent ',
      '"',
      '\\',
      '[',
      ']',
      '[*]',
      '{',
      '}',
      ',',
      '.',
      '/',
      '~',
      '*',
      '**',
      '=',
      '<',
      '>=',
    ],
    ...[
      'in',
      '1',
      '-',
      '1e9',
      'null',
      'query.a',
      'body',
      'arg.x',
      'path.n0',
      'header.a',
      'GET',
      'graphql ',
      'mcp ',
      'batch ',
      'op:',
    ],
  );
  const edit = fc.tuple(fc.nat(), fc.nat(3), piece);
  const near = fc.tuple(anyRule, fc.array(edit, { maxLength: 3 })).map(([rule, edits]) =>
    edits.reduce((text, [at, removed, inserted]) => {
      const start = at % (text.length + 1);
      return text.slice(0, start) + inserted + text.slice(start + removed);
    }, printRule(rule)),
  );
  fc.assert(
    fc.property(near, (text) => {
      let rule: Rule;
      try {
        rule = parseRule(text);
      } catch (error) {
        expect(error).toMatchObject({
          code: 'invalid_rule',
          column: expect.toSatisfy((at) => at >= 1 && at <= text.length + 1),
        });
        return;
      }
      const canonical = printRule(rule);
      expect(parseRule(canonical)).toEqual(rule);
      expect(printRule(parseRule(canonical))).toBe(canonical);
    }),
    { numRuns: 5000 },
  );
});
