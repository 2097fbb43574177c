// Forged tokens and wrong claims are refused, each with its code.
import { createPublicKey } from 'node:crypto';
import { decodeBase64url, encodeBase64url } from '@daypass/core/base64url';
import { type GeneratedKey, importEd25519 } from '@daypass/core/key';
import { encodeManifest } from '@daypass/core/manifest';
import { signNodeAssertion } from '@daypass/core/node-auth';
import { sealCredential } from '@daypass/core/seal';
import { verifyToken } from '@daypass/core/token';
import { expect, test } from 'vitest';
import {
  claims,
  codeOf,
  FLEET,
  forge,
  forgeHmac,
  ISSUER,
  issuerKey,
  NOW,
  otherKey,
  plaintext,
  sealingKey,
  segment,
  signText,
  trusted,
  utf8,
} from './fixture.ts';

const header = { alg: 'Ed25519', typ: 'at+jwt', kid: issuerKey.kid };
const good = forge(header, claims);
const [head = '', body = '', signature = ''] = good.split('.');
const signatureBytes = decodeBase64url(signature);
const withSignature = (bytes: Uint8Array): string => `${head}.${body}.${encodeBase64url(bytes)}`;
const without = (object: object, name: string) =>
  Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));

const publicKey = createPublicKey({ key: { ...issuerKey.publicJwk }, format: 'jwk' });
const pem = publicKey.export({ format: 'pem', type: 'spki' });
const der = publicKey.export({ format: 'der', type: 'spki' });
const jwkJson = JSON.stringify(issuerKey.publicJwk);

/** Adds the group order L to S (RFC 8032 §5.1.7): the same signature to a verifier that does not check S < L. */
function addOrder(bytes: Uint8Array): Uint8Array {
  const L = 2n ** 252n + 27742317777372353535851937790883648493n;
  let s = 0n;
  for (let at = 63; at >= 32; at -= 1) s = (s << 8n) | BigInt(bytes[at] ?? 0);
  s += L;
  const out = bytes.slice();
  for (let at = 32; at < 64; at += 1, s >>= 8n) out[at] = Number(s & 255n);
  return out;
}

test('the token that all forgeries start from is good', async () => {
  expect(await verifyToken(good, trusted)).toEqual(claims);
});

const M = 'token_malformed';
const S = 'token_signature_invalid';
const K = 'token_key_unknown';
const hs = (alg: string, secret: string | Uint8Array): string =>
  forgeHmac({ ...header, alg }, claims, alg.replace('HS', 'sha'), secret);

