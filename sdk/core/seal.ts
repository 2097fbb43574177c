// Sealed credentials: a JWE (RFC 7516) that only a data plane of the pool can open, and that says what it is good for.
import { CompactEncrypt, compactDecrypt } from 'jose';
import { decodeBase64url } from './base64url.ts';
import { DaypassError, type ErrorCode } from './errors.ts';
import {
  type JsonObject,
  type JsonValue,
  parseStrictJsonBytes,
  readObject,
  readString,
  refuseUnknown,
} from './json.ts';
import { type CryptoKey, importX25519, isKid, type PublicJwk } from './key.ts';
import { samePlace } from './place.ts';
import { type CompiledRules, compileRules } from './rule-match.ts';
import { parseRule } from './rule-parse.ts';
import { ANY_CALLER, readPlaintext, type SealPlaintext } from './seal-plaintext.ts';
import { Secret } from './secret.ts';
import type { CredentialPlace } from './service.ts';
import { SKEW_SECONDS } from './token.ts';

export { ALL_REQUESTS, ANY_CALLER, type SealPlaintext } from './seal-plaintext.ts';
export { MAX_SEAL_IN_TOKEN } from './token-claims.ts';

/** Largest sealed credential of a service, in bytes. */
export const MAX_SEAL_IN_SNAPSHOT = 4096;

const ALG = 'ECDH-ES';
const ENC = 'A256GCM';
const TYP = 'daypass-sealed+json';
/** The plaintext is padded to a multiple of this, so that its length says little of the secret's. */
const PAD_BYTES = 64;

declare const opened: unique symbol;
/** A seal that was opened and read; only `openSeal` makes one. */
export type OpenedSeal = Omit<SealPlaintext, 'secret' | 'rules'> & {
  readonly secret: Secret;
  readonly rules: CompiledRules;
  readonly ruleTexts: readonly string[];
  readonly [opened]: true;
};

/** What a data plane is about to do with a seal. */
export type SealUse = {
  readonly fleet: string;
  readonly pool: string;
  readonly service: string;
  readonly origin: string;
  readonly place: CredentialPlace;
  /** The control-plane caller that minted the token. */
  readonly caller: string;
  /** The id under which the seal was stored, where it was. */
  readonly credentialId?: string;
};

/**
 * Seals a credential to a public X25519 key that the fleet root vouches for (`verifySignedKey` first).
 * Throws `invalid_argument` naming the member, or `invalid_rule`.
 */
export async function sealCredential(
  plaintext: SealPlaintext,
  to: { readonly kid: string; readonly jwk: PublicJwk },
  maxBytes: number = MAX_SEAL_IN_SNAPSHOT,
): Promise<string> {
  const bytes = padded(new TextEncoder().encode(JSON.stringify(checkSealable(plaintext, to.kid))));
  const jwe = await new CompactEncrypt(bytes)
    .setProtectedHeader({ alg: ALG, enc: ENC, typ: TYP, kid: to.kid })
    .encrypt(await importX25519(to.jwk, 'seal'));
  if (jwe.length > maxBytes) {
    const message = `The sealed credential would be ${jwe.length} bytes of at most ${maxBytes}`;
    throw new DaypassError('invalid_argument', message, { field: 'secret' });
  }
  return jwe;
}

/** Checks all of a seal's form that needs no key, and says which key it is sealed to. Throws `seal_malformed`. */
export function readSealKid(jwe: string, maxBytes: number = MAX_SEAL_IN_SNAPSHOT): string {
  if (jwe.length > maxBytes) throw malformed();
  const parts = jwe.split('.', 6);
  const [head, encryptedKey, iv, ciphertext, tag] = parts.map(decodePart);
  // RFC 7516 §5.2: exactly five parts, with no encrypted key for direct key agreement (§4.6 of RFC 7518).
  if (parts.length !== 5 || head === undefined || encryptedKey?.length !== 0) throw malformed();
  if (iv?.length !== 12 || tag?.length !== 16 || ciphertext === undefined) throw malformed();
  if (ciphertext.length === 0 || ciphertext.length % PAD_BYTES !== 0) throw malformed();
  return asMalformed(() => readHeader(parseStrictJsonBytes(head)));
}

/** Opens a seal with one of the pool's private keys. Throws `seal_malformed` or `seal_key_unknown`, and says no more. */
export async function openSeal(jwe: string, keys: ReadonlyMap<string, CryptoKey>): Promise<OpenedSeal> {
  const kid = readSealKid(jwe);
  const key = keys.get(kid);
  if (key === undefined)
    throw new DaypassError('seal_key_unknown', 'The credential is sealed to a key that this data plane does not hold');
  const bytes = await decrypt(jwe, key);
  return asMalformed(() => {
    const { secret, rules: ruleTexts, ...rest } = readPlaintext(parseStrictJsonBytes(bytes));
    const rules = compileRules(ruleTexts.map(parseCeiling));
    return { ...rest, ruleTexts, rules, secret: new Secret(secret) } as OpenedSeal;
  });
}

