// A client's key and its DPoP proofs, right or broken at will.
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign as signRaw } from 'node:crypto';
import { type ProofJwk, proofThumbprint } from '@daypass/core/dpop';

/** A key of a client. */
export type ClientKey = {
  readonly alg: 'ES256' | 'Ed25519';
  readonly privateKey: KeyObject;
  readonly jwk: ProofJwk;
  readonly jkt: string;
};

/** A fresh key. */
export async function clientKey(alg: ClientKey['alg'] = 'ES256'): Promise<ClientKey> {
  const { privateKey, publicKey } =
    alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519');
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const jwk: ProofJwk = alg === 'ES256' ? { kty: 'EC', crv: 'P-256', x, y } : { kty: 'OKP', crv: 'Ed25519', x };
  return { alg, privateKey, jwk, jkt: await proofThumbprint(jwk) };
}

/** What is changed of a proof that would be right; `undefined` takes a member out. */
export type Change = {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
  /** JSON texts in place of what they would be. */
  readonly rawHeader?: (text: string) => string;
  readonly rawClaims?: (text: string) => string;
  /** The key that signs, if another than the one in the header. */
  readonly by?: ClientKey;
  readonly whole?: (text: string) => string;
};

/** base64url SHA-256 of a token. */
export const tokenHash = (token: string): string => createHash('sha256').update(token).digest('base64url');

/** A proof; right but for the change. */
export function proofOf(
  key: ClientKey,
  request: { readonly method: string; readonly url: string; readonly token: string; readonly now: number },
  change: Change = {},
): string {
  const { method: htm, url: htu, token, now } = request;
  const header = JSON.stringify({ typ: 'dpop+jwt', alg: key.alg, jwk: key.jwk, ...change.header });
  const claims = { htm, htu, iat: Math.floor(now), jti: randomUUID(), ath: tokenHash(token), ...change.claims };
  const parts = [
    change.rawHeader?.(header) ?? header,
    change.rawClaims?.(JSON.stringify(claims)) ?? JSON.stringify(claims),
  ];
  const input = parts.map((part) => Buffer.from(part).toString('base64url')).join('.');
  const text = `${input}.${signatureOf(change.by ?? key, input)}`;
  return change.whole?.(text) ?? text;
}

function signatureOf({ alg, privateKey }: ClientKey, input: string): string {
  const bytes = Buffer.from(input);
  if (alg === 'Ed25519') return signRaw(null, bytes, privateKey).toString('base64url');
  return signRaw('sha256', bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url');
}
