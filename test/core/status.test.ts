// Status bits stand in the order of the IETF Token Status List, and are written as its own examples are.
import { readFileSync } from 'node:fs';
import { deflateSync, inflateSync } from 'node:zlib';
import { encodeBase64url } from '@daypass/core/base64url';
import { getBit, setBit } from '@daypass/core/status';
import { expect, test } from 'vitest';

type Vector = {
  readonly section: string;
  readonly bits: number;
  readonly tokens: number;
  readonly set?: readonly number[];
  /** Hex. */
  readonly bytes?: string;
  readonly lst: string;
};

const text = readFileSync(new URL('../vectors/status-list.json', import.meta.url), 'utf8');
const { vectors } = JSON.parse(text) as { readonly vectors: readonly Vector[] };
const ours = vectors.filter(({ bits }) => bits === 1);

test.each(ours)('the list of $tokens tokens in $section reads as it says', ({ tokens, set, lst }) => {
  const bits = inflateSync(Buffer.from(lst, 'base64url'));
  expect([...Array(tokens).keys()].filter((index) => getBit(bits, index))).toEqual(set);
  expect(getBit(bits, tokens)).toBeUndefined();
});

test.each(ours)('the list of $tokens tokens in $section is written as it is there', ({ tokens, set, bytes, lst }) => {
  const bits = new Uint8Array(tokens / 8);
  for (const index of set ?? []) setBit(bits, index);
  expect(inflateSync(Buffer.from(lst, 'base64url')).equals(bits)).toBe(true);
  // How many bytes are compressed to is up to the zlib; two bytes leave it no choice.
  if (bytes === undefined) return;
  expect(Buffer.from(bits).toString('hex')).toBe(bytes);
  expect(encodeBase64url(deflateSync(bits, { level: 9 }))).toBe(lst);
});

test.each([-1, 16, 1.5, Number.NaN, 2 ** 32, 2 ** 35])('there is no bit %d in two bytes', (index) => {
  const bits = new Uint8Array(2).fill(0xff);
  expect(getBit(bits, index)).toBeUndefined();
  expect(() => setBit(bits, index)).toThrow(RangeError);
});
