// Fuzzes the reader of rules: what it reads has one canonical text, compiles, covers itself and matches without a crash.

import { readJsonBody } from '@daypass/core/request-body';
import { RequestDetails } from '@daypass/core/request-details';
import type { Rule } from '@daypass/core/rule';
import { covers } from '@daypass/core/rule-covers';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import { type FuzzTarget, targetOf } from '../engine.ts';
import { must } from '../must.ts';
import type { Random, Words } from '../mutator.ts';
import { mutateText } from '../mutator.ts';

const BODIES = [
  '{"a":"b","n":5,"list":[1,2]}',
  '{"query":"{ a(x: 1) b }"}',
  '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":1}}}',
];
const bodies = BODIES.map((text) => readJsonBody('application/json', Buffer.from(text)));

const match = (rule: Rule): string => {
  const compiled = compileRules([rule]);
  const allowed = bodies.map((body) => {
    const details = new RequestDetails({ query: 'q=a&page=2', header: (name) => (name === 'accept' ? ['a/b'] : []) });
    details.body = body;
    return matchRules(compiled, 'POST', '/a/b', undefined, details) === undefined ? '0' : '1';
  });
  must(matchRules(compiled, 'TRACE', '/a/b') === undefined, 'a method that is never forwarded was allowed');
  return allowed.join('');
};

const check = (text: string, rule: Rule): string => {
  const canonical = printRule(rule);
  must(canonical.length <= 3 * text.length + 64, 'the canonical text is much longer');
  const again = parseRule(canonical);
  must(JSON.stringify(again) === JSON.stringify(rule), 'the canonical text is another rule');
  must(printRule(again) === canonical, 'the canonical text has another canonical text');
  must(rule.kind === 'op' || covers([rule], [again]).covered, 'a rule does not cover itself');
  const conditions =
    'conditions' in rule ? rule.conditions.map(({ subject, test }) => `${subject.in} ${test.kind}`) : [];
  return `${rule.kind} ${conditions.slice(0, 3).join()} ${match(rule)}`;
};

const PIECES = {
  head: ['GET ', 'POST ', '* ', 'GET,HEAD ', 'graphql ', 'mcp ', 'op:', 'scope:', 'GET ~'],
  path: ['/a', '/{n}', '/*', '/**', '/', '/caf%C3%A9', '/a.b', '/x/y/z', '/a|/b', '/[^/]+'],
  call: ['', ' query a,b', ' batch mutation *', ' persisted abc', ' tools/call t,u', ' tools/list,initialize'],
  subject: [
    'path.n',
    'query.q',
    'query["a b"]',
    'query.q[]',
    'header.accept',
    'body.a',
    'body.a[*].b',
    'body["x y"][*]',
    'arg.a.b',
  ],
  test: [' = "a"', ' in ["a", 1, true, null]', ' <= 5', ' > -1.5e3', ' = 1.0', ' = "\\u00e9"', ' in [2, 1, 1]'],
};

/** A rule of pieces, which may fit together. */
const assembled = (random: Random): string => {
  const path = Array.from({ length: 1 + random.int(3) }, () => random.pick(PIECES.path)).join('');
  const condition = () =>
    random.onceIn(5) ? `absent ${random.pick(PIECES.subject)}` : random.pick(PIECES.subject) + random.pick(PIECES.test);
  const conditions = Array.from({ length: random.int(4) }, condition).join(' and ');
  return random.pick(PIECES.head) + path + random.pick(PIECES.call) + (conditions === '' ? '' : ` where ${conditions}`);
};

const make = (random: Random, text: string, words: Words): string => {
  if (random.onceIn(2)) return mutateText(random, text, words);
  return random.onceIn(3) ? mutateText(random, assembled(random), words) : assembled(random);
};

/** Rule texts of all kinds. */
export const rule: FuzzTarget = targetOf<Rule>({
  name: 'rule',
  input: 'text',
  dictionary: [
    ...PIECES.head,
    ...PIECES.path,
    ...PIECES.subject,
    ...PIECES.test,
    ...[
      ' where ',
      ' and ',
      'absent ',
      ',',
      ' ',
      '=',
      '"',
      '\\',
      '[',
      ']',
      '[*]',
      '{',
      '}',
      '..',
      '%2e',
      '%2F',
      ';',
      '?',
      '#',
      '(',
    ],
    ...[
      ')',
      '(?i)',
      '(?P<n>',
      '\\p{L}',
      '{1000}',
      '*+',
      '|',
      '^',
      '$',
      '__proto__',
      'TRACE',
      '9007199254740993',
      '1e999',
      '\\ud800',
    ],
  ],
  maxLength: 4200,
  codes: ['invalid_rule'],
  make,
  read: parseRule,
  check,
});