const forgeries: readonly (readonly [string, string, string])[] = [
  ...['none', 'NONE', 'None', 'none ', ''].map(
    (alg) =>
      [`TOK-01 alg ${JSON.stringify(alg)}, empty signature`, `${segment({ ...header, alg })}.${body}.`, M] as const,
  ),
  ['TOK-07 alg none with a signature', forge({ ...header, alg: 'none' }, claims), M],
  ['TOK-09 alg is an array', forge({ ...header, alg: ['Ed25519'] }, claims), M],
  ['alg EdDSA', forge({ ...header, alg: 'EdDSA' }, claims), M],
  ['alg in lower case', forge({ ...header, alg: 'ed25519' }, claims), M],
  ['alg missing', forge(without(header, 'alg'), claims), M],
  ['alg ES256 under an Ed25519 key', forge({ ...header, alg: 'ES256' }, claims), S],
  ...(['HS256', 'HS384', 'HS512'] as const).flatMap((alg) =>
    [pem, der, decodeBase64url(issuerKey.publicJwk.x), issuerKey.publicJwk.x, jwkJson, '', '\0', 'undefined'].map(
      (secret, at) => [`TOK-11 to 19 ${alg} with public material ${at} as its secret`, hs(alg, secret), M] as const,
    ),
  ),
  ['TOK-21 an attacker key under our kid', forge(header, claims, otherKey), S],
  ['TOK-23 kid removed', forge(without(header, 'kid'), claims), M],
  ...[
    '',
    '/dev/null',
    '|sleep 10|',
    "' OR 1=1--",
    '__proto__',
    'toString',
    'constructor',
    '../../key',
    'a'.repeat(129),
    'k\u0000',
  ].flatMap((kid) => [
    [
      `TOK-25 to 33 kid ${JSON.stringify(kid.slice(0, 20))}, signed`,
      forge({ ...header, kid }, claims),
      `${M}|${K}`,
    ] as const,
    [
      `TOK-25 to 33 kid ${JSON.stringify(kid.slice(0, 20))}, HMAC`,
      forgeHmac({ ...header, kid }, claims, 'sha256', ''),
      `${M}|${K}`,
    ] as const,
  ]),
  ['kid is a number', forge({ ...header, kid: 1 }, claims), M],
  ['TOK-35 jwk header', forge({ ...header, jwk: otherKey.publicJwk }, claims, otherKey), M],
  ['TOK-35 jwk header under our own signature', forge({ ...header, jwk: issuerKey.publicJwk }, claims), M],
  ['TOK-37 x5u header', forge({ ...header, x5u: 'http://127.0.0.1:1/' }, claims, otherKey), M],
  ['TOK-37 jku header', forge({ ...header, jku: 'http://127.0.0.1:1/' }, claims, otherKey), M],
  ['TOK-37 x5c header', forge({ ...header, x5c: ['AAAA'] }, claims), M],
  ['TOK-39 crit with an unknown extension', forge({ ...header, crit: ['x'], x: 1 }, claims), M],
  ['TOK-41 crit names a standard header', forge({ ...header, crit: ['alg'] }, claims), M],
  ['crit is empty', forge({ ...header, crit: [] }, claims), M],
  ['b64 false', forge({ ...header, b64: false, crit: ['b64'] }, claims), M],
  ...[
    'JWT',
    'AT+JWT',
    'application/at+jwt',
    'statuslist+jwt',
    'dpop+jwt',
    'JOSE',
    'snapshot+jwt',
    'daypass-node+jwt',
    '',
  ].map((typ) => [`TOK-43 typ ${typ}`, forge({ ...header, typ }, claims), M] as const),
  ['TOK-43 typ missing', forge(without(header, 'typ'), claims), M],
  ['TOK-47 an API key', `dpk_${'A'.repeat(43)}`, M],
  ['TOK-49 zip header', forge({ ...header, zip: 'DEF' }, claims), M],
  ['TOK-53 S + L', withSignature(addOrder(signatureBytes)), S],
  ...[0, 1, 7, 8, 255, 256, 510, 511].map((bit) => {
    const flipped = signatureBytes.slice();
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    return [`TOK-55 bit ${bit} of the signature flipped`, withSignature(flipped), S] as const;
  }),
  ['an all-zero signature', withSignature(new Uint8Array(64)), S],
  ['a signature of 63 bytes', withSignature(signatureBytes.slice(0, 63)), M],
  ['a signature of 65 bytes', withSignature(new Uint8Array(65)), M],
  ['TOK-59 padded segments', `${head}=.${body}=.${signature}=`, M],
  ['TOK-59 padded signature', `${good}==`, M],
  ...[
    `${good}.x`,
    `${head}.${body}`,
    head,
    '..',
    `${head}..${signature}`,
    `.${body}.${signature}`,
    `${head}.${body}.`,
    '',
    '.',
    '...',
  ].map((text, at) => [`TOK-61 parts, form ${at}`, text, M] as const),
  [
    'TOK-65 alg twice, none first',
    signText(
      `${encodeBase64url(utf8(`{"alg":"none","alg":"Ed25519","typ":"at+jwt","kid":"${issuerKey.kid}"}`))}.${body}`,
    ),
    M,
  ],
  [
    'TOK-65 alg twice, none last',
    signText(
      `${encodeBase64url(utf8(`{"alg":"Ed25519","alg":"none","typ":"at+jwt","kid":"${issuerKey.kid}"}`))}.${body}`,
    ),
    M,
  ],
  [
    'TOK-65 alg twice by an escape',
    signText(
      `${encodeBase64url(utf8(`{"alg":"Ed25519","\\u0061lg":"Ed25519","typ":"at+jwt","kid":"${issuerKey.kid}"}`))}.${body}`,
    ),
    M,
  ],
  [
    'a byte order mark before the header',
    signText(`${encodeBase64url(utf8(`\ufeff${JSON.stringify(header)}`))}.${body}`),
    M,
  ],
  ['a header that is not UTF-8', signText(`${encodeBase64url(Uint8Array.of(0x7b, 0xff, 0x7d))}.${body}`), M],
  ...['x', '[]', '"a"', 'null', '1', '{', '{}', ' ', '\ufeff{}'].map(
    (text) => [`TOK-67 payload ${JSON.stringify(text)}`, forge(header, text), M] as const,
  ),
  ['a payload member twice', forge(header, `${JSON.stringify(claims).slice(0, -1)},"sub":"root"}`), M],
  ['TOK-71 a dot at the end', `${good}.`, M],
  ...[
    ` ${good}`,
    `${good} `,
    `"${good}"`,
    `'${good}'`,
    `${good}\n`,
    `${head}. ${body}.${signature}`,
    `${good}\u0000`,
  ].map((text, at) => [`TOK-71 blanks and quotes, form ${at}`, text, M] as const),
];

