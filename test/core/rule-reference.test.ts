// The matcher of conditions agrees with one as one would first write it: slow, and plain to see.

import { readJsonBody } from '@daypass/core/request-body';
import { RequestDetails } from '@daypass/core/request-details';
import type { Condition, Step, Subject, Test, Value } from '@daypass/core/rule';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { printRule } from '@daypass/core/rule-print';
import fc from 'fast-check';
import { expect, test } from 'vitest';

type Plain = null | boolean | number | string | Plain[] | { [member: string]: Plain };
type Request = {
  readonly segment: string;
  readonly pairs: readonly (readonly [string, string])[];
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly body: Plain | undefined;
};

const scalar = fc.constantFrom<Plain[]>(null, true, false, 0, 1, 2, -1, 1.5, 'a', 'b', '1', '');
const memberName = fc.constantFrom('a', 'b', 'A', 'c');
const { json } = fc.letrec<{ json: Plain }>((tie) => ({
  json: fc.oneof(
    { depthSize: 'small' },
    scalar,
    fc.array(tie('json'), { maxLength: 3 }),
    fc.dictionary(memberName, tie('json'), { maxKeys: 3 }),
  ),
}));

const request: fc.Arbitrary<Request> = fc.record({
  segment: fc.constantFrom('a', 'b', '1', '2', '01'),
  pairs: fc.array(
    fc.tuple(fc.constantFrom('a', 'A', 'a[]', 'b', 'a[x]'), fc.constantFrom('a', 'b', '1', '2', '', '1.0')),
    {
      maxLength: 3,
    },
  ),
  headers: fc.dictionary(fc.constantFrom('a', 'b'), fc.array(fc.constantFrom('a', '1', '2'), { maxLength: 2 })),
  body: fc.option(json, { nil: undefined }),
});

const value: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom('a', 'b', '1').map((text): Value => ({ kind: 'string', value: text })),
  fc.constantFrom('0', '1', '2', '1.5').map((text): Value => ({ kind: 'number', text })),
);
const jsonValue: fc.Arbitrary<Value> = fc.oneof(
  value,
  fc.boolean().map((flag): Value => ({ kind: 'boolean', value: flag })),
  fc.constant<Value>({ kind: 'null' }),
);
const testOf = (literal: fc.Arbitrary<Value>): fc.Arbitrary<Test> =>
  fc.oneof(
    fc.array(literal, { minLength: 1, maxLength: 3 }).map((values): Test => ({ kind: 'in', values })),
    fc
      .constantFrom('<' as const, '<=' as const, '>' as const, '>=' as const)
      .map((operator): Test => ({ kind: 'compare', operator, bound: '1' })),
    fc.constant<Test>({ kind: 'absent' }),
  );
const step = fc.oneof(
  memberName.map((name): Step => ({ kind: 'member', name })),
  fc.constant<Step>({ kind: 'each' }),
);
const text: fc.Arbitrary<Subject> = fc.oneof(
  fc.constantFrom('a', 'b', 'a[]').map((name): Subject => ({ in: 'query', name })),
  fc.constantFrom('a', 'b').map((name): Subject => ({ in: 'header', name })),
);
const condition: fc.Arbitrary<Condition> = fc.oneof(
  fc.tuple(text, testOf(value)).map(([subject, what]) => ({ subject, test: what })),
  fc
    .tuple(fc.constant<Subject>({ in: 'path', name: 'p' }), testOf(value))
    .map(([subject, what]) => ({ subject, test: what })),
  fc
    .tuple(fc.array(step, { minLength: 1, maxLength: 3 }), testOf(jsonValue))
    .map(([steps, what]): Condition => ({ subject: { in: 'body', steps }, test: what })),
);

const numberIn = (raw: string): number | undefined => (/^-?(0|[1-9]\d*)(\.\d+)?$/.test(raw) ? Number(raw) : undefined);

