// A sealed credential opens only unchanged, and is good only for what it says.
import { inspect } from 'node:util';
import { decodeBase64url, encodeBase64url } from '@daypass/core/base64url';
import { generateSealingKey, importX25519, type PublicJwk } from '@daypass/core/key';
import { matchRules } from '@daypass/core/rule-match';
import {
  ALL_REQUESTS,
  ANY_CALLER,
  bindSeal,
  checkSealTime,
  MAX_SEAL_IN_TOKEN,
  openSeal,
  readSealKid,
  type SealUse,
  sealCredential,
} from '@daypass/core/seal';
import { CompactEncrypt, GeneralEncrypt, importJWK } from 'jose';
import { expect, test } from 'vitest';
import { codeOf, FLEET, NOW, plaintext, sealingKey, segment, utf8 } from './fixture.ts';

const to = { kid: sealingKey.kid, jwk: sealingKey.publicJwk };
const keys = new Map([[to.kid, await importX25519(sealingKey.privateJwk, 'open')]]);
const good = await sealCredential(plaintext, to);
const parts = good.split('.') as [string, string, string, string, string];
const header = JSON.parse(new TextDecoder().decode(decodeBase64url(parts[0])));
const use: SealUse = {
  fleet: FLEET,
  pool: 'default',
  service: 'github',
  origin: 'https://api.github.com',
  place: { kind: 'bearer' },
  caller: 'ci',
  credentialId: plaintext.id,
};

/** What an attacker who knows the public sealing key can make: any plaintext, any header that jose can write. */
async function sealRaw(
  bytes: Uint8Array,
  change: Record<string, unknown> = {},
  jwk: PublicJwk = to.jwk,
): Promise<string> {
  const protectedHeader = { alg: 'ECDH-ES', enc: 'A256GCM', typ: 'daypass-sealed+json', kid: to.kid, ...change };
  const key = await importJWK({ ...jwk }, 'ECDH-ES');
  return await new CompactEncrypt(bytes).setProtectedHeader(protectedHeader).encrypt(key);
}
const padded = (text: string): Uint8Array => utf8(text.padEnd(Math.ceil(utf8(text).length / 64) * 64));
const withHeader = (change: object): string => [segment({ ...header, ...change }), ...parts.slice(1)].join('.');
const withPart = (at: number, text: string): string =>
  parts.map((part, index) => (index === at ? text : part)).join('.');
const flipped = (part: string): string => {
  const bytes = decodeBase64url(part);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  return encodeBase64url(bytes);
};

test('a seal opens to what was sealed', async () => {
  const { rules, ruleTexts, secret, ...rest } = await openSeal(good, keys);
  expect({ ...rest, rules: ruleTexts, secret: secret.reveal() }).toEqual(plaintext);
  expect(matchRules(rules, 'GET', '/repos/acme/site')).toBe('GET /repos/**');
  expect(matchRules(rules, 'POST', '/repos/acme/site')).toBeUndefined();
});

test('the header is exactly alg, enc, typ, kid and epk, and the plaintext is padded', async () => {
  expect(header).toEqual({
    alg: 'ECDH-ES',
    enc: 'A256GCM',
    typ: 'daypass-sealed+json',
    kid: to.kid,
    epk: { kty: 'OKP', crv: 'X25519', x: expect.any(String) },
  });
  expect(decodeBase64url(parts[3]).length % 64).toBe(0);
  const longer = await sealCredential({ ...plaintext, secret: 'ghp_canary2' }, to);
  expect(longer.length).toBe(good.length);
});

test('an open seal does not print its secret', async () => {
  const seal = await openSeal(good, keys);
  expect(inspect(seal, { depth: 9 }) + JSON.stringify(seal) + String(seal.secret)).not.toContain('canary');
});

test('a seal names its key without being opened', async () => {
  expect(readSealKid(good)).toBe(to.kid);
  expect(await codeOf(() => readSealKid(good, 100))).toBe('seal_malformed');
});

const epk = (change: object): string => withHeader({ epk: { ...header.epk, ...change } });
const lowOrder = (hex: string): string => epk({ x: encodeBase64url(Uint8Array.from(Buffer.from(hex, 'hex'))) });