test.each(forgeries)('a forged token is refused: %s', async (_name, text, code) => {
  expect(code.split('|')).toContain(await codeOf(() => verifyToken(text, trusted)));
});

test('TOK-57 every other last character of the signature is refused', async () => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const others = [...alphabet].filter((letter) => !good.endsWith(letter));
  const codes = await Promise.all(
    others.map((letter) => codeOf(() => verifyToken(good.slice(0, -1) + letter, trusted))),
  );
  expect(codes).toHaveLength(63);
  expect(codes.filter((code) => code !== M && code !== S)).toEqual([]);
  expect(codes.filter((code) => code === M)).toHaveLength(60);
});

test('other signed things are no tokens (TOK-45, TOK-63, node assertions)', async () => {
  const key = await importEd25519(issuerKey.privateJwk, 'sign');
  const manifest = encodeManifest({
    v: 1,
    fleet: FLEET,
    pool: 'default',
    version: 1,
    previous: '',
    issued_at: NOW,
    expires_at: NOW + 60,
    features: [],
    root: '0'.repeat(64),
  });
  const jwe = await sealCredential(plaintext, { kid: sealingKey.kid, jwk: sealingKey.publicJwk });
  const assertion = await signNodeAssertion({ node: 'node-1', fleet: FLEET, now: NOW, jti: 'j' }, key);
  const shown = [
    new TextDecoder().decode(manifest),
    `${head}.${encodeBase64url(manifest)}.${signature}`,
    jwe,
    assertion,
  ];
  for (const text of shown)
    expect(await codeOf(() => verifyToken(text, trusted))).toMatch(/^token_(malformed|signature_invalid)$/);
});

test('TOK-69 a __proto__ member changes nothing', async () => {
  const token = forge(
    header,
    `${JSON.stringify(claims).slice(0, -1)},"__proto__":{"service":"evil","admin":true},"constructor":1}`,
  );
  expect(await verifyToken(token, trusted)).toEqual(claims);
  expect(Object.hasOwn(Object.prototype, 'admin')).toBe(false);
});

test('a claim is not inherited through __proto__', async () => {
  const { service: _, ...rest } = claims;
  const token = forge(header, `${JSON.stringify(rest).slice(0, -1)},"__proto__":{"service":"github"}}`);
  expect(await codeOf(() => verifyToken(token, trusted))).toBe(M);
});

test('TOK-73 a key for another purpose is not in the list', async () => {
  expect(await codeOf(() => verifyToken(forge(header, claims, otherKey), trusted))).toBe(S);
  expect(await codeOf(() => verifyToken(forge({ ...header, kid: otherKey.kid }, claims, otherKey), trusted))).toBe(K);
});

test('TOK-75 a key of another issuer signs only for that issuer', async () => {
  const foreign = async (key: GeneratedKey) =>
    ({ alg: 'Ed25519', issuer: 'https://other.example', key: await importEd25519(key.publicJwk, 'verify') }) as const;
  const keys = new Map([...trusted.keys, [otherKey.kid, await foreign(otherKey)] as const]);
  const token = forge({ ...header, kid: otherKey.kid }, claims, otherKey);
  expect(await codeOf(() => verifyToken(token, { keys, audience: FLEET }))).toBe('token_issuer_wrong');
});

