// A token that is signed at once is, byte for byte, the one that jose signs.
import { createPrivateKey } from 'node:crypto';
import { generateSigningKey, importEd25519 } from '@daypass/core/key';
import { signToken } from '@daypass/core/token';
import { expect, test } from 'vitest';
import { createTokenSigner } from '../../control-plane/domain/token-signer.ts';
import { claims } from '../core/fixture.ts';

const key = await generateSigningKey();
const { kty, crv, x, d } = key.privateJwk;
const signer = createTokenSigner(claims.iss, key.kid, createPrivateKey({ format: 'jwk', key: { kty, crv, x, d } }));

test.each([
  ['plain', claims],
  [
    'with a key and a seal',
    { ...claims, cnf: { jkt: 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs' }, credential: 'a.b.c.d.e' },
  ],
  ['in other letters', { ...claims, sub: 'Zoë \u{1f680}' }],
])('%s', async (_name, one) => {
  const expected = await signToken(one, { kid: key.kid, key: await importEd25519(key.privateJwk, 'sign') });
  expect(signer.sign(one)).toBe(expected);
});

test('claims that no verifier would take, and those that are too large, are refused', () => {
  const codeOf = (work: () => unknown): unknown => {
    try {
      return work();
    } catch (error) {
      return (error as { code?: unknown }).code;
    }
  };
  expect(codeOf(() => signer.sign({ ...claims, exp: 0 }))).toBe('invalid_argument');
  const allowed = Array.from({ length: 500 }, (_, i) => `GET /a/long/path/${i}`);
  expect(codeOf(() => signer.sign({ ...claims, allowed }))).toBe('invalid_argument');
});
