// DPoP proofs (RFC 9449): what shows, for one request, that whoever presents a token holds the key that it is bound to.
import { CompactSign, calculateJwkThumbprint, importJWK } from 'jose';
import { decodeBase64url } from './base64url.ts';
import { DaypassError } from './errors.ts';
import { type JsonObject, type JsonValue, readNumber, readObject, readString } from './json.ts';
import { type JwsAlg, type ReadJws, readJsonBytes, readJws, verifyJws } from './jws.ts';
import type { CryptoKey } from './key.ts';

/** Largest proof, in bytes. */
export const MAX_PROOF_BYTES = 4096;
/** How long a proof is good after its `iat`, and how far ahead of this clock that may be; seconds. */
export const PROOF_SECONDS = 60;
export const PROOF_AHEAD_SECONDS = 5;
/** The signature algorithms, as a challenge lists them (RFC 9449 §7.1). */
export const PROOF_ALGS = 'ES256 Ed25519';

const FORM = {
  typ: 'dpop+jwt',
  algs: ['Ed25519', 'ES256'],
  hasKid: false,
  hasJwk: true,
  maxBytes: MAX_PROOF_BYTES,
  code: 'proof_invalid',
} as const;

/** The members of a public key that its thumbprint is made of (RFC 7638 §3.2, RFC 8037 §2). */
export type ProofJwk =
  | { readonly kty: 'EC'; readonly crv: 'P-256'; readonly x: string; readonly y: string }
  | { readonly kty: 'OKP'; readonly crv: 'Ed25519'; readonly x: string };

/** A public key by its thumbprint, ready to verify with. */
export type ProofKey = { readonly jkt: string; readonly jwk: ProofJwk; readonly key: CryptoKey };

/** The request that a proof must be for. */
export type ProvedRequest = {
  readonly method: string;
  /** As clients know it, without query and fragment: `https://host[:port]/path`, host in lower case, no default port. */
  readonly url: string;
  /** base64url SHA-256 of the token's characters. */
  readonly tokenHash: string;
  /** Seconds since the epoch. */
  readonly now: number;
};

/** A proof that fits its request; NOT yet known to be signed by anybody. */
export type ReadProof = {
  readonly jws: ReadJws;
  readonly jwk: ProofJwk;
  readonly jti: string;
  readonly iat: number;
  readonly nonce: string | undefined;
};

/** Signs a proof (RFC 9449 §4.2). `jti` has at least 96 random bits; the URL's query and fragment are left out. */
export async function signProof(
  proof: ProvedRequest & { readonly jti: string; readonly nonce?: string | undefined },
  signer: { readonly alg: JwsAlg; readonly key: CryptoKey; readonly publicJwk: ProofJwk },
): Promise<string> {
  const { method: htm, url, tokenHash: ath, jti, nonce, now } = proof;
  const claims = {
    htm,
    htu: withoutQuery(url),
    iat: Math.floor(now),
    jti,
    ath,
    ...(nonce === undefined ? {} : { nonce }),
  };
  return await new CompactSign(new TextEncoder().encode(JSON.stringify(claims)))
    .setProtectedHeader({ typ: FORM.typ, alg: signer.alg, jwk: signer.publicJwk })
    .sign(signer.key);
}

/** Checks all of a proof but its key and signature, and says what is left to check. Throws `proof_invalid`. */
export function readProof(text: string, request: ProvedRequest): ReadProof {
  // RFC 9449 §4.3 (2) one well-formed JWT, (4) typ, (5) an asymmetric algorithm that is accepted here.
  const jws = readJws(text, FORM);
  // (5) by the algorithm of the key, and (7) no private key.
  const jwk = readJwk(jws.jwk, jws.alg);
  // (3) all required claims.
  const { htm, htu, jti, iat, ath, nonce } = readClaims(jws.payload);
  // (8) htm.
  if (htm !== request.method) throw wrong('The proof is for another method');
  // (9) htu.
  if (normalized(htu) !== request.url) throw wrong('The proof is for another URL');
  // (11) iat.
  if (!(iat >= request.now - PROOF_SECONDS)) throw wrong('The proof is too old');
  if (!(iat <= request.now + PROOF_AHEAD_SECONDS)) throw wrong('The proof is from the future');
  // (12) ath.
  if (ath !== request.tokenHash) throw wrong('The proof is for another token');
  return { jws, jwk, jti, iat, nonce };
}

/**
 * Checks key and signature of a proof; returns the key, which may be given again. Throws `proof_invalid`.
 * Whether the proof was used before is for the caller to know.
 */