const bad: readonly (readonly [string, unknown, string?])[] = [
  ...[null, '9999999999', -1, 1e308, 'NaN', true, [9_999_999_999], { a: 1 }, 0].map((exp) => ['exp', exp] as const),
  ['exp', NOW + 367 * 86_400],
  ...[null, '0', -1, 1e308, true].flatMap((time) => [['iat', time] as const, ['nbf', time] as const]),
  ...[null, [FLEET], ['other', FLEET], [], { a: FLEET }, ''].map((aud) => ['aud', aud] as const),
  ['aud', 'other', 'token_audience_wrong'],
  ['aud', `${FLEET}/`, 'token_audience_wrong'],
  ...[null, [ISSUER], 'evil', `${ISSUER}/`, ISSUER.toUpperCase()].map((iss) => ['iss', iss] as const),
  ...[null, '', 1, ['j'], 'j'.repeat(65), 'a b', 'a\n'].map((jti) => ['jti', jti] as const),
  ...[null, [], 'GET /public/**', [['GET /public/**']], { 0: 'GET /public/**' }, [1], Array(1001).fill('a')].map(
    (allowed) => ['allowed', allowed] as const,
  ),
  ...[null, 0, 2, '1', 1.5].map((version) => ['scope_version', version] as const),
  ...[{ jkt: 'x' }, null, {}, 'x'].map((cnf) => ['cnf', cnf] as const),
  ...[
    null,
    {},
    { status_list: {} },
    { status_list: { idx: -1, uri: `${ISSUER}/statuslists/0` } },
    { status_list: { idx: 65_536, uri: `${ISSUER}/statuslists/0` } },
    { status_list: { idx: 1.5, uri: `${ISSUER}/statuslists/0` } },
    { status_list: { idx: 1, uri: 'https://evil.example/statuslists/0' } },
  ].map((status) => ['status', status] as const),
  ...[null, 1, '', 'a.'.repeat(1025)].map((credential) => ['credential', credential] as const),
  ...[null, '', 'a b', 1].flatMap((name) => [
    ['service', name] as const,
    ['caller', name] as const,
    ['client_id', name] as const,
  ]),
  ...[null, {}, [{ jti: 'p' }], Array(17).fill({ jti: 'p', status: claims.status })].map(
    (parents) => ['parents', parents] as const,
  ),
  ...[null, {}, { sub: 1 }].map((act) => ['act', act] as const),
];

test.each(
  bad.map(([claim, value, code]) => [claim, JSON.stringify(value).slice(0, 60), value, code ?? M] as const),
)('a signed token with a wrong claim is refused: %s = %s', async (claim, _shown, value, code) => {
  expect(await codeOf(() => verifyToken(forge(header, { ...claims, [claim]: value }), trusted))).toBe(code);
});

test.each([
  'iss',
  'aud',
  'sub',
  'client_id',
  'caller',
  'jti',
  'iat',
  'nbf',
  'exp',
  'service',
  'allowed',
  'scope_version',
  'status',
])('a signed token without %s is refused', async (claim) => {
  expect(await codeOf(() => verifyToken(forge(header, without(claims, claim)), trusted))).toBe(M);
});

test("CLM-13 an issuer that agrees with its own status list is still not the key's", async () => {
  const iss = 'https://evil.example';
  const status = { status_list: { idx: 7, uri: `${iss}/statuslists/0` } };
  expect(await codeOf(() => verifyToken(forge(header, { ...claims, iss, status }), trusted))).toBe(
    'token_issuer_wrong',
  );
});

test('unknown claims are ignored', async () => {
  expect(await verifyToken(forge(header, { ...claims, scope: 'admin', extra: { deep: [1] } }), trusted)).toEqual(
    claims,
  );
});

test('nothing of the payload is looked at before the signature', async () => {
  expect(await codeOf(() => verifyToken(forge(header, '[]', otherKey), trusted))).toBe(S);
});

test('CLM-19 a token of many rules is decided fast', async () => {
  const token = forge(header, { ...claims, allowed: Array(700).fill('a') });
  const start = performance.now();
  await verifyToken(token, trusted);
  expect(performance.now() - start).toBeLessThan(200);
});
