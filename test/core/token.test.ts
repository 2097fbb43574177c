// Tokens are signed, verified and bounded as the design says.
import { generateKeyPairSync, sign } from 'node:crypto';
import { encodeBase64url } from '@daypass/core/base64url';
import { importEd25519 } from '@daypass/core/key';
import {
  checkTokenTime,
  importVerificationKey,
  MAX_TOKEN_BYTES,
  readToken,
  readUnverifiedClaims,
  signToken,
  statusChunk,
  statusPositions,
  statusUri,
  type TokenClaims,
  verifyToken,
} from '@daypass/core/token';
import { expect, test } from 'vitest';
import { claims, codeOf, FLEET, ISSUER, issuerKey, NOW, segment, trusted } from './fixture.ts';

const signer = { kid: issuerKey.kid, key: await importEd25519(issuerKey.privateJwk, 'sign') };

test('a signed token verifies to the same claims', async () => {
  expect(await verifyToken(await signToken(claims, signer), trusted)).toEqual(claims);
});

test('a token carries its optional claims', async () => {
  const parent = {
    jti: 'parent',
    client_id: 'planner',
    sub: 'octo-bot',
    iat: NOW,
    status: { status_list: { idx: 1, uri: statusUri(ISSUER, 3) } },
  };
  const full: TokenClaims = {
    ...claims,
    credential: 'a.b.c.d.e',
    act: { sub: 'a', act: { sub: 'b' } },
    parents: [parent],
  };
  const verified = await verifyToken(await signToken(full, signer), trusted);
  expect(verified).toEqual(full);
  expect(statusPositions(verified)).toEqual([
    { jti: claims.jti, chunk: 0, index: 7 },
    { jti: 'parent', chunk: 3, index: 1 },
  ]);
});

test('the header is exactly alg, typ and kid', async () => {
  const [head] = (await signToken(claims, signer)).split('.');
  expect(head).toBe(segment({ alg: 'Ed25519', typ: 'at+jwt', kid: issuerKey.kid }));
});

test('iat keeps its milliseconds', async () => {
  const token = await signToken({ ...claims, iat: NOW + 0.123 }, signer);
  expect((await verifyToken(token, trusted)).iat).toBe(NOW + 0.123);
});

test('an unverified token can be read for people', async () => {
  expect(readUnverifiedClaims(readToken(await signToken(claims, signer)))).toEqual(claims);
});

test.each([
  ['rules', { allowed: Array.from({ length: 900 }, (_, n) => `GET /repos/acme/site/${n}`) }, 'allow'],
  [
    'a seal',
    { credential: 'x'.repeat(2048), allowed: ['GET /a'], sub: 's'.repeat(256), iss: `https://${'i'.repeat(1500)}` },
    'sealed_credential',
  ],
])('a token that is too large is not signed, and the error names %s', async (_part, change, field) => {
  const iss = 'iss' in change ? change.iss : ISSUER;
  const status = { status_list: { idx: 0, uri: statusUri(iss, 0) } };
  await expect(signToken({ ...claims, ...change, status }, signer)).rejects.toMatchObject({
    code: 'invalid_argument',
    field,
  });
});

test('what a verifier would refuse is not signed', async () => {
  expect(await codeOf(() => signToken({ ...claims, allowed: [] }, signer))).toBe('invalid_argument');
  expect(await codeOf(() => signToken({ ...claims, exp: Number.NaN }, signer))).toBe('invalid_argument');
  expect(await codeOf(() => signToken(claims, { ...signer, kid: 'two words' }))).toBe('invalid_argument');
});

test.each([
  ['at the end of its skew', NOW + 905, 'token_expired'],
  ['within the skew after its end', NOW + 904.999, 'nothing'],
  ['now', NOW, 'nothing'],
  ['within the skew before its start', NOW - 5, 'nothing'],
  ['before its start', NOW - 5.001, 'token_not_yet_valid'],
  ['at a time that is no number', Number.NaN, 'token_expired'],
])('a token %s', async (_when, now, code) => {
  expect(await codeOf(() => checkTokenTime(claims, now))).toBe(code);
});

test('a token from the future is refused even when nbf is past', async () => {
  expect(await codeOf(() => checkTokenTime({ iat: NOW + 10, nbf: NOW - 60, exp: NOW + 900 }, NOW))).toBe(
    'token_not_yet_valid',
  );
});

test('a status URI names its chunk, and only one of its issuer', async () => {
  expect(statusChunk(ISSUER, statusUri(ISSUER, 12))).toBe(12);
  for (const uri of [
    `${ISSUER}/statuslists/`,
    `${ISSUER}/statuslists/01`,
    `${ISSUER}/statuslists/-1`,
    'https://evil/statuslists/0',
  ])
    expect(await codeOf(() => statusChunk(ISSUER, uri))).toBe('token_malformed');
});

const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const es256 = await importVerificationKey({
  kid: 'es',
  alg: 'ES256',
  issuer: ISSUER,
  jwk: { ...p256.publicKey.export({ format: 'jwk' }) } as Record<string, string>,
});
const signEs256 = (dsaEncoding: 'ieee-p1363' | 'der', kid = 'es'): string => {
  const input = `${segment({ alg: 'ES256', typ: 'at+jwt', kid })}.${segment(claims)}`;
  return `${input}.${encodeBase64url(sign('sha256', Buffer.from(input), { key: p256.privateKey, dsaEncoding }))}`;
};

test('ES256 is taken for a key that is listed so', async () => {
  expect(await verifyToken(signEs256('ieee-p1363'), { keys: new Map([['es', es256]]), audience: FLEET })).toEqual(
    claims,
  );
});

test('an ES256 signature in DER form is refused', async () => {
  const keys = new Map([['es', es256]]);
  expect(await codeOf(() => verifyToken(signEs256('der'), { keys, audience: FLEET }))).toMatch(
    /^token_(malformed|signature_invalid)$/,
  );
});

test('a key listed for one algorithm verifies no other', async () => {
  const keys = new Map([['es', { ...es256, alg: 'Ed25519' as const }]]);
  expect(await codeOf(() => verifyToken(signEs256('ieee-p1363'), { keys, audience: FLEET }))).toBe(
    'token_signature_invalid',
  );
});

test.each([
  ['a private key', 'Ed25519', { ...issuerKey.privateJwk }],
  ['a key of another curve', 'Ed25519', { ...issuerKey.publicJwk, crv: 'X25519' }],
  ['an Ed25519 key listed as ES256', 'ES256', { ...issuerKey.publicJwk }],
  ['an EC key without y', 'ES256', { kty: 'EC', crv: 'P-256', x: 'AAAA' }],
  ['an EC point off the curve', 'ES256', { kty: 'EC', crv: 'P-256', x: 'A'.repeat(43), y: 'A'.repeat(43) }],
] as const)('a verification key that is %s is not imported', async (_what, alg, jwk) => {
  const entry = { kid: 'k', alg, issuer: ISSUER, jwk: jwk as unknown as Record<string, string> };
  expect(await codeOf(() => importVerificationKey(entry))).toBe('invalid_argument');
});

test('a token of the largest size is read and one byte more is not', async () => {
  const token = await signToken(claims, signer);
  expect(token.length).toBeLessThan(MAX_TOKEN_BYTES);
  expect(await codeOf(() => readToken(token + 'A'.repeat(MAX_TOKEN_BYTES - token.length + 1)))).toBe('token_malformed');
});
