// Public keys that the fleet root vouches for, and raw Ed25519 signatures with a label of their purpose.
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose';
import { decodeBase64url } from './base64url.ts';
import { DaypassError } from './errors.ts';
import {
  type JsonValue,
  parseStrictJsonBytes,
  readCount,
  readNumber,
  readObject,
  readString,
  refuseUnknown,
} from './json.ts';

export type { CryptoKey } from 'jose';

/** What a key is for. A key is good for nothing else. */
export type KeyUse = 'seal' | 'snapshot';

/** A public OKP key (RFC 8037 §2). */
export type PublicJwk = {
  readonly kty: 'OKP';
  readonly crv: 'Ed25519' | 'X25519';
  /** 32 bytes, base64url. */
  readonly x: string;
  readonly kid?: string;
};

/** A private OKP key (RFC 8037 §2). */
export type PrivateJwk = PublicJwk & { readonly d: string };

/** A fresh key pair; `kid` is the RFC 7638 thumbprint and stands in both halves. */
export type GeneratedKey = { readonly kid: string; readonly publicJwk: PublicJwk; readonly privateJwk: PrivateJwk };

/** What the fleet root says of a key. */
export type KeyStatement = {
  readonly v: 1;
  readonly fleet: string;
  readonly pool: string;
  readonly use: KeyUse;
  readonly kid: string;
  readonly jwk: PublicJwk;
  /** Seconds since the epoch. */
  readonly not_after: number;
  /** Of snapshot keys only; absent: 0. Who has trusted one generation trusts no lower one again. */
  readonly generation?: number;
};

/** A statement's exact bytes and the root's signature over them. */
export type SignedKeyBytes = { readonly statement: Uint8Array; readonly signature: Uint8Array };

declare const verified: unique symbol;
/** A key that chains to the fleet root; only `verifySignedKey` and `verifyKeyChain` make one. */
export type VerifiedKey = KeyStatement & { readonly [verified]: true };

/** Domain-separation labels: a signature for one purpose is no signature for another. */
export const KEY_LABEL = 'daypass-key-v1';
export const MANIFEST_LABEL = 'daypass-manifest-v1';
export const AUDIT_LABEL = 'daypass-audit-v1';

const MAX_STATEMENT_BYTES = 2048;

/** Signs a key statement with the fleet root. */
export async function signKeyStatement(statement: KeyStatement, rootPrivate: CryptoKey): Promise<SignedKeyBytes> {
  const { v, fleet, pool, use, kid, jwk, not_after, generation } = statement;
  const publicJwk = { kty: jwk.kty, crv: jwk.crv, x: jwk.x };
  const text = JSON.stringify({ v, fleet, pool, use, kid, jwk: publicJwk, not_after, ...generationOf(generation) });
  const bytes = new TextEncoder().encode(text);
  readStatement(bytes);
  return { statement: bytes, signature: await signBytes(rootPrivate, KEY_LABEL, bytes) };
}

/** Checks that the root signed the bytes and reads them; says nothing of use, pool or time. Throws `key_untrusted`. */
export async function verifyKeyChain(signed: SignedKeyBytes, root: CryptoKey | PublicJwk): Promise<VerifiedKey> {
  if (signed.statement.length > MAX_STATEMENT_BYTES) throw untrusted('The key statement is too large');
  const rootKey = 'kty' in root ? await importEd25519(root, 'verify') : root;
  const good = await verifyBytes(rootKey, KEY_LABEL, signed.statement, signed.signature);
  if (!good) throw untrusted('The key is not signed by the fleet root');
  try {
    return readStatement(signed.statement) as VerifiedKey;
  } catch (cause) {
    throw untrusted('The key statement cannot be read', cause);
  }
}

/** Checks that a key chains to the root, for this fleet, pool and use, at this time (seconds). Throws `key_untrusted`. */
export async function verifySignedKey(
  signed: SignedKeyBytes,
  expected: {
    readonly root: CryptoKey | PublicJwk;
    readonly fleet: string;
    readonly use: KeyUse;
    readonly pool: string;
    readonly now: number;
  },
): Promise<VerifiedKey> {
  const key = await verifyKeyChain(signed, expected.root);
  if (key.fleet !== expected.fleet) throw untrusted('The key is of another fleet');
  if (key.pool !== expected.pool) throw untrusted('The key is of another pool');
  if (key.use !== expected.use) throw untrusted(`The key is not for the use "${expected.use}"`);
  if (!(expected.now < key.not_after)) throw untrusted('The key has ended');
  return key;
}

/** RFC 7638 thumbprint (SHA-256, base64url). */
export function fingerprint(jwk: PublicJwk): Promise<string> {
  return calculateJwkThumbprint({ kty: jwk.kty, crv: jwk.crv, x: jwk.x }, 'sha256');
}

/** A fresh Ed25519 key pair. */
export const generateSigningKey = (): Promise<GeneratedKey> => generate('Ed25519', 'Ed25519');

/** A fresh X25519 key pair. */
export const generateSealingKey = (): Promise<GeneratedKey> => generate('ECDH-ES', 'X25519');

/** Imports an Ed25519 JWK for one use; the key cannot be exported again. Throws `invalid_argument`. */
export async function importEd25519(jwk: PublicJwk | PrivateJwk, use: 'sign' | 'verify'): Promise<CryptoKey> {
  const parts = exactJwk(jwk, 'Ed25519', use === 'sign');
  return imported(() => crypto.subtle.importKey('jwk', parts, 'Ed25519', false, [use]));
}

