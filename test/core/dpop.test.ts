// DPoP proofs: every step of RFC 9449 §4.3 refuses what it is for, and other people's proofs are taken.
import { randomUUID } from 'node:crypto';
import { type ProvedRequest, proofThumbprint, signProof, verifyProof } from '@daypass/core/dpop';
import { importEd25519 } from '@daypass/core/key';
import * as panva from 'dpop';
import { describe, expect, test } from 'vitest';
import { type Change, clientKey, proofOf, tokenHash } from '../kit/dpop.ts';
import { issuerKey, NOW } from './fixture.ts';

const TOKEN = 'eyJ.eyJ.sig';
const URL_ = 'https://api.example.com/s/github/repos';
const request: ProvedRequest = { method: 'GET', url: URL_, tokenHash: tokenHash(TOKEN), now: NOW };
const key = await clientKey();
const edKey = await clientKey('Ed25519');
const other = await clientKey();
const codeOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'good',
    (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
  );
const judged = (change: Change, by = key, extra: object = {}): Promise<unknown> => {
  const text = proofOf(by, { method: 'GET', url: URL_, token: TOKEN, now: NOW }, change);
  return codeOf(verifyProof(text, { ...request, jkt: by.jkt, ...extra }));
};

const claim = (name: string, value: unknown): Change => ({ claims: { [name]: value } });
const header = (name: string, value: unknown): Change => ({ header: { [name]: value } });
const jwk = (change: object): Change => ({ header: { jwk: { ...key.jwk, ...change } } });
const { privateKey } = key;

const broken: readonly [step: string, what: string, change: Change][] = [
  ['(2)', 'no JWT', { whole: () => 'not a jwt' }],
  ['(2)', 'two in one field', { whole: (text) => `${text}, ${text}` }],
  ['(2)', 'a fourth part', { whole: (text) => `${text}.e30` }],
  ['(2)', 'padding', { whole: (text) => `${text}=` }],
  ['(2)', 'a white space in it', { whole: (text) => text.replace('.', '. ') }],
  ['(2)', 'other last bits of the signature', { whole: withOtherLastBits }],
  ['(2)', 'more than 4 KiB', claim('more', 'x'.repeat(4096))],
  ['(2)', 'a claim twice', { rawClaims: (text) => `{"htm":"GET",${text.slice(1)}` }],
  ['(2)', 'a header member twice', { rawHeader: (text) => `{"alg":"ES256",${text.slice(1)}` }],
  ['(2)', 'claims that are no object', { rawClaims: () => '[]' }],
  ['(3)', 'no jti', claim('jti', undefined)],
  ['(3)', 'an empty jti', claim('jti', '')],
  ['(3)', 'a jti of 129 characters', claim('jti', 'j'.repeat(129))],
  ['(3)', 'a jti that is a number', claim('jti', 7)],
  ['(3)', 'no htm', claim('htm', undefined)],
  ['(3)', 'no htu', claim('htu', undefined)],
  ['(3)', 'no iat', claim('iat', undefined)],
  ['(3)', 'no ath', claim('ath', undefined)],
  ['(3)', 'a nonce that is no text', claim('nonce', 1)],
  ['(4)', 'no typ', header('typ', undefined)],
  ['(4)', 'typ of a token', header('typ', 'at+jwt')],
  ['(4)', 'typ in capitals', header('typ', 'DPoP+jwt')],
  ['(5)', 'alg none', header('alg', 'none')],
  ['(5)', 'a symmetric alg', header('alg', 'HS256')],
  ['(5)', 'alg of another key', header('alg', 'Ed25519')],
  ['(5)', 'an RSA alg', header('alg', 'RS256')],
  ['(5)', 'the old name of Ed25519', header('alg', 'EdDSA')],
  ['(6)', 'a signature by another key', { by: other }],
  ['(6)', 'a claim changed after signing', { whole: withOneClaimMore }],
  ['(7)', 'no jwk', header('jwk', undefined)],
  ['(7)', 'a jwk that is a text', header('jwk', 'x')],
  ['(7)', 'a private key', { header: { jwk: { ...key.jwk, d: privateKey.export({ format: 'jwk' }).d } } }],
  ['(7)', 'an empty private member', jwk({ d: '' })],
  ['(7)', 'a symmetric key', header('jwk', { kty: 'oct', k: 'AAAA' })],
  ['(7)', 'another curve', jwk({ crv: 'P-384' })],
  ['(7)', 'a coordinate that is not canonical', jwk({ x: `${key.jwk.x}=` })],
  ['(7)', 'a point off the curve', jwk({ x: 'A'.repeat(43) })],
  ['header', 'crit', header('crit', ['jwk'])],
  ['header', 'a key elsewhere', header('jku', 'https://evil.example/keys')],
  ['header', 'a kid', header('kid', '1')],
  ['(8)', 'another method', claim('htm', 'POST')],
  ['(8)', 'the method in lower case', claim('htm', 'get')],
  ['(9)', 'another path', claim('htu', `${URL_}/`)],
  ['(9)', 'another host', claim('htu', URL_.replace('api.', 'evil.'))],
  ['(9)', 'another scheme', claim('htu', URL_.replace('https', 'http'))],
  ['(9)', 'another port', claim('htu', URL_.replace('.com', '.com:8443'))],
  ['(9)', 'a user', claim('htu', URL_.replace('//', '//api.example.com@'))],
  ['(9)', 'a path that another spelling makes the same', claim('htu', URL_.replace('repos', 'r%65pos'))],
  ['(9)', 'a path with a dot segment', claim('htu', URL_.replace('repos', 'x/../repos'))],
  ['(9)', 'a path alone', claim('htu', '/s/github/repos')],
  ['(9)', 'nothing', claim('htu', '')],
  ['(11)', 'an iat 61 s ago', claim('iat', NOW - 61)],
  ['(11)', 'an iat 6 s ahead', claim('iat', NOW + 6)],
  ['(11)', 'an iat that is a text', claim('iat', String(NOW))],
  ['(12)', 'the hash of another token', claim('ath', tokenHash('other'))],
  ['(12)', 'another key', { header: { jwk: other.jwk }, by: other }],
];

