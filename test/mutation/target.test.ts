// What mutants of the target checks showed to be untested: what is just not double encoding, and what is said of where.
import { DaypassError } from '@daypass/core/errors';
import { parseTarget } from '@daypass/core/target';
import { expect, test } from 'vitest';

test.each(['/a%25az', '/a%25u002', '/a%25u', '/a%25u00zz'])('%s is encoded once', (raw) => {
  expect(parseTarget(raw).raw).toBe(raw);
});

test.each([
  ['', 1, 'no slash at its start'],
  ['a', 1, 'no slash at its start'],
  ['?a', 1, 'no slash at its start'],
  ['//', 2, 'an empty segment'],
  ['/a//b', 4, 'an empty segment'],
  ['/a b', 3, 'a space or control character'],
  ['/a\u001f', 3, 'a space or control character'],
  ['/a\u007f', 3, 'a space or control character'],
  ['/a\u0080', 3, 'a character that is not ASCII'],
  ['/aé', 3, 'a character that is not ASCII'],
  ['/a;b', 3, 'the character ;'],
  ['/a"', 3, 'the character "'],
  ['/a%2', 3, 'bad percent-encoding'],
  ['/a%zz', 3, 'bad percent-encoding'],
  ['/a%1f', 3, 'an encoded control character'],
  ['/a%2f', 3, 'an encoded slash'],
  ['/a%5c', 3, 'an encoded backslash'],
  ['/a%3b', 3, 'an encoded semicolon'],
  ['/a%41', 3, 'an encoded character that needs no encoding'],
  ['/a%2541', 3, 'double encoding'],
  ['/a%20%2541', 6, 'double encoding'],
  ['/a%25u0041', 3, 'double encoding'],
  ['/b/%ff', 4, 'an encoded sequence that is not UTF-8'],
  ['/b/a%20', 4, 'an encoded space at the end of a segment'],
  ['/b/..', 4, 'a dot segment'],
  ['/b?c#d', 5, 'a fragment, space, control or non-ASCII character'],
] as const)('%j is refused at character %i for %s', (raw, column, reason) => {
  const refuse = () => parseTarget(raw);
  expect(refuse).toThrow(DaypassError);
  expect(refuse).toThrow(expect.objectContaining({ code: 'target_ambiguous', column }));
  expect(refuse).toThrow(reason);
});
