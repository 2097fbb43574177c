// Day passes: signing them, reading them, and verifying them in named steps (RFC 7519, RFC 9068, RFC 8725).
import { CompactSign, importJWK } from 'jose';
import { DaypassError } from './errors.ts';
import { type JwsAlg, type ReadJws, readJsonBytes, readJws, verifyJws } from './jws.ts';
import { type CryptoKey, importEd25519, isKid } from './key.ts';
import type { KeyEntry } from './service.ts';
import { readClaims, type StatusClaim, statusChunk, type TokenClaims } from './token-claims.ts';

export type { Actor, Confirmation, ParentClaim, StatusClaim, TokenClaims } from './token-claims.ts';
export { MAX_PARENTS, MAX_SEAL_IN_TOKEN, statusChunk, statusUri } from './token-claims.ts';

/** Largest token, in bytes. */
export const MAX_TOKEN_BYTES = 6000;

/** Clock difference that is forgiven, in seconds. */
export const SKEW_SECONDS = 5;

/** `typ` of a token's header (RFC 9068 §2.1). */
export const TOKEN_TYP = 'at+jwt';

const FORM = {
  typ: TOKEN_TYP,
  algs: ['Ed25519', 'ES256'],
  hasKid: true,
  maxBytes: MAX_TOKEN_BYTES,
  code: 'token_malformed',
} as const;

/** A token whose form is right and whose header is pinned; NOT verified. */
export type ReadToken = ReadJws & { readonly kid: string };

/** A key that verifies tokens of one issuer, by one algorithm. */
export type VerificationKey = { readonly alg: JwsAlg; readonly issuer: string; readonly key: CryptoKey };

declare const verified: unique symbol;
/** Claims of a token that this fleet signed. Says nothing of time or revocation. */
export type VerifiedClaims = TokenClaims & { readonly [verified]: true };

/** Signs a token with an Ed25519 key; throws `invalid_argument` when it is too large or a claim is wrong. */
export async function signToken(
  claims: TokenClaims,
  signer: { readonly kid: string; readonly key: CryptoKey },
): Promise<string> {
  const token = await new CompactSign(tokenPayload(claims, signer.kid))
    .setProtectedHeader({ alg: 'Ed25519', typ: FORM.typ, kid: signer.kid })
    .sign(signer.key);
  checkTokenSize(claims, token);
  return token;
}

/** The payload of a token, for whoever signs by other means than `signToken`; throws as it does. */
export function tokenPayload(claims: TokenClaims, kid: string): Uint8Array<ArrayBuffer> {
  const payload = new TextEncoder().encode(JSON.stringify(inOrder(claims)));
  checkMintable(payload, kid);
  return payload;
}

/** Throws `invalid_argument` for a signed token that is too large, saying which part is. */
export function checkTokenSize(claims: TokenClaims, token: string): void {
  if (token.length > MAX_TOKEN_BYTES) throw tooLarge(claims, token.length);
}

/** Checks form, size and header; throws `token_malformed`. */
export function readToken(text: string): ReadToken {
  const jws = readJws(text, FORM);
  if (jws.kid === undefined) throw new DaypassError('token_malformed', 'The token names no key');
  return { ...jws, kid: jws.kid };
}

/** What an unverified token claims, for people to look at; never for a decision. Throws `token_malformed`. */
export const readUnverifiedClaims = (token: ReadToken): TokenClaims =>
  readClaims(readJsonBytes(token.payload, 'token_malformed'));

/** Verifies all of a token that does not change with time; throws the `token_*` code of the step that refused. */
export async function verifyToken(
  text: string,
  trusted: { readonly keys: ReadonlyMap<string, VerificationKey>; readonly audience: string },
): Promise<VerifiedClaims> {
  // 1. Form (RFC 8725 §3.1, §3.11).
  const token = readToken(text);
  // 2. Key: by exact id, out of the active ones.
  const key = trusted.keys.get(token.kid);
  if (key === undefined)
    throw new DaypassError('token_key_unknown', 'The token was signed with a key that is not active');
  // 3. Signature, by the algorithm of the key.
  if (!(await verifyJws(token, key.key, key.alg)))
    throw new DaypassError('token_signature_invalid', 'The token is not signed by this fleet');
  // 4. Claims: nothing of the payload is parsed before this line.
  const claims = readUnverifiedClaims(token);
  // 5. Issuer: the one that the key belongs to (RFC 8725 §3.8).
  if (claims.iss !== key.issuer) throw new DaypassError('token_issuer_wrong', 'The token has another issuer');
  // 6. Audience (RFC 8725 §3.9).
  if (claims.aud !== trusted.audience) throw new DaypassError('token_audience_wrong', 'The token is for another fleet');
  return claims as VerifiedClaims;
}