const compares = (left: number, { operator, bound }: { operator: string; bound: string }): boolean => {
  if (operator === '<') return left < Number(bound);
  if (operator === '<=') return left <= Number(bound);
  return operator === '>' ? left > Number(bound) : left >= Number(bound);
};

const textHolds = (values: readonly string[], what: Test): boolean => {
  if (what.kind === 'absent') return values.length === 0;
  const [only] = values;
  if (only === undefined || values.length !== 1) return false;
  const number = numberIn(only);
  if (what.kind === 'compare') return number !== undefined && compares(number, what);
  return what.values.some((one) =>
    one.kind === 'number' ? number === Number(one.text) : 'value' in one && one.value === only,
  );
};

const plainOf = (one: Value): Plain =>
  one.kind === 'null' ? null : one.kind === 'number' ? Number(one.text) : one.value;

/** All values that the steps lead to; undefined if there is a doubt on the way. */
const reach = (from: Plain, steps: readonly Step[]): readonly Plain[] | 'nothing' | undefined => {
  const [first, ...rest] = steps;
  if (first === undefined) return [from];
  if (first.kind === 'each') {
    if (!Array.isArray(from) || from.length === 0) return undefined;
    const all = from.map((item) => reach(item, rest));
    return all.every((one) => Array.isArray(one)) ? all.flat() : undefined;
  }
  if (typeof from !== 'object' || from === null || Array.isArray(from)) return undefined;
  const same = Object.keys(from).filter((name) => name.toLowerCase() === first.name.toLowerCase());
  if (same.length === 0) return 'nothing';
  const next = from[first.name];
  return same.length > 1 || next === undefined ? undefined : reach(next, rest);
};

const holds = ({ subject, test: what }: Condition, { segment, pairs, headers, body }: Request): boolean => {
  switch (subject.in) {
    case 'path':
      return what.kind !== 'absent' && textHolds([segment], what);
    case 'query': {
      const plain = (name: string) => name.replace(/\[.*/, '').toLowerCase();
      const family = pairs.filter(([name]) => plain(name) === plain(subject.name));
      if (what.kind === 'absent') return family.length === 0;
      return family.length === 1 && family[0]?.[0] === subject.name && textHolds([family[0][1]], what);
    }
    case 'header':
      return textHolds(headers[subject.name] ?? [], what);
    case 'body': {
      const found = body === undefined ? undefined : reach(body, subject.steps);
      if (what.kind === 'absent') return found === 'nothing' && !subject.steps.some(({ kind }) => kind === 'each');
      if (found === undefined || found === 'nothing') return false;
      return found.every((one) =>
        what.kind === 'compare'
          ? typeof one === 'number' && compares(one, what)
          : what.values.some((literal) => plainOf(literal) === one),
      );
    }
    case 'arg':
      return false;
    default:
      return subject satisfies never;
  }
};

test('the matcher agrees with the slow one on conditions', () => {
  let allowed = 0;
  fc.assert(
    fc.property(fc.array(condition, { minLength: 1, maxLength: 3 }), request, (conditions, asked) => {
      const rule = {
        kind: 'template' as const,
        methods: ['GET'],
        segments: [{ kind: 'name' as const, name: 'p' }],
        conditions,
      };
      const query = asked.pairs
        .map(([name, one]) => `${encodeURIComponent(name)}=${encodeURIComponent(one)}`)
        .join('&');
      const details = new RequestDetails({ query, header: (name) => asked.headers[name] ?? [] });
      if (asked.body !== undefined)
        details.body = readJsonBody('application/json', new TextEncoder().encode(JSON.stringify(asked.body)));
      const expected = conditions.every((one) => holds(one, asked));
      const found = matchRules(compileRules([rule]), 'GET', `/${asked.segment}`, undefined, details);
      expect(found).toBe(expected ? printRule(rule) : undefined);
      if (expected) allowed += 1;
    }),
    { numRuns: 20_000 },
  );
  expect(allowed).toBeGreaterThan(500);
});