export async function verifyProofKey(proof: ReadProof, jkt: string, known?: ProofKey): Promise<ProofKey> {
  // (12) the key is the one that the token is bound to.
  const key =
    known !== undefined && known.jkt === jkt && isSame(known.jwk, proof.jwk) ? known : await boundKey(proof, jkt);
  // (6) signature.
  if (!(await verifyJws(proof.jws, key.key, proof.jws.alg))) throw wrong('The proof is not signed by its key');
  return key;
}

/** Verifies a proof by all steps but that of replay. Throws `proof_invalid`, or `proof_nonce_required` for another nonce. */
export async function verifyProof(
  text: string,
  expected: ProvedRequest & { readonly jkt: string; readonly nonce?: string },
): Promise<ReadProof> {
  const proof = readProof(text, expected);
  // (10) nonce.
  if (expected.nonce !== undefined && proof.nonce !== expected.nonce)
    throw new DaypassError('proof_nonce_required', 'The proof needs the nonce that was given');
  await verifyProofKey(proof, expected.jkt);
  return proof;
}

/** Thumbprint of a public key (RFC 7638, SHA-256, base64url): the `jkt` of tokens that are bound to it. */
export const proofThumbprint = (jwk: ProofJwk): Promise<string> => calculateJwkThumbprint({ ...jwk }, 'sha256');

async function boundKey({ jwk, jws }: ReadProof, jkt: string): Promise<ProofKey> {
  if ((await proofThumbprint(jwk)) !== jkt) throw wrong('The proof is by another key than the token is bound to');
  const key = await importJWK({ ...jwk }, jws.alg).catch(() => undefined);
  if (key === undefined || key instanceof Uint8Array) throw wrong('The key of the proof cannot be used');
  return { jkt, jwk, key };
}

const isSame = (one: ProofJwk, other: ProofJwk): boolean =>
  one.kty === other.kty && one.x === other.x && (one.kty === 'EC' ? one.y : '') === (other.kty === 'EC' ? other.y : '');

/** Members of private and symmetric keys (RFC 7518 §6). */
const PRIVATE = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

function readJwk(value: JsonValue | undefined, alg: JwsAlg): ProofJwk {
  try {
    const object = readObject(value, 'jwk');
    if (PRIVATE.some((name) => Object.hasOwn(object, name))) throw wrong('The proof holds a private key');
    const { kty, crv } = object;
    if (kty === 'EC' && crv === 'P-256' && alg === 'ES256')
      return { kty, crv, x: coordinate(object, 'x'), y: coordinate(object, 'y') };
    if (kty === 'OKP' && crv === 'Ed25519' && alg === 'Ed25519') return { kty, crv, x: coordinate(object, 'x') };
  } catch (cause) {
    throw ours(cause, 'The key of the proof is wrong');
  }
  throw wrong('The key of the proof is not one for its algorithm');
}

/** 32 bytes in canonical base64url: one key has one thumbprint. */
function coordinate(object: JsonObject, name: string): string {
  const text = readString(object[name], name);
  if (text.length !== 43 || decodeBase64url(text).length !== 32) throw wrong('The key of the proof is wrong');
  return text;
}

function readClaims(payload: Uint8Array) {
  try {
    const object = readObject(readJsonBytes(payload, FORM.code), 'proof');
    const jti = readString(object.jti, 'jti');
    if (jti === '' || jti.length > 128) throw wrong('The jti of the proof must be 1 to 128 characters');
    return {
      htm: readString(object.htm, 'htm'),
      htu: readString(object.htu, 'htu'),
      iat: readNumber(object.iat, 'iat'),
      ath: readString(object.ath, 'ath'),
      jti,
      nonce: object.nonce === undefined ? undefined : readString(object.nonce, 'nonce'),
    };
  } catch (cause) {
    throw ours(cause, 'A claim of the proof is missing or wrong');
  }
}

const withoutQuery = (url: string): string => url.split(/[?#]/, 1)[0] ?? '';

// RFC 3986 §6.2.2.1, §6.2.3. The path is taken as it stands: a target with two spellings is refused before this.
function normalized(htu: string): string {
  const [, scheme = '', host = '', port, path = ''] =
    /^([a-z]+):\/\/([^/?#@:[\]]+|\[[^/?#@[\]]+\])(?::(\d{1,5}))?(\/[^?#]*)?(?:[?#]|$)/i.exec(htu) ?? [];
  const protocol = scheme.toLowerCase();
  const isDefault = port === undefined || port === DEFAULT_PORTS[protocol];
  return `${protocol}://${host.toLowerCase()}${isDefault ? '' : `:${port}`}${path === '' ? '/' : path}`;
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { http: '80', https: '443' };

const wrong = (message: string, cause?: unknown): DaypassError =>
  new DaypassError(FORM.code, message, cause === undefined ? {} : { cause });

const ours = (cause: unknown, message: string): unknown => {
  if (!(cause instanceof DaypassError)) return cause;
  return cause.code === FORM.code ? cause : wrong(message, cause);
};