/** Checks that a seal is good for what is about to be done; throws the `seal_*_wrong` code of the first difference. */
export function bindSeal(seal: OpenedSeal, use: SealUse): void {
  if (seal.fleet !== use.fleet || seal.pool !== use.pool)
    throw refusal('seal_fleet_wrong', 'The sealed credential is for another fleet or pool');
  if (seal.service !== use.service) throw refusal('seal_service_wrong', 'The sealed credential is for another service');
  if (use.credentialId !== undefined && seal.id !== use.credentialId)
    throw refusal('seal_id_wrong', 'The sealed credential has another id');
  if (!seal.callers.includes(use.caller) && seal.callers[0] !== ANY_CALLER)
    throw refusal('seal_caller_wrong', 'The sealed credential is not for the caller that minted the token');
  if (!seal.origins.includes(use.origin))
    throw refusal('seal_origin_wrong', 'The sealed credential is for another origin');
  if (!samePlace(seal.place, use.place))
    throw refusal('seal_place_wrong', 'The sealed credential is for another place');
}

/** Checks the time of a seal against now (seconds); throws `seal_expired` or `seal_not_yet_valid`. */
export function checkSealTime(seal: Pick<OpenedSeal, 'nbf' | 'exp'>, now: number): void {
  if (!(now < seal.exp + SKEW_SECONDS)) throw refusal('seal_expired', 'The sealed credential has ended');
  if (!(now >= seal.nbf - SKEW_SECONDS)) throw refusal('seal_not_yet_valid', 'The sealed credential is not valid yet');
}

function checkSealable(plaintext: SealPlaintext, kid: string): SealPlaintext {
  if (!isKid(kid)) throw new DaypassError('invalid_argument', 'The key id is wrong', { field: 'kid' });
  try {
    const read = readPlaintext(plaintext as unknown as JsonValue);
    for (const rule of read.rules) parseCeiling(rule);
    return read;
  } catch (cause) {
    if (!(cause instanceof DaypassError) || cause.code !== 'invalid_json') throw cause;
    const field = cause.field === undefined ? {} : { field: cause.field };
    throw new DaypassError('invalid_argument', cause.message, field);
  }
}

function parseCeiling(text: string) {
  const rule = parseRule(text);
  if (rule.kind === 'scope' || rule.kind === 'op')
    throw new DaypassError('invalid_rule', `"${text}": only a rule that says all by itself can stand in a seal`, {
      field: 'rules',
    });
  return rule;
}

function readHeader(value: JsonValue): string {
  const header = readObject(value, 'header');
  // Anything else is refused: `zip`, `crit`, `apu`, `apv`, `jwk`, `jku`, `x5u`, …
  refuseUnknown(header, ['alg', 'enc', 'typ', 'kid', 'epk'], 'header');
  if (header.alg !== ALG || header.enc !== ENC || header.typ !== TYP) throw malformed();
  checkEphemeral(readObject(header.epk, 'epk'));
  const kid = readString(header.kid, 'kid');
  if (!isKid(kid)) throw malformed();
  return kid;
}

function checkEphemeral(epk: JsonObject): void {
  refuseUnknown(epk, ['kty', 'crv', 'x'], 'epk');
  if (epk.kty !== 'OKP' || epk.crv !== 'X25519') throw malformed();
  if (decodeBase64url(readString(epk.x, 'epk.x')).length !== 32) throw malformed();
}

async function decrypt(jwe: string, key: CryptoKey): Promise<Uint8Array> {
  try {
    const options = { keyManagementAlgorithms: [ALG], contentEncryptionAlgorithms: [ENC] };
    return (await compactDecrypt(jwe, key, options)).plaintext;
  } catch {
    throw malformed();
  }
}

function padded(bytes: Uint8Array): Uint8Array {
  const all = new Uint8Array(Math.ceil(bytes.length / PAD_BYTES) * PAD_BYTES).fill(0x20);
  all.set(bytes);
  return all;
}

function decodePart(part: string): Uint8Array | undefined {
  try {
    return decodeBase64url(part);
  } catch {
    return undefined;
  }
}

/** Runs a reader over opened or foreign bytes: every failure is one and the same error, without a cause that could quote them. */
function asMalformed<T>(work: () => T): T {
  try {
    return work();
  } catch {
    throw malformed();
  }
}

const malformed = (): DaypassError => refusal('seal_malformed', 'The sealed credential cannot be read');
const refusal = (code: ErrorCode, message: string): DaypassError => new DaypassError(code, message);
