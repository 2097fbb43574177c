// The values that the tests of one subject let through, and whether another test lets all of them through.

import { isOnSide, readDecimal } from './decimal.ts';
import { ALL_DECIMALS, type DecimalRange, firstDecimals, isWithin, narrow } from './decimal-range.ts';
import type { Test, Value } from './rule.ts';

/** A test of a value that is there. */
export type ValueTest = Exclude<Test, { readonly kind: 'absent' }>;

/** How values are told apart: a text fits a number that it spells, a JSON value has a type of its own. */
export type Reading = 'text' | 'json';

/** In a `text` reading a number stands for all of its spellings. */
export type ValueSet =
  | { readonly kind: 'list'; readonly values: readonly Value[] }
  | { readonly kind: 'range'; readonly range: DecimalRange };

/** What passes all of `tests`, of which there is at least one. */
export const valueSetOf = (tests: readonly ValueTest[], reading: Reading): ValueSet => {
  const lists = tests.filter((test) => test.kind === 'in');
  const [first, ...others] = lists;
  if (first === undefined) return { kind: 'range', range: rangeOf(tests) };
  let values = first.values;
  for (const { values: list } of others) values = values.flatMap((value) => inBoth(value, list, reading));
  const compares = tests.filter((test) => test.kind === 'compare');
  return {
    kind: 'list',
    values: values.filter((value) =>
      compares.every(({ operator, bound }) => isOnSide(decimalOf(value, reading), operator, bound)),
    ),
  };
};

/** Whether nothing is in the set. */
export const isEmptySet = (set: ValueSet): boolean =>
  set.kind === 'list' ? set.values.length === 0 : set.range.low > set.range.high;

/** Whether all that is in the set passes the test. */
export const passesAll = (set: ValueSet, test: ValueTest, reading: Reading): boolean => {
  if (set.kind === 'list') return set.values.every((value) => passes(value, test, reading));
  if (isEmptySet(set)) return true;
  if (test.kind === 'compare') return isWithin(set.range, rangeOf([test]));
  // A list holds no more numbers than it has values.
  const numbers = firstDecimals(set.range, test.values.length + 1);
  return (
    numbers.length <= test.values.length && numbers.every((text) => passes({ kind: 'number', text }, test, reading))
  );
};

/** Whether a value, or all spellings of a number, pass the test. */
const passes = (value: Value, test: ValueTest, reading: Reading): boolean =>
  test.kind === 'compare'
    ? isOnSide(decimalOf(value, reading), test.operator, test.bound)
    : isListed(value, test.values, reading);

const rangeOf = (tests: readonly ValueTest[]): DecimalRange => {
  let range = ALL_DECIMALS;
  for (const test of tests) if (test.kind === 'compare') range = narrow(range, test.operator, test.bound);
  return range;
};

const decimalOf = (value: Value, reading: Reading): string | undefined => {
  if (value.kind === 'number') return value.text;
  return value.kind === 'string' && reading === 'text' ? readDecimal(value.value) : undefined;
};

const isListed = (value: Value, list: readonly Value[], reading: Reading): boolean =>
  list.some((listed) => isSame(value, listed)) ||
  (reading === 'text' &&
    (value.kind === 'string'
      ? isSpelledIn(value.value, list)
      : value.kind === 'number' && allSpelled(value.text, list)));

const isSame = (a: Value, b: Value): boolean => {
  if (a.kind === 'number') return b.kind === 'number' && a.text === b.text;
  if (a.kind === 'null') return b.kind === 'null';
  return a.kind === b.kind && a.value === b.value;
};

/** Whether a number of the list is written like this. */
const isSpelledIn = (text: string, list: readonly Value[]): boolean => {
  const decimal = readDecimal(text);
  return decimal !== undefined && list.some((listed) => listed.kind === 'number' && listed.text === decimal);
};

const MAX_FRACTION = 24;

/** Whether the list names every way to write a number: with no zero, one, up to 24 digits of fraction. */
const allSpelled = (number: string, list: readonly Value[]): boolean => {
  if (list.length < MAX_FRACTION) return false;
  const texts = new Set(list.map((listed) => (listed.kind === 'string' ? listed.value : undefined)));
  return spellings(number).every((text) => texts.has(text));
};

const spellings = (number: string): readonly string[] => {
  const point = number.indexOf('.');
  const digits = point < 0 ? 0 : number.length - point - 1;
  const longer = Array.from({ length: MAX_FRACTION - digits }, (_, zeros) => '0'.repeat(zeros + 1));
  return [number, ...longer.map((zeros) => `${number}${point < 0 ? '.' : ''}${zeros}`)];
};

/** What of a value, or of the spellings of a number, is in the list too. */
const inBoth = (value: Value, list: readonly Value[], reading: Reading): readonly Value[] => {
  if (isListed(value, list, reading)) return [value];
  if (reading === 'json' || value.kind !== 'number') return [];
  return list.filter((listed) => listed.kind === 'string' && readDecimal(listed.value) === value.text);
};
