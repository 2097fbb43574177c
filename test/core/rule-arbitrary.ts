// Random rules and paths that often have to do with each other.

import { readDecimal } from '@daypass/core/decimal';
import type { Condition, Methods, Rule, Segment, Step, Subject, Test, Value } from '@daypass/core/rule';
import { compareConditions, compareValues, sortUnique } from '@daypass/core/rule-order';
import fc from 'fast-check';

const word = fc.constantFrom('a', 'b', 'ab', 'A', 'a.b', '...', 'caf%C3%A9', "x!$&'()+,=:@~");

const methods: fc.Arbitrary<Methods> = fc.oneof(
  fc.constant('*' as const),
  fc
    .uniqueArray(fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'M-SEARCH'), { minLength: 1 })
    .map((list) => list.sort()),
);

const literal = word.map((text): Segment => ({ kind: 'literal', text }));
const one = fc.constant<Segment>({ kind: 'one' });
const name = fc.constant<Segment>({ kind: 'name', name: '' });
const last = fc.oneof(
  literal,
  one,
  name,
  fc.constant<Segment>({ kind: 'rest' }),
  fc.constant<Segment>({ kind: 'literal', text: '' }),
);

const member = fc
  .constantFrom('a', 'b', 'x-y', '$ref', 'a name', '"', 'é', '__proto__', '')
  .map((text): Step => ({ kind: 'member', name: text }));
const step = fc.oneof({ weight: 3, arbitrary: member }, fc.constant<Step>({ kind: 'each' }));

const textValue: fc.Arbitrary<Value> = fc.oneof(
  fc.constantFrom('a', 'b', 'ab', '5', 'x%20y').map((value): Value => ({ kind: 'string', value })),
  fc.constantFrom('0', '5', '-1', '2.5').map((text): Value => ({ kind: 'number', text })),
);
const jsonValue: fc.Arbitrary<Value> = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 6 }).map((value): Value => ({ kind: 'string', value })),
  fc
    .double({ min: -1e6, max: 1e6, noNaN: true })
    .map((number): Value => ({ kind: 'number', text: readDecimal(number.toFixed(3)) ?? '0' })),
  fc.boolean().map((value): Value => ({ kind: 'boolean', value })),
  fc.constant<Value>({ kind: 'null' }),
);

const testOf = (value: fc.Arbitrary<Value>): fc.Arbitrary<Test> =>
  fc.oneof(
    fc
      .array(value, { minLength: 1, maxLength: 4 })
      .map((values): Test => ({ kind: 'in', values: sortUnique(values, compareValues) })),
    fc
      .tuple(
        fc.constantFrom('<' as const, '<=' as const, '>' as const, '>=' as const),
        fc.constantFrom('0', '-5', '12.5'),
      )
      .map(([operator, bound]): Test => ({ kind: 'compare', operator, bound })),
    fc.constant<Test>({ kind: 'absent' }),
  );

const conditionOn = (subject: fc.Arbitrary<Subject>, value: fc.Arbitrary<Value>): fc.Arbitrary<Condition> =>
  fc.tuple(subject, testOf(value)).map(([on, what]) => ({ subject: on, test: what }));

/** Conditions of a rule with these names; never one that the parser would refuse. */
const conditionsOn = (kinds: readonly Subject['in'][], names: readonly string[]) => {
  const all: fc.Arbitrary<Condition>[] = [];
  if (kinds.includes('path') && names.length > 0)
    all.push(
      conditionOn(
        fc.constantFrom(...names).map((text): Subject => ({ in: 'path', name: text })),
        textValue,
      ),
    );
  if (kinds.includes('query'))
    all.push(
      conditionOn(
        fc.constantFrom('q', 'page', 'per page').map((text): Subject => ({ in: 'query', name: text })),
        jsonText,
      ),
    );
  if (kinds.includes('header'))
    all.push(
      conditionOn(
        fc.constantFrom('accept', 'x-a').map((text): Subject => ({ in: 'header', name: text })),
        textValue,
      ),
    );
  for (const kind of ['body', 'arg'] as const) {
    if (!kinds.includes(kind)) continue;
    const steps = fc.tuple(member, fc.array(step, { maxLength: 3 })).map(([first, rest]) => [first, ...rest]);
    all.push(
      conditionOn(
        steps.map((list): Subject => ({ in: kind, steps: list })),
        jsonValue,
      ),
    );
  }
  const isSaid = ({ subject, test }: Condition) =>
    test.kind !== 'absent' ||
    (subject.in !== 'path' && !('steps' in subject && subject.steps.some((one) => one.kind === 'each')));
  return fc.array(fc.oneof(...all), { maxLength: 4 }).map((list) => sortUnique(list.filter(isSaid), compareConditions));
};
const jsonText = fc.oneof(
  textValue,
  fc.string({ unit: 'grapheme', maxLength: 6 }).map((value): Value => ({ kind: 'string', value })),
);

