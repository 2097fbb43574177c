// Status bits stand in the order of the IETF Token Status List.
import { getBit, setBit } from '@daypass/core/status';
import { expect, test } from 'vitest';

test('the example of Token Status List §4.1 has its two bytes', () => {
  const bits = new Uint8Array(2);
  for (const index of [0, 3, 4, 5, 7, 8, 9, 13, 15]) setBit(bits, index);
  expect([...bits]).toEqual([0xb9, 0xa3]);
  expect([...Array(16).keys()].filter((index) => getBit(bits, index))).toEqual([0, 3, 4, 5, 7, 8, 9, 13, 15]);
});

test.each([-1, 16, 1.5, Number.NaN, 2 ** 32, 2 ** 35])('there is no bit %d in two bytes', (index) => {
  const bits = new Uint8Array(2).fill(0xff);
  expect(getBit(bits, index)).toBeUndefined();
  expect(() => setBit(bits, index)).toThrow(RangeError);
});
