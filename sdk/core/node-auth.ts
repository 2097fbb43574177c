// How a node says who it is to the control plane: a short JWT under its own key (RFC 7523 §3).
import { CompactSign } from 'jose';
import { DaypassError } from './errors.ts';
import { readNumber, readObject, readString } from './json.ts';
import { readJsonBytes, readJws, verifyJws } from './jws.ts';
import { type CryptoKey, importEd25519, type PublicJwk } from './key.ts';

const FORM = {
  typ: 'daypass-node+jwt',
  algs: ['Ed25519'],
  hasKid: false,
  maxBytes: 2048,
  code: 'unauthenticated',
} as const;

/** Seconds that an assertion lives. */
export const ASSERTION_SECONDS = 60;
const SKEW_SECONDS = 5;

/** Signs an assertion for `Authorization: Bearer`. `now` in seconds; `jti` at least 128 random bits. */
export async function signNodeAssertion(
  claims: { readonly node: string; readonly fleet: string; readonly now: number; readonly jti: string },
  key: CryptoKey,
): Promise<string> {
  const iat = Math.floor(claims.now);
  const payload = {
    iss: claims.node,
    sub: claims.node,
    aud: claims.fleet,
    jti: claims.jti,
    iat,
    exp: iat + ASSERTION_SECONDS,
  };
  return await new CompactSign(new TextEncoder().encode(JSON.stringify(payload)))
    .setProtectedHeader({ alg: 'Ed25519', typ: FORM.typ })
    .sign(key);
}

/** Returns the node's name; throws `unauthenticated`. `keyOf` gives an enrolled node's public key. */
export async function verifyNodeAssertion(
  text: string,
  expected: {
    readonly fleet: string;
    readonly keyOf: (node: string) => Promise<PublicJwk | undefined>;
    readonly now: number;
  },
): Promise<string> {
  const jws = readJws(text, FORM);
  // The name is needed to find the key; nothing else is believed before the signature.
  const claims = readClaims(jws.payload);
  const jwk = await expected.keyOf(claims.iss);
  if (jwk === undefined) throw refused('The node is not enrolled');
  if (!(await verifyJws(jws, await importEd25519(jwk, 'verify'), 'Ed25519'))) throw refused('The signature is wrong');
  if (claims.sub !== claims.iss) throw refused('Issuer and subject differ');
  if (claims.aud !== expected.fleet) throw refused('The assertion is for another fleet');
  if (expected.now >= claims.exp + SKEW_SECONDS) throw refused('The assertion has expired');
  if (claims.exp > expected.now + ASSERTION_SECONDS + SKEW_SECONDS) throw refused('The assertion is from the future');
  return claims.iss;
}

function readClaims(payload: Uint8Array) {
  try {
    const object = readObject(readJsonBytes(payload, FORM.code), 'assertion');
    const iss = readString(object.iss, 'iss');
    if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(iss)) throw refused('The node name is wrong');
    if (readString(object.jti, 'jti') === '') throw refused('The assertion has no id');
    return {
      iss,
      sub: readString(object.sub, 'sub'),
      aud: readString(object.aud, 'aud'),
      exp: readNumber(object.exp, 'exp'),
    };
  } catch (cause) {
    throw cause instanceof DaypassError && cause.code === FORM.code ? cause : refused('A claim is wrong', cause);
  }
}

const refused = (message: string, cause?: unknown): DaypassError =>
  new DaypassError('unauthenticated', message, cause === undefined ? {} : { cause });
