// Ranges of the decimals that `readDecimal` knows. There are finitely many, so every range has a first and a last one.

import type { Operator } from './rule.ts';

/** The decimals from `low` to `high`, both included, as multiples of 10^-24; none if `low` is above `high`. */
export type DecimalRange = { readonly low: bigint; readonly high: bigint };

/** Every decimal there is. */
export const ALL_DECIMALS: DecimalRange = { low: -(2n ** 53n) * 10n ** 24n, high: 2n ** 53n * 10n ** 24n };

/** The decimals of `range` on this side of `bound`, which is canonical decimal text. */
export const narrow = (range: DecimalRange, operator: Operator, bound: string): DecimalRange => {
  const at = decimalUnits(bound);
  switch (operator) {
    case '>':
      return { ...range, low: most(range.low, after(at)) };
    case '>=':
      return { ...range, low: most(range.low, at) };
    case '<':
      return { ...range, high: least(range.high, -after(-at)) };
    case '<=':
      return { ...range, high: least(range.high, at) };
    default:
      return operator satisfies never;
  }
};

/** Whether every decimal of `inner`, which is not empty, is in `outer`. */
export const isWithin = (inner: DecimalRange, outer: DecimalRange): boolean =>
  inner.low >= outer.low && inner.high <= outer.high;

/** The first decimals of a range in rising order as canonical texts, at most `limit`. */
export const firstDecimals = ({ low, high }: DecimalRange, limit: number): readonly string[] => {
  const texts: string[] = [];
  for (let at = low; at <= high && texts.length < limit; at = after(at)) texts.push(decimalText(at));
  return texts;
};

/** The decimal before the bound, the bound, and the one after it. */
export const rangeAround = (bound: string): DecimalRange => {
  const at = decimalUnits(bound);
  return { low: most(ALL_DECIMALS.low, -after(-at)), high: least(ALL_DECIMALS.high, after(at)) };
};

const FRACTION_DIGITS = 24;
const WHOLE = 10n ** 24n;
/** A decimal with a fraction has at most so many digits that count. */
const SAFE_DIGITS = 15;

/** Canonical decimal text as a multiple of 10^-24. */
const decimalUnits = (text: string): bigint => {
  const point = text.indexOf('.');
  const digits = point < 0 ? 0 : text.length - point - 1;
  return BigInt(text.replace('.', '') + '0'.repeat(FRACTION_DIGITS - digits));
};

const decimalText = (units: bigint): string => {
  const size = units < 0n ? -units : units;
  const fraction = String(size % WHOLE)
    .padStart(FRACTION_DIGITS, '0')
    .replace(/(?<!0)0+$/, '');
  return `${units < 0n ? '-' : ''}${size / WHOLE}${fraction === '' ? '' : `.${fraction}`}`;
};

/** The next decimal. Its distance depends on how many digits count, so below zero on the size of what is nearer to it. */
const after = (units: bigint): bigint => units + (units >= 0n ? stepAt(units) : stepAt(-units - 1n));

const stepAt = (size: bigint): bigint => {
  const spare = String(size).length - SAFE_DIGITS;
  return spare <= 0 ? 1n : least(10n ** BigInt(spare), WHOLE);
};

const most = (a: bigint, b: bigint): bigint => (a > b ? a : b);
const least = (a: bigint, b: bigint): bigint => (a < b ? a : b);
