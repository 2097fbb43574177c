// Real keys and honest values that the tests of core start from.
import { createHash, createHmac, createPrivateKey, sign } from 'node:crypto';
import { encodeBase64url } from '@daypass/core/base64url';
import type { ErrorCode } from '@daypass/core/errors';
import { DaypassError } from '@daypass/core/errors';
import { type GeneratedKey, generateSealingKey, generateSigningKey, importEd25519 } from '@daypass/core/key';
import type { SealPlaintext } from '@daypass/core/seal';
import type { TokenClaims, VerificationKey } from '@daypass/core/token';

/** Seconds; every test has the same now. */
export const NOW = 1_800_000_000;
export const ISSUER = 'https://daypass.example';
export const FLEET = 'urn:daypass:fleet:AAAAAAAAAAAAAAAAAAAAAA';

export const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
export const segment = (value: unknown): string => encodeBase64url(utf8(JSON.stringify(value)));

export const issuerKey: GeneratedKey = await generateSigningKey();
export const otherKey: GeneratedKey = await generateSigningKey();
export const sealingKey: GeneratedKey = await generateSealingKey();

export const claims: TokenClaims = {
  iss: ISSUER,
  aud: FLEET,
  sub: 'octo-bot',
  client_id: 'octo-bot',
  caller: 'ci',
  jti: 'dGVzdC10b2tlbi1pZA',
  iat: NOW,
  nbf: NOW,
  exp: NOW + 900,
  service: 'github',
  allowed: ['GET /repos/acme/{repo}/issues'],
  scope_version: 1,
  status: { status_list: { idx: 7, uri: `${ISSUER}/statuslists/0` } },
};

export const plaintext: SealPlaintext = {
  v: 1,
  id: '00112233445566778899aabbccddeeff',
  fleet: FLEET,
  pool: 'default',
  service: 'github',
  origins: ['https://api.github.com'],
  place: { kind: 'bearer' },
  rules: ['GET /repos/**'],
  callers: ['ci'],
  nbf: NOW,
  exp: NOW + 86_400,
  secret: 'ghp_canary',
};

export const verificationKey: VerificationKey = {
  alg: 'Ed25519',
  issuer: ISSUER,
  key: await importEd25519(issuerKey.publicJwk, 'verify'),
};
export const trusted = { keys: new Map([[issuerKey.kid, verificationKey]]), audience: FLEET };

/** A JWS of exactly these texts, signed by Ed25519 as an attacker with that key could. */
export function forge(header: unknown, payload: unknown, key: GeneratedKey = issuerKey): string {
  return signText(`${asSegment(header)}.${asSegment(payload)}`, key);
}

export function signText(input: string, key: GeneratedKey = issuerKey): string {
  const privateKey = createPrivateKey({ key: { ...key.privateJwk }, format: 'jwk' });
  return `${input}.${encodeBase64url(sign(null, Buffer.from(input), privateKey))}`;
}

export function forgeHmac(header: unknown, payload: unknown, hash: string, secret: string | Uint8Array): string {
  const input = `${asSegment(header)}.${asSegment(payload)}`;
  return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`;
}

/** A string is taken as JSON text, anything else is printed. */
const asSegment = (value: unknown): string =>
  typeof value === 'string' ? encodeBase64url(utf8(value)) : segment(value);

/** The code of the error that the work throws; 'nothing' when it throws none. */
export async function codeOf(work: () => unknown): Promise<ErrorCode | 'nothing'> {
  try {
    await work();
    return 'nothing';
  } catch (error) {
    if (error instanceof DaypassError) return error.code;
    throw error;
  }
}
