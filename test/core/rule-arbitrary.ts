// Random rules and paths that often have to do with each other.

import type { Methods, Rule, Segment } from '@daypass/core/rule';
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

const template = fc.tuple(methods, fc.array(fc.oneof(literal, one, name), { maxLength: 4 }), last).map(
  ([list, inner, end]): Rule => ({
    kind: 'template',
    methods: list,
    segments: [...inner, end].map((segment, index) =>
      segment.kind === 'name' ? { kind: 'name', name: `n${index}` } : segment,
    ),
  }),
);

const regex = fc
  .tuple(methods, fc.constantFrom('/a/[^/]+', '/a|/b', '/a|/a/b', '^/a$', '.*', '/(a|b)*', '/a/.+?/b', '(?i)/A'))
  .map(([list, pattern]): Rule => ({ kind: 'regex', methods: list, pattern }));

const scope = fc.constantFrom('triage', 'Read.All', 'x_1-2').map((text): Rule => ({ kind: 'scope', name: text }));

/** Any rule in canonical form. */
export const anyRule: fc.Arbitrary<Rule> = fc.oneof({ weight: 4, arbitrary: template }, regex, scope);

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
