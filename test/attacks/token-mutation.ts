// Applies the mutation of a token case: from a freshly minted good token to the texts that an attacker presents.
import { createHmac, createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { importEd25519, type PrivateJwk } from '@daypass/core/key';
import { encodeManifest, signManifest } from '@daypass/core/snapshot';
import { FLEET, ISSUER, POOL, snapshotKey, tokenKey } from '../data-plane/fixture.ts';
import type { Case, Op } from './cases.ts';
import { mutateSeal } from './seal-mutation.ts';
import { attackerKey, ecdsaKey, type World } from './token-world.ts';

/** A token on its way to being a forgery; one case may make several. */
export type Draft = {
  readonly label: string;
  readonly header: string;
  readonly payload: string;
  readonly signature: string;
  /** Presented instead of the three parts. */
  readonly whole?: string;
  /** As the password of Basic, where a blank at the end is not the HTTP parser's to take away. */
  readonly inBasic?: boolean;
  /** Why this one is no forgery here: it has to be let through. */
  readonly isGoodBecause?: string;
  /** Presented once while good, then again after it has ended. */
  readonly isPrimed?: boolean;
  /** The backend that it is for; A if left out. */
  readonly service?: 'other';
};

/** The text that is presented. */
export const textOf = ({ whole, header, payload, signature }: Draft): string =>
  whole ?? `${header}.${payload}.${signature}`;

/** All tokens that the case stands for. Throws for an operation that is not known, so that none is passed over. */
export async function mutate({ mutation = [], ...attack }: Case, world: World): Promise<readonly Draft[]> {
  let drafts: readonly Draft[] = [
    await freshDraft(world, 'applies_to' in attack && attack.applies_to === 'ECDSA keys'),
  ];
  for (const op of mutation) {
    const apply = OPS[op.op];
    if (apply === undefined) throw new Error(`the operation ${op.op} is not known`);
    drafts = (await Promise.all(drafts.map((draft) => apply(draft, op, world)))).flat();
  }
  return drafts;
}

/** Signs a payload as the issuer does. */
export const signedByIssuer = (draft: Draft): Draft => signedWith(draft, tokenKey.privateJwk);

/** The draft with claims changed; its signature is that of before. */
export const withClaims = (draft: Draft, change: object): Draft => ({
  ...draft,
  payload: segment({ ...objectOf(draft.payload), ...change }),
});

async function freshDraft({ data }: World, isEcdsa: boolean): Promise<Draft> {
  const [header = '', payload = '', signature = ''] = (await data.mint()).split('.');
  const draft = { label: '', header, payload, signature };
  return isEcdsa ? signedWithEcdsa(named(draft, 'alg', 'ES256', 'kid', ecdsaKey.kid), 'ieee-p1363') : draft;
}

const named = (draft: Draft, ...members: readonly string[]): Draft => {
  const header = objectOf(draft.header);
  for (let at = 0; at + 1 < members.length; at += 2) header[members[at] ?? ''] = members[at + 1];
  return { ...draft, header: segment(header) };
};

type Apply = (draft: Draft, op: Op, world: World) => readonly Draft[] | Promise<readonly Draft[]>;

const OPS: Readonly<Record<string, Apply>> = {
  'header.set': (draft, { key, value }, world) => spellings(value, world).map((one) => set(draft, 'header', key, one)),
  'header.set_each': (draft, { key, values }, world) =>
    list(values).map((value) => {
      const made = set(draft, 'header', key, filled(value, world));
      // `at+jwt` is listed among the types of other kinds; by RFC 9068, and here, it is the type of a token.
      return key === 'typ' && value === 'at+jwt' ? { ...made, isGoodBecause: 'it is our own typ' } : made;
    }),
  'header.delete': (draft, { key }) => [without(draft, 'header', key)],
  'header.raw_json': (draft, { values }, world) =>
    list(values).flatMap((value) => {
      const text = String(filled(value, world));
      // Once as it is, and once in our own terms, so that the member that stands twice is all that is wrong.
      const ours = text.replaceAll('EdDSA', 'Ed25519').replace('{', '{"typ":"at+jwt",');
      return [text, ours].map((one) => ({ ...draft, label: one, header: encoded(one) }));
    }),
  'header.embed_attacker_jwk': (draft) => [set(draft, 'header', 'jwk', attackerKey.publicJwk)],
  'payload.set': (draft, { key, value }, world) => [set(draft, 'payload', claimName(key), filled(value, world))],
  'payload.set_each': (draft, { key, values }, world) =>
    list(values).map((value) => set(draft, 'payload', claimName(key), filled(value, world))),
  'payload.delete': (draft, { key }) => [without(draft, 'payload', claimName(key))],
  'payload.raw_json_each': (draft, { values }) =>
    list(values).map((value) => ({ ...draft, label: `payload ${value}`, payload: encoded(String(value)) })),
  'payload.fill_scopes': (draft, { n }) => [
    set(
      draft,
      'payload',
      'allowed',
      Array.from({ length: Number(n) }, (_, at) => `GET /${at}`),
    ),
  ],
  'signature.set': (draft, { value }) => [{ ...draft, signature: String(value) }],
  'signature.flip_bits': (draft, { positions }) =>
    list(positions).map((bit) => withSignature(draft, `bit ${bit}`, (bytes) => flip(bytes, Number(bit)))),
  'signature.noncanonical_tail': (draft) => nonCanonicalTails(draft),
  'signature.add_L': (draft) => [withSignature(draft, 'S + L', addOrder)],
  'signature.der': (draft) => [signedWithEcdsa(draft, 'der')],
  'raw.append_each_segment': (draft, { value }) => [
    ...(['header', 'payload', 'signature'] as const).map((part) => ({
      ...draft,
      label: `${part}${value}`,
      [part]: `${draft[part]}${value}`,
    })),
  ],
  'raw.each': (draft, { values }) => list(values).map((value) => surgery(draft, String(value))),
  sign: (draft, op) => signed(draft, op),
  present: (draft, { what }, world) => artefacts(draft, String(what), world),
  jwe: (draft, op, world) => mutateSeal(draft, op, world),
  seal: (draft, op, world) => mutateSeal(draft, op, world),
  swap_jwe_between_backends: (draft, op, world) => mutateSeal(draft, op, world),
  'cache.prime_then_expire': (draft) => [{ ...draft, isPrimed: true }],
};

/** What the cases call `scopes` is the claim `allowed` here. */
const claimName = (key: unknown): string => (key === 'scopes' ? 'allowed' : String(key));

// The cases call our algorithm by its older name: each value is tried in both.
function spellings(value: unknown, world: World): readonly unknown[] {
  const given = filled(value, world);
  const ours: unknown = JSON.parse(JSON.stringify(given).replaceAll('EdDSA', 'Ed25519'));
  return JSON.stringify(ours) === JSON.stringify(given) ? [given] : [given, ours];
}

function filled(value: unknown, { data, canary }: World): unknown {
  if (typeof value !== 'string')
    return Array.isArray(value) ? value.map((one) => filled(one, { data, canary } as World)) : value;
  const names: Readonly<Record<string, string | number>> = {
    NOW: Math.trunc(data.clock.nowMs / 1000),
    LEEWAY: 5,
    // The fixture's services let a token live a day.
    MAX_TTL: 86_400,
    KID: tokenKey.kid,
    ISS_A: ISSUER,
    ISS_A_UPPER: ISSUER.toUpperCase(),
    AUD: FLEET,
    CANARY_PORT: canary.port,
  };
  const text = value.replaceAll(/\{\{(\w+)\}\}/g, (whole, name: string) => String(names[name] ?? whole));
  if (text.includes('{{')) throw new Error(`the placeholder in ${value} is not known`);
  // A time is a sum: `{{NOW}}-{{LEEWAY}}-1`.
  if (!value.includes('{{NOW}}')) return text;
  return [...text.matchAll(/[+-]?\d+/g)].reduce((sum, [number]) => sum + Number(number), 0);
}

function set(draft: Draft, part: 'header' | 'payload', key: unknown, value: unknown): Draft {
  const object = objectOf(draft[part]);
  // By definition, not assignment: `__proto__` is to become a member.
  Object.defineProperty(object, String(key), { value, enumerable: true, configurable: true, writable: true });
  return {
    ...draft,
    label: `${draft.label} ${key} ${JSON.stringify(value)}`.trim().slice(0, 80),
    [part]: segment(object),
  };
}

function without(draft: Draft, part: 'header' | 'payload', key: unknown): Draft {
  const object = objectOf(draft[part]);
  delete object[String(key)];
  return { ...draft, label: `without ${key}`, [part]: segment(object) };
}

function surgery(draft: Draft, pattern: string): Draft {
  const { header, payload, signature } = draft;
  const parts: Readonly<Record<string, string>> = { h: header, p: payload, s: signature, t: textOf(draft) };
  const whole = pattern.replaceAll(/\{(\w)\}/g, (all, name: string) => parts[name] ?? all);
  // RFC 9110 §5.5: a blank at the end of a field is no part of its value, so only another place can keep it.
  return { ...draft, label: pattern, whole, inBasic: pattern.endsWith(' ') };
}

// RFC 4648 §3.5: 64 bytes leave four bits of the last character unused.
function nonCanonicalTails(draft: Draft): readonly Draft[] {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const last = alphabet.indexOf(draft.signature.at(-1) ?? '');
  return Array.from({ length: 15 }, (_, at) => {
    const letter = alphabet[(last & 0b110000) | (((last & 15) + at + 1) & 15)] ?? '';
    return { ...draft, label: `tail ${letter}`, signature: draft.signature.slice(0, -1) + letter };
  });
}

const withSignature = (draft: Draft, label: string, change: (bytes: Buffer) => Buffer): Draft => ({
  ...draft,
  label,
  signature: change(Buffer.from(draft.signature, 'base64url')).toString('base64url'),
});

function flip(bytes: Buffer, bit: number): Buffer {
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return bytes;
}

// RFC 8032 §5.1.7: the same signature to a verifier that does not check S < L.
function addOrder(bytes: Buffer): Buffer {
  let s = 2n ** 252n + 27742317777372353535851937790883648493n;
  for (let at = 63, scale = 2n ** 248n; at >= 32; at -= 1, scale >>= 8n) s += BigInt(bytes[at] ?? 0) * scale;
  for (let at = 32; at < 64; at += 1, s >>= 8n) bytes[at] = Number(s & 255n);
  return bytes;
}

function signed(draft: Draft, op: Op): readonly Draft[] {
  switch (op.with_) {
    case 'issuer':
      return [signedByIssuer(draft)];
    case 'attacker_same_alg':
      return [signedWith(draft, attackerKey.privateJwk)];
    // The kid is that of the issuer's token key, as `keep_kid` says.
    case 'snapshot_key':
      return [signedWith(draft, snapshotKey.privateJwk)];
    // A second key of one id has no place in a snapshot, so that the other issuer can only claim the id.
    case 'issuer_B_same_kid':
      return [draft, withClaims(draft, { iss: 'https://other.example' })].map((one) =>
        signedWith(one, attackerKey.privateJwk),
      );
    case 'hmac':
      return secretsOf(op).map((secret) => signedByHmac(draft, secret));
    default:
      throw new Error(`the signer ${op.with_} is not known`);
  }
}

function signedWith(draft: Draft, jwk: PrivateJwk): Draft {
  const key = createPrivateKey({ key: { ...jwk }, format: 'jwk' });
  return { ...draft, signature: sign(null, inputOf(draft), key).toString('base64url') };
}

function signedWithEcdsa(draft: Draft, dsaEncoding: 'der' | 'ieee-p1363'): Draft {
  const { privateKey: key } = ecdsaKey;
  return { ...draft, signature: sign('sha256', inputOf(draft), { key, dsaEncoding }).toString('base64url') };
}

function signedByHmac(draft: Draft, secret: string | Buffer): Draft {
  const hash = String(objectOf(draft.header).alg).replace('HS', 'sha');
  const digest = createHmac(hash.startsWith('sha') ? hash : 'sha256', secret)
    .update(inputOf(draft))
    .digest();
  return { ...draft, signature: digest.toString('base64url') };
}

function secretsOf({ secret, secret_literal: literal }: Op): readonly (string | Buffer)[] {
  // A literal is tried as it stands and with its escapes read.
  if (typeof literal === 'string') return [...new Set([literal, unescaped(literal)])];
  const key = createPublicKey({ key: { ...tokenKey.publicJwk }, format: 'jwk' });
  switch (secret) {
    case 'issuer_public_der':
      return [key.export({ format: 'der', type: 'spki' })];
    case 'issuer_public_pem':
      return [key.export({ format: 'pem', type: 'spki' })];
    case 'issuer_public_raw_bytes':
      return [Buffer.from(tokenKey.publicJwk.x, 'base64url')];
    default:
      throw new Error(`the secret ${secret} is not known`);
  }
}

/** A text with `\r`, `\n` and `\uXXXX` read. */
export const unescaped = (text: string): string =>
  text
    .replaceAll('\\r', '\r')
    .replaceAll('\\n', '\n')
    .replaceAll(/\\u([0-9a-fA-F]{4})/g, (_escape, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));

async function artefacts(draft: Draft, what: string, { seal, data }: World): Promise<readonly Draft[]> {
  const shown = (label: string, whole: string): Draft => ({ ...draft, label, whole });
  switch (what) {
    case 'signed_snapshot_or_manifest': {
      const now = Math.trunc(data.clock.nowMs / 1000);
      const about = { v: 1 as const, fleet: FLEET, pool: POOL, version: 1, previous: '', features: [] };
      const manifest = encodeManifest({ ...about, issued_at: now, expires_at: now + 900, root: '0'.repeat(64) });
      const signature = await signManifest(manifest, await importEd25519(snapshotKey.privateJwk, 'sign'));
      const [body, mac] = [Buffer.from(manifest).toString('base64url'), Buffer.from(signature).toString('base64url')];
      return [
        shown('the manifest', Buffer.from(manifest).toString('latin1')),
        shown('as a payload', `${draft.header}.${body}.${mac}`),
        shown('with a dot', `${body}.${mac}`),
      ];
    }
    case 'control_plane_credential':
      return [shown('an API key', `dpk_${'A'.repeat(43)}`)];
    case 'jwe_compact':
      // The other way round, a token for a credential, is among the seals.
      return [shown('a seal', seal('api', 'OWN-SECRET').join('.'))];
    default:
      throw new Error(`the artefact ${what} is not known`);
  }
}

const inputOf = ({ header, payload }: Draft): Buffer => Buffer.from(`${header}.${payload}`);
const encoded = (text: string): string => Buffer.from(text).toString('base64url');
const segment = (value: unknown): string => encoded(JSON.stringify(value));
const objectOf = (part: string): Record<string, unknown> =>
  JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>;
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