const malformed: readonly (readonly [string, string])[] = [
  ['JWE-01 a bit of the ciphertext flipped', withPart(3, flipped(parts[3]))],
  ['a bit of the iv flipped', withPart(2, flipped(parts[2]))],
  ['a bit of the tag flipped', withPart(4, flipped(parts[4]))],
  ...[12, 8, 4, 1, 0].map(
    (bytes) =>
      [
        `JWE-03 the tag cut to ${bytes} bytes`,
        withPart(4, encodeBase64url(decodeBase64url(parts[4]).slice(0, bytes))),
      ] as const,
  ),
  ['JWE-05 an encrypted key', withPart(1, 'AAAA')],
  ['JWE-07 alg dir', withHeader({ alg: 'dir' })],
  ['JWE-09 alg RSA1_5', withHeader({ alg: 'RSA1_5' })],
  ...['ECDH-ES+A256KW', 'PBES2-HS512+A256KW', 'RSA-OAEP', 'A256GCMKW', 'ecdh-es', ''].map(
    (alg) => [`alg ${alg}`, withHeader({ alg })] as const,
  ),
  ...['A128GCM', 'A256CBC-HS512', 'none'].map((enc) => [`enc ${enc}`, withHeader({ enc })] as const),
  ['typ of another kind', withHeader({ typ: 'JWT' })],
  ['JWE-11 epk of another curve', epk({ crv: 'P-256', kty: 'EC', y: 'A'.repeat(43) })],
  ['JWE-11 epk of X448', epk({ crv: 'X448' })],
  ['JWE-11 epk with a private member', epk({ d: 'A'.repeat(43) })],
  ['JWE-11 epk without x', epk({ x: undefined })],
  ['JWE-11 epk cut', epk({ x: header.epk.x.slice(0, 40) })],
  ['JWE-11 epk of order 1', lowOrder('00'.repeat(32))],
  ['JWE-11 epk of order 4', lowOrder(`01${'00'.repeat(31)}`)],
  ['JWE-11 epk of order 8', lowOrder('e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800')],
  ['JWE-11 epk not reduced', lowOrder(`ed${'ff'.repeat(30)}7f`)],
  ['epk is a text', withHeader({ epk: 'x' })],
  ['JWE-13 zip', withHeader({ zip: 'DEF' })],
  ['crit', withHeader({ crit: ['x'], x: 1 })],
  ['apu', withHeader({ apu: 'AAAA' })],
  ['jwk', withHeader({ jwk: to.jwk })],
  ['kid missing', withHeader({ kid: undefined })],
  ['kid is a number', withHeader({ kid: 1 })],
  [
    'a header member twice',
    [encodeBase64url(utf8(JSON.stringify(header).replace('{', '{"kid":"x",'))), ...parts.slice(1)].join('.'),
  ],
  [
    'a header spelled in another way',
    [encodeBase64url(utf8(JSON.stringify(header, null, 1))), ...parts.slice(1)].join('.'),
  ],
  ['four parts', parts.slice(0, 4).join('.')],
  ['six parts', `${good}.AAAA`],
  ['padding', `${good}=`],
  ['a blank', ` ${good}`],
  ['nothing', ''],
  ['a size above the largest', good.padEnd(4097, 'A')],
];

test.each(malformed)('a seal with %s is malformed', async (_name, jwe) => {
  expect(await codeOf(() => openSeal(jwe, keys))).toBe('seal_malformed');
});

test('every other last character of the tag is refused', async () => {
  const others = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'].filter(
    (one) => !good.endsWith(one),
  );
  const codes = await Promise.all(others.map((one) => codeOf(() => openSeal(good.slice(0, -1) + one, keys))));
  expect(codes).toEqual(others.map(() => 'seal_malformed'));
});

test('JWE-15 the JSON serialization is refused', async () => {
  const key = await importJWK({ ...to.jwk }, 'ECDH-ES+A256KW');
  const general = await new GeneralEncrypt(padded(JSON.stringify(plaintext)))
    .setProtectedHeader({ enc: 'A256GCM', typ: 'daypass-sealed+json' })
    .addRecipient(key)
    .setUnprotectedHeader({ alg: 'ECDH-ES+A256KW', kid: to.kid })
    .encrypt();
  expect(await codeOf(() => openSeal(JSON.stringify(general), keys))).toBe('seal_malformed');
});