function withOneClaimMore(text: string): string {
  const [head, claims = '', signature] = text.split('.');
  const more = { ...JSON.parse(Buffer.from(claims, 'base64url').toString()), more: 1 };
  return [head, Buffer.from(JSON.stringify(more)).toString('base64url'), signature].join('.');
}

function withOtherLastBits(text: string): string {
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.indexOf(text.at(-1) ?? '');
  return text.slice(0, -1) + 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.charAt(last + 1);
}

describe('a proof with', () => {
  test.each(broken)('RFC 9449 §4.3 %s: %s is refused', async (_step, _what, change) => {
    expect(await judged(change)).toBe('proof_invalid');
  });

  test('RFC 9449 §4.3 (10): no nonce, or another than the one given, is refused for that', async () => {
    expect(await judged({}, key, { nonce: 'n1' })).toBe('proof_nonce_required');
    expect(await judged(claim('nonce', 'n2'), key, { nonce: 'n1' })).toBe('proof_nonce_required');
    expect(await judged(claim('nonce', 'n1'), key, { nonce: 'n1' })).toBe('good');
  });

  const sound: readonly [string, Change][] = [
    ['nothing special', {}],
    ['claims that are not known', claim('extra', { a: 1 })],
    ['query and fragment in its URL', claim('htu', `${URL_}?q=1#f`)],
    [
      'host and scheme in capitals, and the default port',
      claim('htu', URL_.replace('https://api.example.com', 'HTTPS://API.example.com:443')),
    ],
    ['an iat 60 s ago', claim('iat', NOW - 60)],
    ['an iat 5 s ahead', claim('iat', NOW + 5)],
    ['a jti of 128 characters', claim('jti', 'j'.repeat(128))],
    ['a use of its key that is not needed', jwk({ use: 'sig' })],
  ];
  test.each(sound)('%s is good', async (_what, change) => {
    expect(await judged(change)).toBe('good');
  });

  test('an Ed25519 key is good, and is not taken for a token of its issuer', async () => {
    expect(await judged({}, edKey)).toBe('good');
    expect(await judged({ header: { alg: 'ES256' } }, edKey)).toBe('proof_invalid');
  });
});

test('what is signed here is good by the same rules, at a root path, too', async () => {
  const { x } = issuerKey.publicJwk;
  const publicJwk = { kty: 'OKP', crv: 'Ed25519', x } as const;
  const signer = { alg: 'Ed25519', key: await importEd25519(issuerKey.privateJwk, 'sign'), publicJwk } as const;
  const here = { ...request, method: 'POST', url: 'http://127.0.0.1:8470/' };
  const text = await signProof({ ...here, url: 'http://127.0.0.1:8470?q=1', jti: randomUUID(), nonce: 'n' }, signer);
  const jkt = await proofThumbprint(publicJwk);
  expect(await verifyProof(text, { ...here, jkt, nonce: 'n' })).toMatchObject({ nonce: 'n', iat: NOW });
});

describe('proofs of the npm package dpop', () => {
  test.each(['ES256', 'Ed25519'] as const)('with %s are good, with a nonce, too', async (alg) => {
    const pair = await panva.generateKeyPair(alg);
    const jkt = await panva.calculateThumbprint(pair.publicKey);
    const now = Date.now() / 1000;
    const plain = await panva.generateProof(pair, URL_, 'GET', undefined, TOKEN);
    expect(await verifyProof(plain, { ...request, now, jkt })).toMatchObject({ nonce: undefined });
    const withNonce = await panva.generateProof(pair, URL_, 'GET', 'n1', TOKEN);
    expect(await verifyProof(withNonce, { ...request, now, jkt, nonce: 'n1' })).toMatchObject({ nonce: 'n1' });
  });

  test.each(['PS256', 'RS256'] as const)('with %s are refused', async (alg) => {
    const pair = await panva.generateKeyPair(alg);
    const text = await panva.generateProof(pair, URL_, 'GET', undefined, TOKEN);
    const jkt = await panva.calculateThumbprint(pair.publicKey);
    expect(await codeOf(verifyProof(text, { ...request, now: Date.now() / 1000, jkt }))).toBe('proof_invalid');
  });
});
