// Compact JWS in canonical form only (RFC 7515 §3.1): what tokens and node assertions share.
import { type CryptoKey, compactVerify } from 'jose';
import { decodeBase64url } from './base64url.ts';
import { DaypassError, type ErrorCode } from './errors.ts';
import { type JsonValue, parseStrictJsonBytes, readObject, readString, refuseUnknown } from './json.ts';
import { isKid } from './key.ts';

/** Signature algorithms that exist here (RFC 9864 §2.2, RFC 7518 §3.4). */
export type JwsAlg = 'Ed25519' | 'ES256';

/** A JWS whose form is right; nothing is known of its signature. */
export type ReadJws = {
  readonly text: string;
  readonly alg: JwsAlg;
  /** Undefined where the form has none. */
  readonly kid: string | undefined;
  /** The key that the header holds, as it stands there; undefined where the form has none. */
  readonly jwk: JsonValue | undefined;
  /** The payload's bytes: not to be looked at before the signature. */
  readonly payload: Uint8Array;
};

/** The form that a kind of JWS must have. */
export type JwsForm = {
  readonly typ: string;
  readonly algs: readonly JwsAlg[];
  readonly hasKid: boolean;
  /** Whether the key stands in the header (RFC 7515 §4.1.3); absent: no. */
  readonly hasJwk?: boolean;
  readonly maxBytes: number;
  /** The code to refuse with. */
  readonly code: ErrorCode;
};

/** Both algorithms have signatures of 64 bytes. */
const SIGNATURE_BYTES = 64;

/** Reads a compact JWS of exactly the given form; throws `form.code`. */
export function readJws(text: string, form: JwsForm): ReadJws {
  if (text.length > form.maxBytes) throw new DaypassError(form.code, `It is longer than ${form.maxBytes} bytes`);
  const [head, body, signature, more] = text.split('.', 4);
  if (!head || !body || !signature || more !== undefined)
    throw new DaypassError(form.code, 'It does not have three parts');
  const bytes = [head, body, signature].map((part) => decodePart(part, form));
  const [headBytes, payload, signatureBytes] = bytes;
  if (!headBytes || !payload || signatureBytes?.length !== SIGNATURE_BYTES)
    throw new DaypassError(form.code, 'Its signature has a wrong length');
  return { text, payload, ...readHeader(headBytes, form) };
}

/** Whether the key made the signature. The algorithm is the one that the key is for, never the header's choice. */
export async function verifyJws(jws: ReadJws, key: CryptoKey, alg: JwsAlg): Promise<boolean> {
  if (jws.alg !== alg) return false;
  try {
    await compactVerify(jws.text, key, { algorithms: [alg] });
    return true;
  } catch {
    return false;
  }
}

/** UTF-8 JSON bytes → a value, by the strict rules; throws `code`. */
export function readJsonBytes(bytes: Uint8Array, code: ErrorCode): JsonValue {
  try {
    return parseStrictJsonBytes(bytes);
  } catch (cause) {
    throw new DaypassError(code, 'It does not hold strict JSON', { cause });
  }
}

function decodePart(part: string, form: JwsForm): Uint8Array {
  try {
    return decodeBase64url(part);
  } catch (cause) {
    throw new DaypassError(form.code, 'It is not canonical base64url', { cause });
  }
}

function readHeader(bytes: Uint8Array, form: JwsForm): Pick<ReadJws, 'alg' | 'kid' | 'jwk'> {
  try {
    const header = readObject(readJsonBytes(bytes, form.code), 'header');
    // Every other member is refused: `crit`, `jwk`, `jku`, `x5u`, `x5c`, `zip`, `b64`, … (RFC 8725 §3.10).
    const members = ['alg', 'typ', ...(form.hasKid ? ['kid'] : []), ...(form.hasJwk === true ? ['jwk'] : [])];
    refuseUnknown(header, members, 'header');
    const alg = readString(header.alg, 'alg');
    const known = form.algs.find((one) => one === alg);
    if (known === undefined) throw new DaypassError(form.code, 'Its algorithm is not accepted');
    // RFC 8725 §3.11: one kind of JWT is not taken for another.
    if (readString(header.typ, 'typ') !== form.typ) throw new DaypassError(form.code, 'It is another kind of JWS');
    return { alg: known, kid: form.hasKid ? readKid(readString(header.kid, 'kid'), form) : undefined, jwk: header.jwk };
  } catch (cause) {
    if (cause instanceof DaypassError && cause.code === form.code) throw cause;
    throw new DaypassError(form.code, 'Its header is wrong', { cause });
  }
}

function readKid(kid: string, form: JwsForm): string {
  if (!isKid(kid)) throw new DaypassError(form.code, 'Its key id is not 1 to 128 visible characters');
  return kid;
}