/** Imports an X25519 JWK, to seal to (public) or to open with (private). Throws `invalid_argument`. */
export async function importX25519(jwk: PublicJwk | PrivateJwk, use: 'seal' | 'open'): Promise<CryptoKey> {
  const parts = exactJwk(jwk, 'X25519', use === 'open');
  return imported(() => crypto.subtle.importKey('jwk', parts, 'X25519', false, use === 'open' ? ['deriveBits'] : []));
}

/** Reads a public key of a curve out of parsed JSON; `d` is refused. Throws `invalid_json`. */
export function readPublicJwk(value: JsonValue | undefined, crv: 'Ed25519' | 'X25519', where: string): PublicJwk {
  const object = readObject(value, where);
  refuseUnknown(object, ['kty', 'crv', 'x', 'kid'], where);
  const x = readString(object.x, `${where}.x`);
  if (
    readString(object.kty, `${where}.kty`) !== 'OKP' ||
    readString(object.crv, `${where}.crv`) !== crv ||
    !is32Bytes(x)
  )
    throw new DaypassError('invalid_json', `"${where}" is not a public ${crv} key`, { field: where });
  if (object.kid === undefined) return { kty: 'OKP', crv, x };
  return { kty: 'OKP', crv, x, kid: readString(object.kid, `${where}.kid`) };
}

/** The label, a zero byte and the bytes: what is really signed. */
export function domainSeparated(label: string, bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const head = new TextEncoder().encode(label);
  const all = new Uint8Array(head.length + 1 + bytes.length);
  all.set(head);
  all.set(bytes, head.length + 1);
  return all;
}

/** Ed25519 signature (64 bytes) over the domain-separated bytes. */
export async function signBytes(key: CryptoKey, label: string, bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.sign('Ed25519', key, domainSeparated(label, bytes)));
}

/** Whether the signature is this key's over the domain-separated bytes. A key that cannot verify says false. */
export async function verifyBytes(
  key: CryptoKey,
  label: string,
  bytes: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  if (signature.length !== 64 || key.algorithm.name !== 'Ed25519' || !key.usages.includes('verify')) return false;
  return await crypto.subtle.verify('Ed25519', key, new Uint8Array(signature), domainSeparated(label, bytes));
}

async function generate(alg: string, crv: 'Ed25519' | 'X25519'): Promise<GeneratedKey> {
  const pair = await generateKeyPair(alg, { crv, extractable: true });
  const { x, d } = await exportJWK(pair.privateKey);
  if (x === undefined || d === undefined) throw new DaypassError('internal', 'The key cannot be exported');
  const kid = await fingerprint({ kty: 'OKP', crv, x });
  const publicJwk: PublicJwk = { kty: 'OKP', crv, x, kid };
  return { kid, publicJwk, privateJwk: { ...publicJwk, d } };
}

function readStatement(bytes: Uint8Array): KeyStatement {
  const where = 'statement';
  const object = readObject(parseStrictJsonBytes(bytes), where);
  const use = readString(object.use, 'use');
  const members = ['v', 'fleet', 'pool', 'use', 'kid', 'jwk', 'not_after'];
  refuseUnknown(object, use === 'snapshot' ? [...members, 'generation'] : members, where);
  if (object.v !== 1 || (use !== 'seal' && use !== 'snapshot'))
    throw new DaypassError('invalid_json', 'The key statement has an unknown version or use');
  const statement: KeyStatement = {
    v: 1,
    fleet: readString(object.fleet, 'fleet'),
    pool: readString(object.pool, 'pool'),
    use,
    kid: readString(object.kid, 'kid'),
    jwk: readPublicJwk(object.jwk, use === 'seal' ? 'X25519' : 'Ed25519', 'jwk'),
    not_after: readNumber(object.not_after, 'not_after'),
    ...(object.generation === undefined ? {} : { generation: readCount(object.generation, 'generation') }),
  };
  if (statement.fleet === '' || statement.pool === '' || !isKid(statement.kid))
    throw new DaypassError('invalid_json', 'The key statement lacks a fleet, a pool or a key id');
  return statement;
}

/** Left out where it is 0: those who do not know of generations read the statement, too. */
const generationOf = (generation: number | undefined): { readonly generation?: number } =>
  generation === undefined || generation === 0 ? {} : { generation };

/** Whether a text can be a key id: 1 to 128 visible ASCII characters. */
export const isKid = (text: string): boolean => /^[!-~]{1,128}$/.test(text);

function exactJwk(jwk: PublicJwk | PrivateJwk, crv: 'Ed25519' | 'X25519', secret: boolean) {
  const wrong = new DaypassError('invalid_argument', `A ${secret ? 'private' : 'public'} ${crv} key is needed`);
  if (jwk.kty !== 'OKP' || jwk.crv !== crv || !is32Bytes(jwk.x)) throw wrong;
  const parts = { kty: 'OKP', crv, x: jwk.x };
  if (!secret) return parts;
  if (!('d' in jwk) || !is32Bytes(jwk.d)) throw wrong;
  return { ...parts, d: jwk.d };
}

async function imported(work: () => Promise<CryptoKey>): Promise<CryptoKey> {
  try {
    return await work();
  } catch {
    // The cause is dropped: it may quote private key material.
    throw new DaypassError('invalid_argument', 'The key cannot be used');
  }
}

function is32Bytes(text: unknown): boolean {
  if (typeof text !== 'string' || text.length !== 43) return false;
  try {
    return decodeBase64url(text).length === 32;
  } catch {
    return false;
  }
}

const untrusted = (message: string, cause?: unknown): DaypassError =>
  new DaypassError('key_untrusted', message, cause === undefined ? {} : { cause });
