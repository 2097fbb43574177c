// The enrolment token's one text, and the proof that the node holds its key.

import {
  ENROL_LABEL,
  formatEnrolmentToken,
  isEnrolmentToken,
  parseFingerprint,
  rootOfEnrolmentToken,
  signEnrolment,
  verifyEnrolment,
} from '@daypass/core/enrolment';
import { fingerprint, generateSigningKey, importEd25519, signBytes } from '@daypass/core/key';
import fc from 'fast-check';
import { expect, test } from 'vitest';

const root = await fingerprint((await generateSigningKey()).publicJwk);

test('a token says what it is and which root it is for, whatever its secret', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (random) => {
      const token = formatEnrolmentToken(random, root);
      expect(token).toMatch(/^dpe_[A-Za-z0-9_-]{43}_[A-Za-z0-9_-]{43}$/);
      expect(isEnrolmentToken(token)).toBe(true);
      expect(rootOfEnrolmentToken(token)).toBe(root);
    }),
  );
});

test.each([
  ['of few bytes', () => formatEnrolmentToken(new Uint8Array(31), root)],
  ['of many bytes', () => formatEnrolmentToken(new Uint8Array(33), root)],
  ['without a thumbprint', () => formatEnrolmentToken(new Uint8Array(32), '')],
  ['read out of another text', () => rootOfEnrolmentToken(`dpk_${'A'.repeat(43)}_${root}`)],
])('a token %s is none', (_name, make) => {
  expect(make).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
});

test.each([
  ['another spelling of its last bits', (token: string) => token.replace(/.$/, (last) => (last === 'A' ? 'B' : '_'))],
  ['a space behind it', (token: string) => `${token} `],
  ['a line end behind it', (token: string) => `${token}\n`],
  ['another separator', (token: string) => `${token.slice(0, 47)}.${token.slice(48)}`],
])('a token with %s is none', (_name, change) => {
  expect(isEnrolmentToken(change(formatEnrolmentToken(new Uint8Array(32), root)))).toBe(false);
});

test('a proof holds for its token, name and key, under its own label, and for nothing else', async () => {
  const [key, other] = [await generateSigningKey(), await generateSigningKey()];
  const claim = { tokenHash: 'a'.repeat(64), name: 'edge-1', jwk: key.publicJwk };
  const signer = await importEd25519(key.privateJwk, 'sign');
  const proof = await signEnrolment(claim, signer);
  expect(await verifyEnrolment(claim, proof)).toBe(true);
  for (const change of [{ tokenHash: 'b'.repeat(64) }, { name: 'edge-2' }, { name: '' }, { jwk: other.publicJwk }])
    expect([change, await verifyEnrolment({ ...claim, ...change }, proof)]).toEqual([change, false]);
  const text = JSON.stringify({ v: 1, token: claim.tokenHash, name: claim.name, key: key.publicJwk.x });
  const bytes = new TextEncoder().encode(text);
  expect(await verifyEnrolment(claim, await signBytes(signer, ENROL_LABEL, bytes))).toBe(true);
  expect(await verifyEnrolment(claim, await signBytes(signer, 'daypass-audit-v1', bytes))).toBe(false);
});

test('a fingerprint is taken as `daypass init` shows it, or bare', () => {
  for (const text of [root, `SHA-256 ${root}`, ` SHA-256  ${root}\n`]) expect(parseFingerprint(text)).toBe(root);
  for (const text of ['', 'SHA-256', root.slice(1), `${root}A`, `${root.slice(0, 42)}B`, `SHA-1 ${root}`])
    expect(parseFingerprint(text)).toBeUndefined();
});
