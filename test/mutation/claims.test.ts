// What mutants of the claim checks showed to be untested: boundaries, the claim that an error names, forms of a JWS.
import { generateKeyPairSync } from 'node:crypto';
import { DaypassError } from '@daypass/core/errors';
import { type JwsForm, readJws } from '@daypass/core/jws';
import { importEd25519 } from '@daypass/core/key';
import {
  checkTokenTime,
  importVerificationKey,
  MAX_TOKEN_BYTES,
  signToken,
  statusPositions,
  type TokenClaims,
  verifyToken,
} from '@daypass/core/token';
import { isThumbprint, readClaims, statusChunk } from '@daypass/core/token-claims';
import { describe, expect, test } from 'vitest';
import { claims, codeOf, FLEET, forge, ISSUER, issuerKey, NOW, trusted } from '../core/fixture.ts';

const jkt = `${'A'.repeat(42)}E`;
const LARGEST_TTL = 366 * 86_400;
const LAST_SECOND = 253_402_300_799;
const status = { status_list: { idx: 65_535, uri: `${ISSUER}/statuslists/0` } };
const parent = { jti: 'p', client_id: 'planner', sub: 'octo', iat: NOW, status };
const actors = (depth: number): object => (depth === 1 ? { sub: 'a' } : { sub: 'a', act: actors(depth - 1) });
const read = (change: object): TokenClaims => readClaims(JSON.parse(JSON.stringify({ ...claims, ...change })));
const errorOf = (work: () => unknown): DaypassError => {
  try {
    work();
  } catch (error) {
    if (error instanceof DaypassError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
};

const good: readonly (readonly [string, object])[] = [
  ['the first second there is', { iat: 0, nbf: 0, exp: 1 }],
  ['the last second there is', { iat: LAST_SECOND - 1, nbf: LAST_SECOND - 1, exp: LAST_SECOND }],
  ['the longest life', { nbf: NOW + 1, exp: NOW + LARGEST_TTL + 1 }],
  ['a thousand rules', { allowed: Array(1000).fill('GET /a') }],
  ['eight parents', { parents: Array(8).fill(parent) }],
  ['eight actors', { act: actors(8) }],
  ['a thumbprint', { cnf: { jkt } }],
  ['the last index', { status }],
  ['names of the greatest lengths', { sub: 's'.repeat(256), client_id: 'c'.repeat(128), jti: 'j'.repeat(64) }],
  ['a service and a caller of the greatest length', { service: 's'.repeat(63), caller: 'c'.repeat(63) }],
];

test.each(good)('a token with %s is read', (_what, change) => {
  expect(read(change)).toEqual({ ...claims, ...change });
});

const bad: readonly (readonly [string, object, string | undefined, string])[] = [
  ['exp at iat', { iat: NOW + 900, nbf: NOW }, 'exp', 'exp'],
  ['exp at nbf', { nbf: NOW + 900 }, 'exp', 'exp'],
  ['exp before iat', { iat: NOW + 901, nbf: NOW }, 'exp', 'exp'],
  ['exp before nbf', { nbf: NOW + 901 }, 'exp', 'exp'],
  ['a life a moment too long', { exp: NOW + LARGEST_TTL + 1.001 }, 'exp', 'exp'],
  ['a life too long from the earlier of two starts', { iat: NOW + 9, exp: NOW + LARGEST_TTL + 2 }, 'exp', 'exp'],
  ['a time before all', { nbf: -0.001 }, 'nbf', 'nbf'],
  ['a time after all', { iat: LAST_SECOND, nbf: LAST_SECOND, exp: LAST_SECOND + 0.001 }, 'exp', 'exp'],
  ['more than a thousand rules', { allowed: Array(1001).fill('GET /a') }, 'allowed', 'allowed'],
  ['rules that are no list', { allowed: 'GET /a' }, undefined, 'allowed'],
  ['another language', { scope_version: 2 }, 'scope_version', 'scope_version'],
  ['a version that is a text', { scope_version: '1' }, undefined, 'scope_version'],
  ['nine parents', { parents: Array(9).fill(parent) }, 'parents', 'parents'],
  ['a parent that is a text', { parents: ['p'] }, undefined, 'parents'],
  ['a parent from nowhen', { parents: [{ ...parent, iat: -1 }] }, 'iat', 'iat'],
  ['a parent of two words', { parents: [{ ...parent, client_id: 'a b' }] }, 'client_id', 'client_id'],
  ['a parent for nobody', { parents: [{ ...parent, sub: '' }] }, 'sub', 'sub'],
  ['a parent with the list of another', { parents: [{ ...parent, status: {} }] }, undefined, 'status.status_list'],
  ['nine actors', { act: actors(9) }, 'act', 'act'],
  ['an actor that is a text', { act: 'a' }, undefined, 'act'],
  ['an actor for nobody', { act: { sub: '' } }, 'sub', 'sub'],
  ['a constraint that is a text', { cnf: jkt }, undefined, 'cnf'],
  ['a thumbprint that is none', { cnf: { jkt: 'x' } }, 'cnf', 'cnf'],
  ['a thumbprint that is a number', { cnf: { jkt: 1 } }, undefined, 'cnf.jkt'],
  ['a constraint of two kinds', { cnf: { jkt, 'x5t#S256': jkt } }, 'cnf', 'cnf'],
  ['no status', { status: null }, undefined, 'status'],
  ['an index that is a text', { status: { status_list: { ...status.status_list, idx: '1' } } }, undefined, 'idx'],
  ['an index too high', { status: { status_list: { ...status.status_list, idx: 65_536 } } }, 'status_list.idx', 'idx'],
  ['a list of another', { status: { status_list: { idx: 1, uri: 'https://e/0' } } }, 'status_list.uri', 'uri'],
  ['a name too long', { sub: 's'.repeat(257) }, 'sub', 'sub'],
  ['an id too long', { jti: 'j'.repeat(65) }, 'jti', 'jti'],
  ['a label too long', { client_id: 'c'.repeat(129) }, 'client_id', 'client_id'],
  ['a service too long', { service: 's'.repeat(64) }, 'service', 'service'],
  ['a caller too long', { caller: 'c'.repeat(64) }, 'caller', 'caller'],
];

test.each(bad)('a token with %s is refused, and the claim is named', (_what, change, field, named) => {
  const error = errorOf(() => read(change));
  expect(error).toMatchObject({ code: 'token_malformed', field });
  expect(error.message).toContain(named);
});

test('a payload that is no object says so, and keeps the cause for the log', () => {
  expect(errorOf(() => readClaims('x')).message).toContain('payload');
  expect(errorOf(() => readClaims('x')).cause).toBeInstanceOf(DaypassError);
});

test.each([
  '',
  'x',
  jkt.slice(1),
  `A${jkt}`,
  `${jkt}A`,
  `${'A'.repeat(42)}B`,
  `${'+'.repeat(42)}A`,
  `\n${jkt}`,
])('%j is no thumbprint', (text) => expect(isThumbprint(text)).toBe(false));

test.each(['000', '1234567890', '1a', 'a1', '1/', '٣'])('the status list %s is none', (chunk) => {
  expect(errorOf(() => statusChunk(ISSUER, `${ISSUER}/statuslists/${chunk}`))).toMatchObject({
    code: 'token_malformed',
    field: 'status_list.uri',
  });
});

test('a token that has no parents has one place in the status lists', async () => {
  expect(statusPositions(await verifyToken(forge(header(), claims), trusted))).toEqual([
    { jti: claims.jti, chunk: 0, index: 7 },
  ]);
});

test.each([
  [{ iat: NOW - 60, nbf: NOW + 6, exp: NOW + 900 }, 'token_not_yet_valid'],
  [{ iat: NOW + 6, nbf: NOW - 60, exp: NOW + 900 }, 'token_not_yet_valid'],
  [{ iat: NOW + 5, nbf: NOW + 5, exp: NOW + 900 }, 'nothing'],
])('either start must have come: %j', async (times, code) => {
  expect(await codeOf(() => checkTokenTime(times, NOW))).toBe(code);
});

const header = (change: object = {}) => ({ alg: 'Ed25519', typ: 'at+jwt', kid: issuerKey.kid, ...change });
const signer = { kid: issuerKey.kid, key: await importEd25519(issuerKey.privateJwk, 'sign') };

/** A signed token of a length, or of the next shorter one that base64url has. */
const ofLength = (length: number): string => {
  let token = '';
  for (let pad = 3_000; ; pad += 1) {
    const next = forge(header(), { ...claims, pad: 'x'.repeat(pad) });
    if (next.length > length) return token;
    token = next;
  }
};

test('a signed token is taken up to the largest size and not above', async () => {
  const largest = ofLength(MAX_TOKEN_BYTES);
  expect(largest.length).toBeGreaterThanOrEqual(MAX_TOKEN_BYTES - 1);
  expect(await codeOf(() => verifyToken(largest, trusted))).toBe('nothing');
  const larger = ofLength(MAX_TOKEN_BYTES + 2);
  expect(larger.length).toBeGreaterThan(MAX_TOKEN_BYTES);
  expect(await codeOf(() => verifyToken(larger, trusted))).toBe('token_malformed');
});

test('a token of exactly the largest size is signed', async () => {
  const lengths = new Set<number>();
  for (const kid of ['k', 'kk', 'kkk'])
    for (let pad = 3700; pad < 4300; pad += 1) {
      const sized = { ...claims, allowed: [`GET /${'a'.repeat(pad)}`] };
      const token = await signToken(sized, { ...signer, kid }).catch(() => undefined);
      if (token === undefined) break;
      lengths.add(token.length);
    }
  expect(Math.max(...lengths)).toBe(MAX_TOKEN_BYTES);
});

test.each(['two words', '', 'k'.repeat(129), 'ключ', 'a\n'])('a token whose key id is %j is malformed', async (kid) => {
  expect(await codeOf(() => verifyToken(forge(header({ kid }), claims), trusted))).toBe('token_malformed');
});

test('a bound token keeps its constraint when it is signed', async () => {
  const bound = { ...claims, cnf: { jkt } };
  expect(await verifyToken(await signToken(bound, signer), trusted)).toEqual(bound);
});

test('what cannot be signed names the claim', async () => {
  await expect(signToken({ ...claims, exp: NOW }, signer)).rejects.toMatchObject({
    code: 'invalid_argument',
    field: 'exp',
    cause: { code: 'token_malformed' },
  });
});

describe('verification keys', () => {
  const entry = (alg: 'Ed25519' | 'ES256', jwk: object) => ({ kid: 'k', alg, issuer: ISSUER, jwk: { ...jwk } });
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });

  test('a public Ed25519 key is imported and verifies', async () => {
    const { kty, crv, x } = issuerKey.publicJwk;
    const key = await importVerificationKey(entry('Ed25519', { kty, crv, x }));
    const keys = new Map([[issuerKey.kid, key]]);
    expect(await verifyToken(forge(header(), claims), { keys, audience: FLEET })).toEqual(claims);
  });

  test.each([
    ['Ed25519', { ...issuerKey.publicJwk, kty: 'EC' }],
    ['Ed25519', { kty: 'OKP', crv: 'Ed25519' }],
    ['ES256', p256.privateKey.export({ format: 'jwk' })],
    ['ES256', { ...p256.publicKey.export({ format: 'jwk' }), kty: 'OKP' }],
    ['ES256', { ...p256.publicKey.export({ format: 'jwk' }), crv: 'P-384' }],
    ['ES256', { ...p256.publicKey.export({ format: 'jwk' }), x: undefined }],
  ] as const)('another is not: %s %j', async (alg, jwk) => {
    expect(await codeOf(() => importVerificationKey(entry(alg, jwk)))).toBe('invalid_argument');
  });
});

describe('a JWS that names no key', () => {
  const form: JwsForm = { typ: 't', algs: ['Ed25519'], hasKid: false, maxBytes: 500, code: 'unauthenticated' };

  test('is read without one', () => {
    expect(readJws(forge({ alg: 'Ed25519', typ: 't' }, {}), form)).toMatchObject({ alg: 'Ed25519', kid: undefined });
  });

  test.each([
    ['a key id all the same', { alg: 'Ed25519', typ: 't', kid: 'k' }, 'Its header is wrong'],
    ['a key all the same', { alg: 'Ed25519', typ: 't', jwk: {} }, 'Its header is wrong'],
    ['an algorithm that is not of the form', { alg: 'ES256', typ: 't' }, 'Its algorithm is not accepted'],
    ['no algorithm', { typ: 't' }, 'Its header is wrong'],
    ['a header that is no object', [], 'Its header is wrong'],
    ['a header that is no JSON', '{', 'It does not hold strict JSON'],
    ['another type', { alg: 'Ed25519', typ: 'T' }, 'It is another kind of JWS'],
  ])('and with %s is refused with the code of its form', (_what, head, message) => {
    expect(errorOf(() => readJws(forge(head, {}), form))).toMatchObject({ code: 'unauthenticated', message });
  });
});
