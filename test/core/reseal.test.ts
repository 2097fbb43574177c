// A credential is sealed anew with all that it is good for, and only as what it was sealed for.
import { generateSealingKey, importX25519 } from '@daypass/core/key';
import { resealCredential } from '@daypass/core/reseal';
import { openSeal, readSealKid, type SealPlaintext, sealCredential } from '@daypass/core/seal';
import { expect, test } from 'vitest';
import { codeOf, FLEET } from './fixture.ts';

const [old, fresh] = [await generateSealingKey(), await generateSealingKey()];
const oldKeys = new Map([[old.kid, await importX25519(old.privateJwk, 'open')]]);
const freshKeys = new Map([[fresh.kid, await importX25519(fresh.privateJwk, 'open')]]);
const plaintext: SealPlaintext = {
  v: 1,
  id: 'ab'.repeat(16),
  fleet: FLEET,
  pool: 'default',
  service: 'github',
  origins: ['https://api.github.com', 'https://uploads.github.com'],
  place: { kind: 'header', name: 'x-api-key', template: 'key {secret}' },
  rules: ['GET /repos/acme/**', 'POST /repos/acme/{repo}/issues where body.title = "a"'],
  callers: ['ci', 'bot'],
  nbf: 1_700_000_000,
  exp: 4_000_000_000,
  secret: 'canary-credential',
};
const sealed = await sealCredential(plaintext, { kid: old.kid, jwk: old.publicJwk });
const to = { kid: fresh.kid, jwk: fresh.publicJwk };
const expected = { fleet: FLEET, pool: 'default', service: 'github', credentialId: plaintext.id };

test('nothing of it changes but the key', async () => {
  const jwe = await resealCredential(sealed, oldKeys, expected, to);
  expect(readSealKid(jwe)).toBe(fresh.kid);
  const { secret, rules: _, ruleTexts, ...rest } = await openSeal(jwe, freshKeys);
  expect({ ...rest, rules: ruleTexts, secret: secret.reveal() }).toEqual(plaintext);
  expect(await codeOf(() => openSeal(jwe, oldKeys))).toBe('seal_key_unknown');
});

test.each([
  ['another service', { service: 'evil' }, 'seal_service_wrong'],
  ['another pool', { pool: 'eu' }, 'seal_fleet_wrong'],
  ['another fleet', { fleet: 'urn:daypass:fleet:B' }, 'seal_fleet_wrong'],
  ['another id', { credentialId: 'cd'.repeat(16) }, 'seal_id_wrong'],
] as const)('what is handed over as that of %s is not sealed anew', async (_what, change, code) => {
  expect(await codeOf(() => resealCredential(sealed, oldKeys, { ...expected, ...change }, to))).toBe(code);
});

test('what cannot be opened here is not sealed anew', async () => {
  expect(await codeOf(() => resealCredential(sealed, freshKeys, expected, to))).toBe('seal_key_unknown');
  expect(await codeOf(() => resealCredential(`${sealed}a`, oldKeys, expected, to))).toBe('seal_malformed');
});
