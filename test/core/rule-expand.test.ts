// What an `op:` rule becomes.
import type { OpRule } from '@daypass/core/rule';
import { expandOp } from '@daypass/core/rule-expand';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import { expect, test } from 'vitest';

const opRule = (text: string): OpRule => {
  const rule = parseRule(text);
  if (rule.kind !== 'op') throw new Error('no op rule');
  return rule;
};

const expanded = (text: string, operation: string): string => printRule(expandOp(opRule(text), parseRule(operation)));

test.each<[op: string, operation: string, rule: string]>([
  ['op:a', 'GET /a/{x}', 'GET /a/{x}'],
  ['op:a', 'GET ~/a/[^/]+', 'GET ~/a/[^/]+'],
  ['op:a where path.x = "y"', 'GET /a/{x}', 'GET /a/{x} where path.x = "y"'],
  [
    'op:a where query.q < 3 and body.b[*] in [2, 1] and header.h = "v" and absent body.c',
    'POST /a/**',
    'POST /a/** where header.h = "v" and body.b[*] in [1, 2] and absent body.c and query.q < 3',
  ],
  [
    'op:a where path.x = "y"',
    'GET /a/{x} where path.x in ["y", "z"]',
    'GET /a/{x} where path.x = "y" and path.x in ["y", "z"]',
  ],
  ['op:a where arg.b = 1', 'mcp /mcp tools/call x', 'mcp /mcp tools/call x where arg.b = 1'],
])('%s of %s is %s', (op, operation, rule) => {
  expect(expanded(op, operation)).toBe(printRule(parseRule(rule)));
});

test.each<[op: string, operation: string, why: RegExp]>([
  ['op:a where path.y = "y"', 'GET /a/{x}/{z}', /its path has no \{y\}; there is path\.x, path\.z/],
  ['op:a where path.y = "y"', 'GET /a/**', /its path has no \{y\}$/],
  ['op:a where arg.x = 1', 'GET /a/{x}', /no arguments; say path\., query\., header\. or body\./],
  ['op:a where query.q = 1', 'GET ~/a/[^/]+', /takes no conditions/],
  ['op:a where query.q = 1', 'scope:b', /takes no conditions/],
  ['op:a where query.q = 1', 'GET /a where query.Q = 1', /another spelling/],
  ['op:a where query.q = 1', 'mcp /mcp tools/call x', /query cannot be constrained/],
  [`op:a where query.q = "${'x'.repeat(4000)}"`, `GET /${'a'.repeat(200)}`, /longer than 4096/],
])('%s of %s is refused and names the operation', (op, operation, why) => {
  const text = `\`op:a\` stands for \`${operation}\``;
  const refused = expect.objectContaining({ code: 'invalid_rule', message: expect.stringMatching(why) });
  expect(() => expanded(op, operation)).toThrow(refused);
  expect(() => expanded(op, operation)).toThrow(text);
});
