// Base64url is canonical: one text for any bytes.

import { decodeBase64url, encodeBase64url } from '@daypass/core/base64url';
import fc from 'fast-check';
import { expect, test } from 'vitest';

test('any bytes come back, in the text that Node writes', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      const text = encodeBase64url(bytes);
      expect(text).toBe(Buffer.from(bytes).toString('base64url'));
      expect(decodeBase64url(text)).toEqual(bytes);
    }),
  );
});

test('any text is either refused or the one text of its bytes', () => {
  const text = fc.string({ unit: fc.constantFrom('A', 'Q', 'g', 'B', '-', '_', '=', '+', ' ', 'é'), maxLength: 8 });
  fc.assert(
    fc.property(text, (candidate) => {
      let bytes: Uint8Array;
      try {
        bytes = decodeBase64url(candidate);
      } catch (error) {
        expect(error).toMatchObject({ code: 'invalid_argument' });
        return;
      }
      expect(encodeBase64url(bytes)).toBe(candidate);
    }),
  );
});

test.each([
  'A',
  'AB',
  'AAB',
  'AA==',
  'AA\n',
  ' AA',
  'A+A',
  'A/AA',
  'AAA=',
  'AAé',
  'AA\u0000A',
  'ＡＡ',
])('refuses %j', (text) =>
  expect(() => decodeBase64url(text)).toThrow(expect.objectContaining({ code: 'invalid_argument' })));
