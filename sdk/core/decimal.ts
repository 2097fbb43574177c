// Numbers as exact decimals: only those that every reader of the text takes for the same number.

import type { Operator } from './rule.ts';

const DECIMAL = /^(-?)(0|[1-9][0-9]{0,15})(?:\.([0-9]{1,24}))?$/;
const LARGEST = 2n ** 53n;
/** Decimal digits that a double always keeps apart. */
const SAFE_DIGITS = 15;

/**
 * The canonical text of the number that `text` holds: no zeros at the end of a fraction. `undefined` if it is oddly
 * written (exponent, leading zeros, plus sign, minus zero), outside ±2^53, or has a fraction and more than 15 digits
 * that count, so that a double could not tell it from its neighbours.
 */
export const readDecimal = (text: string): string | undefined => {
  const match = DECIMAL.exec(text);
  if (match === null) return undefined;
  const [, sign = '', whole = '', digits = ''] = match;
  const fraction = digits.replace(/(?<!0)0+$/, '');
  if (sign === '-' && whole === '0' && fraction === '') return undefined;
  if (fraction === '') return BigInt(whole) > LARGEST ? undefined : sign + whole;
  if (`${whole}${fraction}`.replace(/^0+/, '').length > SAFE_DIGITS) return undefined;
  return `${sign}${whole}.${fraction}`;
};

/** Negative if `a` is less than `b`, positive if it is more, else 0. Both as `readDecimal` gives them. */
export const compareDecimals = (a: string, b: string): number => {
  const scale = Math.max(fractionDigits(a), fractionDigits(b));
  const left = scaled(a, scale);
  const right = scaled(b, scale);
  return left < right ? -1 : left > right ? 1 : 0;
};

const fractionDigits = (text: string): number => {
  const point = text.indexOf('.');
  return point < 0 ? 0 : text.length - point - 1;
};

const scaled = (text: string, scale: number): bigint =>
  BigInt(text.replace('.', '') + '0'.repeat(scale - fractionDigits(text)));

/** Whether a decimal lies on the side of `bound` that `operator` names; what is no decimal lies on none. */
export const isOnSide = (number: string | undefined, operator: Operator, bound: string): boolean => {
  if (number === undefined) return false;
  const order = compareDecimals(number, bound);
  switch (operator) {
    case '>':
      return order > 0;
    case '>=':
      return order >= 0;
    case '<':
      return order < 0;
    case '<=':
      return order <= 0;
    default:
      return operator satisfies never;
  }
};
