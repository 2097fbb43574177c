// API keys have one form.

import { formatApiKey, isApiKey } from '@daypass/core/api-key';
import fc from 'fast-check';
import { expect, test } from 'vitest';

test('any 32 bytes make a key', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (bytes) => {
      const key = formatApiKey(bytes);
      expect(key).toHaveLength(47);
      expect(isApiKey(key)).toBe(true);
    }),
  );
});

test.each([0, 31, 33])('%i bytes do not', (length) => {
  expect(() => formatApiKey(new Uint8Array(length))).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
});

const key = formatApiKey(new Uint8Array(32));

test.each([
  '',
  'dpk_',
  key.slice(1),
  key.slice(0, -1),
  `${key}A`,
  `${key}\n`,
  ` ${key}`,
  `${key.slice(0, -1)}B`,
])('%j is no key', (text) => expect(isApiKey(text)).toBe(false));