const segments = fc
  .tuple(fc.array(fc.oneof(literal, one, name), { maxLength: 4 }), last)
  .map(([inner, end]) =>
    [...inner, end].map(
      (segment, index): Segment => (segment.kind === 'name' ? { kind: 'name', name: `n${index}` } : segment),
    ),
  );
const namesOf = (list: readonly Segment[]) => list.flatMap((one) => (one.kind === 'name' ? [one.name] : []));

const template = fc
  .tuple(methods, segments)
  .chain(([list, path]) =>
    fc
      .oneof(fc.constant([]), conditionsOn(['path', 'query', 'header', 'body'], namesOf(path)))
      .map((conditions): Rule => ({ kind: 'template', methods: list, segments: path, conditions })),
  );

/** Template rules without conditions. */
export const plainTemplate = fc
  .tuple(methods, segments)
  .map(([list, path]) => ({ kind: 'template' as const, methods: list, segments: path, conditions: [] }));

const listOf = (items: readonly string[]) =>
  fc.uniqueArray(fc.constantFrom(...items), { minLength: 1, maxLength: 3 }).map((list) => list.sort());

const graphql = segments.chain((path) =>
  fc
    .tuple(
      fc.boolean(),
      fc.constantFrom('query' as const, 'mutation' as const, 'subscription' as const, 'persisted' as const),
      fc.oneof(fc.constant('*' as const), listOf(['viewer', 'repository', '__schema', '_x'])),
      conditionsOn(['path', 'header', 'arg'], namesOf(path)),
    )
    .map(
      ([batch, operation, fields, conditions]): Rule => ({
        kind: 'graphql',
        segments: path,
        batch,
        operation,
        fields: operation === 'persisted' && fields === '*' ? ['abc123'] : fields,
        conditions,
      }),
    ),
);

const mcp = segments.chain((path) =>
  fc
    .tuple(
      fc.oneof(
        fc.tuple(
          listOf(['initialize', 'tools/list', 'notifications/initialized', 'response', 'tools/call']),
          fc.constant(undefined),
        ),
        fc.tuple(fc.constant(['tools/call']), listOf(['add_labels', 'a.b', 'x:y'])),
      ),
      conditionsOn(['path', 'header', 'arg'], namesOf(path)),
    )
    .map(([[rpcMethods, names], conditions]): Rule => ({ kind: 'mcp', segments: path, rpcMethods, names, conditions })),
);

const op = fc
  .tuple(fc.constantFrom('issues/add-labels', 'x'), conditionsOn(['path', 'query', 'header', 'body', 'arg'], ['owner']))
  .map(([operation, conditions]): Rule => ({ kind: 'op', operation, conditions }));

const regex = fc
  .tuple(methods, fc.constantFrom('/a/[^/]+', '/a|/b', '/a|/a/b', '^/a$', '.*', '/(a|b)*', '/a/.+?/b', '(?i)/A'))
  .map(([list, pattern]): Rule => ({ kind: 'regex', methods: list, pattern }));

const scope = fc.constantFrom('triage', 'Read.All', 'x_1-2').map((text): Rule => ({ kind: 'scope', name: text }));

/** Any rule in canonical form. */
export const anyRule: fc.Arbitrary<Rule> = fc.oneof({ weight: 4, arbitrary: template }, graphql, mcp, op, regex, scope);

/** Any rule that only looks at method and path. */
export const pathRule: fc.Arbitrary<Rule> = fc.oneof({ weight: 4, arbitrary: plainTemplate }, regex, scope);

/** A path that a checked target may have. */
export const anyPath = fc
  .tuple(fc.array(word, { maxLength: 5 }), fc.constantFrom('', '/'))
  .map(([words, slash]) => (words.length === 0 ? '/' : `/${words.join('/')}${slash}`));

export const anyMethod = fc.constantFrom(
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'M-SEARCH',
  'DELETE',
  'CONNECT',
  'TRACE',
  'TRACK',
);
