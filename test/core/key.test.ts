// Keys chain to the fleet root, each for one use, and signatures keep their purpose apart.
import { encodeBase64url } from '@daypass/core/base64url';
import {
  AUDIT_LABEL,
  domainSeparated,
  fingerprint,
  generateSealingKey,
  generateSigningKey,
  importEd25519,
  importX25519,
  KEY_LABEL,
  type KeyStatement,
  MANIFEST_LABEL,
  type PublicJwk,
  signBytes,
  signKeyStatement,
  verifyBytes,
  verifySignedKey,
} from '@daypass/core/key';
import { expect, test } from 'vitest';
import { codeOf, FLEET, issuerKey, NOW, otherKey, sealingKey, utf8 } from './fixture.ts';

const rootPrivate = await importEd25519(issuerKey.privateJwk, 'sign');
const statement: KeyStatement = {
  v: 1,
  fleet: FLEET,
  pool: 'default',
  use: 'seal',
  kid: sealingKey.kid,
  jwk: sealingKey.publicJwk,
  not_after: NOW + 60,
};
const { kid: _, ...bareJwk } = sealingKey.publicJwk;
const expected = { root: issuerKey.publicJwk, fleet: FLEET, use: 'seal', pool: 'default', now: NOW } as const;
const signRaw = async (text: string, label = KEY_LABEL) => ({
  statement: utf8(text),
  signature: await signBytes(rootPrivate, label, utf8(text)),
});

test('a statement that the root signed is read', async () => {
  const signed = await signKeyStatement(statement, rootPrivate);
  expect(await verifySignedKey(signed, expected)).toEqual({ ...statement, jwk: bareJwk });
  const root = await importEd25519(issuerKey.publicJwk, 'verify');
  expect((await verifySignedKey(signed, { ...expected, root })).kid).toBe(sealingKey.kid);
});

test.each([
  ['another root', { root: otherKey.publicJwk }],
  ['another fleet', { fleet: 'urn:daypass:fleet:B' }],
  ['another pool', { pool: 'eu' }],
  ['another use', { use: 'snapshot' }],
  ['a time after its end', { now: NOW + 60 }],
  ['a time that is no number', { now: Number.NaN }],
] as const)('a key is not trusted for %s', async (_what, change) => {
  const signed = await signKeyStatement(statement, rootPrivate);
  expect(await codeOf(() => verifySignedKey(signed, { ...expected, ...change }))).toBe('key_untrusted');
});

test('no byte of a statement or its signature can change', async () => {
  const signed = await signKeyStatement(statement, rootPrivate);
  for (const part of ['statement', 'signature'] as const) {
    for (let at = 0; at < signed[part].length; at += 7) {
      const bytes = signed[part].slice();
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      expect(await codeOf(() => verifySignedKey({ ...signed, [part]: bytes }, expected))).toBe('key_untrusted');
    }
  }
});

const json = JSON.stringify(statement);
test.each([
  ['of another version', json.replace('"v":1', '"v":2')],
  ['with an unknown member', json.replace('{', '{"x":1,')],
  ['with a member twice', json.replace('{', '{"v":1,')],
  ['with an unknown use', json.replace('"seal"', '"sign"')],
  ['with a key of the wrong curve', JSON.stringify({ ...statement, jwk: otherKey.publicJwk })],
  ['with a private key', JSON.stringify({ ...statement, jwk: sealingKey.privateJwk })],
  ['with a short key', JSON.stringify({ ...statement, jwk: { ...bareJwk, x: 'AAAA' } })],
  ['without a pool', JSON.stringify({ ...statement, pool: '' })],
  ['without an end', JSON.stringify({ ...statement, not_after: undefined })],
  ['that is no JSON', 'x'],
  ['that is too large', JSON.stringify({ ...statement, fleet: 'f'.repeat(2048) })],
])('a signed statement %s is not trusted', async (_what, text) => {
  expect(await codeOf(async () => verifySignedKey(await signRaw(text), expected))).toBe('key_untrusted');
});

test('a signature for another purpose is none', async () => {
  expect(await codeOf(async () => verifySignedKey(await signRaw(json, MANIFEST_LABEL), expected))).toBe(
    'key_untrusted',
  );
  expect(await codeOf(async () => verifySignedKey(await signRaw(json), expected))).toBe('nothing');
});

test('a wrong statement is not signed', async () => {
  expect(await codeOf(() => signKeyStatement({ ...statement, jwk: otherKey.publicJwk }, rootPrivate))).toBe(
    'invalid_json',
  );
});

test('signatures are bound to label, bytes and key', async () => {
  const verify = await importEd25519(issuerKey.publicJwk, 'verify');
  const signature = await signBytes(rootPrivate, AUDIT_LABEL, utf8('x'));
  expect(await verifyBytes(verify, AUDIT_LABEL, utf8('x'), signature)).toBe(true);
  expect(await verifyBytes(verify, MANIFEST_LABEL, utf8('x'), signature)).toBe(false);
  expect(await verifyBytes(verify, AUDIT_LABEL, utf8('y'), signature)).toBe(false);
  expect(await verifyBytes(verify, AUDIT_LABEL, utf8('x'), signature.slice(0, 63))).toBe(false);
  expect(await verifyBytes(rootPrivate, AUDIT_LABEL, utf8('x'), signature)).toBe(false);
  expect(domainSeparated('ab', Uint8Array.of(1))).toEqual(Uint8Array.of(97, 98, 0, 1));
});

test('a thumbprint is that of RFC 8037 A.3', async () => {
  const jwk: PublicJwk = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' };
  expect(await fingerprint(jwk)).toBe('kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k');
});

test('fresh keys are named by their thumbprint and cannot be exported once imported', async () => {
  for (const key of [await generateSigningKey(), await generateSealingKey()]) {
    expect(key.kid).toBe(await fingerprint(key.publicJwk));
    expect(key.publicJwk).not.toHaveProperty('d');
  }
  expect(rootPrivate.extractable).toBe(false);
});

test.each([
  ['a public key, to sign', () => importEd25519(issuerKey.publicJwk, 'sign')],
  ['a key of another curve', () => importEd25519(sealingKey.publicJwk, 'verify')],
  ['a public key, to open', () => importX25519(sealingKey.publicJwk, 'open')],
  ['a signing key, to seal', () => importX25519(issuerKey.publicJwk, 'seal')],
  [
    'a key with an odd spelling',
    () => importX25519({ ...sealingKey.publicJwk, x: `${sealingKey.publicJwk.x}=` }, 'seal'),
  ],
  [
    'a key of 31 bytes',
    () => importEd25519({ ...issuerKey.publicJwk, x: encodeBase64url(new Uint8Array(31)) }, 'verify'),
  ],
])('%s is not imported', async (_what, work) => {
  expect(await codeOf(work)).toBe('invalid_argument');
});
