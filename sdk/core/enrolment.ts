// The token by which a data plane enrols once, and the proof that it holds the key that it enrols with.
import { decodeBase64url, encodeBase64url } from './base64url.ts';
import { DaypassError } from './errors.ts';
import { type CryptoKey, importEd25519, type PublicJwk, signBytes, verifyBytes } from './key.ts';

const SECRET_BYTES = 32;
// Both halves are 32 bytes: 43 characters, the last of which carries 4 bits.
const FORM = /^dpe_([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])_([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])$/;

/** Domain-separation label of the proof. */
export const ENROL_LABEL = 'daypass-enrol-v1';

/**
 * The enrolment token made of 32 random bytes and the RFC 7638 thumbprint of the fleet root: whoever holds it needs nothing
 * else to know the fleet that it is for.
 * @throws DaypassError `invalid_argument` for any other number of bytes, or for what is no thumbprint
 */
export const formatEnrolmentToken = (random: Uint8Array, rootFingerprint: string): string => {
  const token = `dpe_${encodeBase64url(random)}_${rootFingerprint}`;
  if (random.length === SECRET_BYTES && FORM.test(token)) return token;
  throw new DaypassError('invalid_argument', 'an enrolment token is made of 32 bytes and a thumbprint');
};

/** Whether `text` has the form of an enrolment token, in its one canonical spelling. */
export const isEnrolmentToken = (text: string): boolean => FORM.test(text);

/** The thumbprint of the fleet root that a token is for. @throws DaypassError `invalid_argument` */
export const rootOfEnrolmentToken = (token: string): string => {
  const [, , root] = FORM.exec(token) ?? [];
  if (root === undefined) throw new DaypassError('invalid_argument', 'is not an enrolment token', { field: 'token' });
  return root;
};

/** What a node says of itself when it enrols. */
export type EnrolmentClaim = {
  /** Hex sha256 of the token. It holds the fleet root's thumbprint, so that the proof is for this fleet alone. */
  readonly tokenHash: string;
  /** As it is asked for; empty: the one that the token is for. */
  readonly name: string;
  readonly jwk: PublicJwk;
};

/** Signs the claim with the key that it names: 64 bytes. */
export const signEnrolment = (claim: EnrolmentClaim, key: CryptoKey): Promise<Uint8Array> =>
  signBytes(key, ENROL_LABEL, statementOf(claim));

/** Whether the holder of the key that the claim names made the proof. @throws DaypassError `invalid_argument` for a key that is none */
export const verifyEnrolment = async (claim: EnrolmentClaim, proof: Uint8Array): Promise<boolean> =>
  verifyBytes(await importEd25519(claim.jwk, 'verify'), ENROL_LABEL, statementOf(claim), proof);

const statementOf = ({ tokenHash, name, jwk }: EnrolmentClaim): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ v: 1, token: tokenHash, name, key: jwk.x }));

/** A thumbprint as a person may give it: with or without `SHA-256` before it. Undefined for anything else. */
export const parseFingerprint = (text: string): string | undefined => {
  const [, found] = /^(?:SHA-256\s+)?([A-Za-z0-9_-]{43})$/.exec(text.trim()) ?? [];
  return found !== undefined && isCanonical(found) ? found : undefined;
};

const isCanonical = (text: string): boolean => {
  try {
    return decodeBase64url(text).length === SECRET_BYTES;
  } catch {
    return false;
  }
};