test('JWE-17 a seal to a key that is not held says so', async () => {
  expect(await codeOf(() => openSeal(withHeader({ kid: 'nope' }), keys))).toBe('seal_key_unknown');
  const other = await generateSealingKey();
  const foreign = await sealCredential(plaintext, { kid: other.kid, jwk: other.publicJwk });
  expect(await codeOf(() => openSeal(foreign, keys))).toBe('seal_key_unknown');
  const misnamed = await sealCredential(plaintext, { kid: to.kid, jwk: other.publicJwk });
  expect(await codeOf(() => openSeal(misnamed, keys))).toBe('seal_malformed');
});

const json = JSON.stringify(plaintext);
const changed = (change: object): string => JSON.stringify({ ...plaintext, ...change });

const wrongPlaintexts: readonly (readonly [string, string])[] = [
  ['v 2', changed({ v: 2 })],
  ['an unknown member', changed({ admin: true })],
  ['a member twice', json.replace('{', '{"v":1,')],
  ['a member missing', changed({ callers: undefined })],
  ['an id that is no 128 bits', changed({ id: 'AB' })],
  ['no origin', changed({ origins: [] })],
  ...[
    'https://api.github.com/',
    'HTTPS://api.github.com',
    'https://api.github.com:443',
    'ftp://a',
    'https://u@a',
    'api.github.com',
    '*',
    'null',
    'file://',
  ].map((origin) => [`the origin ${origin}`, changed({ origins: [origin] })] as const),
  ['origins that are a text', changed({ origins: 'https://api.github.com' })],
  ...[
    null,
    {},
    { kind: 'cookie' },
    { kind: 'bearer', name: 'x' },
    { kind: 'header', name: 'X-Key', template: '{secret}' },
    { kind: 'header', name: 'host', template: '{secret}' },
    { kind: 'header', name: 'x-key', template: 'none' },
    { kind: 'header', name: 'x-key', template: '{secret}{secret}' },
    { kind: 'header', name: 'x-key', template: 'a\r\nb: {secret}' },
    { kind: 'query', name: 'a&b' },
    { kind: 'query', name: '' },
  ].map((place) => [`the place ${JSON.stringify(place)}`, changed({ place })] as const),
  ['a rule that is none', changed({ rules: ['FETCH it'] })],
  ['a named scope', changed({ rules: ['scope:triage'] })],
  ['a named scope beside a rule', changed({ rules: [ALL_REQUESTS, 'scope:triage'] })],
  ['the marker among callers', changed({ callers: ['ci', ANY_CALLER] })],
  ['a caller that is no name', changed({ callers: ['a b'] })],
  ['an end before its start', changed({ nbf: NOW, exp: NOW })],
  ['a time that is a text', changed({ exp: String(NOW) })],
  ['a time beyond all', changed({ exp: 1e308 })],
  ['an empty secret', changed({ secret: '' })],
  ...['abc\r\nX-Injected: 1', 'a\0b', 'a\tb', 'a b', 'schlüssel', 'a\u2028b'].map(
    (secret) => [`JWE-21 the secret ${JSON.stringify(secret)}`, changed({ secret })] as const,
  ),
  ['a byte order mark', `\ufeff${json}`],
  ['text after the JSON', `${json}x`],
  ['an array', '[]'],
];

test.each(
  wrongPlaintexts,
)('a seal whose plaintext has %s cannot be made, and is refused when it was', async (_name, text) => {
  expect(await codeOf(async () => openSeal(await sealRaw(padded(text)), keys))).toBe('seal_malformed');
  const parsed: unknown = text.startsWith('{') ? JSON.parse(text.replace(/x$/, '')) : [];
  const spelled = JSON.stringify(parsed) !== json;
  const made = await codeOf(() => sealCredential(parsed as typeof plaintext, to));
  expect(spelled ? ['invalid_argument', 'invalid_rule'] : ['nothing']).toContain(made);
});

test('a plaintext that is not padded, or not UTF-8, is refused', async () => {
  expect(await codeOf(async () => openSeal(await sealRaw(utf8(`${json} `.padEnd(65 * 7))), keys))).toBe(
    'seal_malformed',
  );
  expect(await codeOf(async () => openSeal(await sealRaw(new Uint8Array(64).fill(0xff)), keys))).toBe('seal_malformed');
});