/** Checks the time of a token against now (seconds); throws `token_expired` or `token_not_yet_valid`. */
export function checkTokenTime(claims: Pick<TokenClaims, 'iat' | 'nbf' | 'exp'>, nowSeconds: number): void {
  if (!(nowSeconds < claims.exp + SKEW_SECONDS)) throw new DaypassError('token_expired', 'The token has expired');
  if (!(nowSeconds >= claims.nbf - SKEW_SECONDS && nowSeconds >= claims.iat - SKEW_SECONDS))
    throw new DaypassError('token_not_yet_valid', 'The token is not valid yet');
}

/** One place in the status lists that must be clear for a token to be good. */
export type StatusPosition = { readonly jti: string; readonly chunk: number; readonly index: number };

/** The token's own place in the status lists, then those of all its parents. */
export function statusPositions(claims: TokenClaims): readonly StatusPosition[] {
  const position = (jti: string, { status_list: { idx, uri } }: StatusClaim): StatusPosition => ({
    jti,
    chunk: statusChunk(claims.iss, uri),
    index: idx,
  });
  const parents = claims.parents ?? [];
  return [position(claims.jti, claims.status), ...parents.map((parent) => position(parent.jti, parent.status))];
}

/** Imports a verification key out of a snapshot or key set; throws `invalid_argument`. */
export async function importVerificationKey(entry: KeyEntry): Promise<VerificationKey> {
  return { alg: entry.alg, issuer: entry.issuer, key: await importPublic(entry) };
}

async function importPublic({ alg, jwk }: KeyEntry): Promise<CryptoKey> {
  const wrong = new DaypassError('invalid_argument', `The verification key is not a public ${alg} key`);
  const { kty, crv, x, y } = jwk;
  if (alg === 'Ed25519') {
    if (kty !== 'OKP' || crv !== 'Ed25519' || x === undefined || jwk.d !== undefined) throw wrong;
    return importEd25519({ kty, crv, x }, 'verify');
  }
  if (kty !== 'EC' || crv !== 'P-256' || x === undefined || y === undefined || jwk.d !== undefined) throw wrong;
  const key = await importJWK({ kty, crv, x, y }, 'ES256').catch(() => undefined);
  if (key === undefined || key instanceof Uint8Array) throw wrong;
  return key;
}

/** A fixed order of members; ones that are not in the type are left out. */
function inOrder(claims: TokenClaims): TokenClaims {
  const { iss, aud, sub, client_id, caller, jti, iat, nbf, exp, service, allowed, scope_version } = claims;
  return {
    ...{ iss, aud, sub, client_id, caller, jti, iat, nbf, exp, service, allowed, scope_version },
    ...(claims.credential === undefined ? {} : { credential: claims.credential }),
    ...(claims.cnf === undefined ? {} : { cnf: claims.cnf }),
    ...(claims.act === undefined ? {} : { act: claims.act }),
    ...(claims.parents === undefined ? {} : { parents: claims.parents }),
    status: claims.status,
  };
}

/** What is signed must be what a verifier would take. */
function checkMintable(payload: Uint8Array, kid: string): void {
  if (!isKid(kid)) throw new DaypassError('invalid_argument', 'The key id is not 1 to 128 visible characters');
  try {
    readClaims(readJsonBytes(payload, 'token_malformed'));
  } catch (cause) {
    if (!(cause instanceof DaypassError)) throw cause;
    const field = cause.field === undefined ? {} : { field: cause.field };
    throw new DaypassError('invalid_argument', cause.message, { cause, ...field });
  }
}

function tooLarge(claims: TokenClaims, bytes: number): DaypassError {
  const credential = claims.credential?.length ?? 0;
  const rules = JSON.stringify(claims.allowed).length;
  const [field, part] =
    rules >= credential
      ? ['allow', `its ${claims.allowed.length} rules take ${rules}; put them in a named scope`]
      : ['sealed_credential', `its sealed credential takes ${credential}; store it with the service`];
  const message = `The token would be ${bytes} bytes of at most ${MAX_TOKEN_BYTES}: ${part}`;
  return new DaypassError('invalid_argument', message, { field });
}