test('the plaintext that those start from is good', async () => {
  expect((await openSeal(await sealRaw(padded(json)), keys)).id).toBe(plaintext.id);
});

test('an error of sealing or opening never quotes the secret', async () => {
  const secret = 'can\u0000ary';
  const error = await sealCredential({ ...plaintext, secret }, to).catch((thrown: unknown) => thrown);
  const opening = await openSeal(await sealRaw(padded(changed({ secret }))), keys).catch((thrown: unknown) => thrown);
  expect(inspect([error, opening], { depth: 9 })).not.toMatch(/can\W{0,6}ary|can.u0000ary/);
});

test('a secret of another form is good where its place takes it', async () => {
  const basic = await sealCredential({ ...plaintext, place: { kind: 'basic' }, secret: 'usér:pass word' }, to);
  expect((await openSeal(basic, keys)).secret.reveal()).toBe('usér:pass word');
  expect(await codeOf(() => sealCredential({ ...plaintext, place: { kind: 'basic' }, secret: 'nocolon' }, to))).toBe(
    'invalid_argument',
  );
});

test('a credential that is too large names its size', async () => {
  const secret = 'x'.repeat(1200);
  expect(await codeOf(() => sealCredential({ ...plaintext, secret }, to))).toBe('nothing');
  expect(await codeOf(() => sealCredential({ ...plaintext, secret }, to, MAX_SEAL_IN_TOKEN))).toBe('invalid_argument');
  expect(await codeOf(() => sealCredential({ ...plaintext, secret: 'x'.repeat(4000) }, to))).toBe('invalid_argument');
});

const header1 = { kind: 'header', name: 'x-key', template: '{secret}' } as const;

test.each([
  ['as sealed', {}, {}, 'nothing'],
  ['in another fleet', {}, { fleet: 'urn:daypass:fleet:B' }, 'seal_fleet_wrong'],
  ['in another pool', {}, { pool: 'eu' }, 'seal_fleet_wrong'],
  ['JWE-19 for another service', {}, { service: 'stripe' }, 'seal_service_wrong'],
  ['under another id', {}, { credentialId: 'f'.repeat(32) }, 'seal_id_wrong'],
  ['in a token, where no id is stored', {}, { credentialId: undefined }, 'nothing'],
  ['for another caller', {}, { caller: 'eve' }, 'seal_caller_wrong'],
  ['for the marker as a caller', {}, { caller: ANY_CALLER }, 'seal_caller_wrong'],
  ['for nobody', { callers: [] }, {}, 'seal_caller_wrong'],
  ['for every caller', { callers: [ANY_CALLER] }, { caller: 'eve' }, 'nothing'],
  ['to another host', {}, { origin: 'https://api.github.com.evil.example' }, 'seal_origin_wrong'],
  ['to another scheme', {}, { origin: 'http://api.github.com' }, 'seal_origin_wrong'],
  ['to another port', {}, { origin: 'https://api.github.com:8443' }, 'seal_origin_wrong'],
  ['to its second origin', { origins: ['https://a.example', 'https://api.github.com'] }, {}, 'nothing'],
  ['at another place', {}, { place: { kind: 'query', name: 'key' } }, 'seal_place_wrong'],
  ['at the same header', { place: header1 }, { place: header1 }, 'nothing'],
  ['at another header', { place: header1 }, { place: { ...header1, name: 'x-log' } }, 'seal_place_wrong'],
  ['in another template', { place: header1 }, { place: { ...header1, template: 'a {secret}' } }, 'seal_place_wrong'],
] as const)('a seal used %s', async (_how, sealed, used, code) => {
  const seal = await openSeal(await sealCredential({ ...plaintext, ...sealed }, to), keys);
  const { credentialId, ...rest } = { ...use, ...used };
  expect(await codeOf(() => bindSeal(seal, credentialId === undefined ? rest : { ...rest, credentialId }))).toBe(code);
});

test.each([
  [NOW - 5.1, 'seal_not_yet_valid'],
  [NOW, 'nothing'],
  [NOW + 86_404, 'nothing'],
  [NOW + 86_405, 'seal_expired'],
  [Number.NaN, 'seal_expired'],
])('a seal at %d', async (now, code) => {
  const seal = await openSeal(good, keys);
  expect(await codeOf(() => checkSealTime(seal, now))).toBe(code);
});
