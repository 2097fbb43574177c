// Applies the mutation of a sealed-credential case: the token is signed by the issuer, the seal in it is not what it was.
import { deflateRawSync } from 'node:zlib';
import type { Op } from './cases.ts';
import { flipped, type SealParts, sealByHand, withHeader } from './forged-seal.ts';
import { type Draft, signedByIssuer, unescaped, withClaims } from './token-mutation.ts';
import { recipient, type World } from './token-world.ts';

/** The tokens that carry the mutated seals. */
export function mutateSeal(draft: Draft, op: Op, world: World): readonly Draft[] {
  if (op.op === 'swap_jwe_between_backends') return swapped(draft, world);
  const seals = op.op === 'seal' ? badSecrets(String(op.value), world) : forms(op, world);
  return Object.entries(seals).map(([label, credential]) =>
    signedByIssuer(withClaims({ ...draft, label }, { credential })),
  );
}

/** The secrets that no credential may be: they would end the header field and begin another. */
export const BAD_SECRETS = (value: string): readonly string[] => [
  unescaped(value),
  'abc\0def',
  'schlüssel',
  'a\u2028b',
  'a\tb',
];

type Seals = Readonly<Record<string, string>>;

const badSecrets = (value: string, { seal }: World): Seals =>
  Object.fromEntries(BAD_SECRETS(value).map((secret) => [JSON.stringify(secret), seal('api', secret).join('.')]));

// One for A in a token for B, and one for B in a token for A.
const swapped = (draft: Draft, { seal }: World): readonly Draft[] => [
  signedByIssuer(
    withClaims(
      { ...draft, label: 'A in B', service: 'other' },
      { service: 'other', credential: seal('api', 'A').join('.') },
    ),
  ),
  signedByIssuer(withClaims({ ...draft, label: 'B in A' }, { credential: seal('other', 'B').join('.') })),
];

function forms(op: Op, world: World): Seals {
  const good = world.seal('api', 'OWN-SECRET');
  if (op.flip !== undefined) return flips(good, String(op.flip), Number(op.times ?? 1));
  if (Array.isArray(op.truncate_tag)) return truncated(good, op.truncate_tag as readonly number[]);
  if (op.swap === 'encrypted_key') return otherKeys(good, world);
  if (typeof op.header === 'object' && op.header !== null) return otherHeaders(good, op.header, world);
  if (op.epk !== undefined) return otherPoints(good);
  if (op.zip === 'bomb') return bombs();
  if (op.json === true) return jsonForms(good);
  throw new Error(`the mutation ${JSON.stringify(op)} of a seal is not known`);
}

const PARTS = ['header', 'encrypted_key', 'iv', 'ciphertext', 'tag'];

// Another bit each time, so that what is remembered of one says nothing of the next.
function flips(seal: SealParts, part: string, times: number): Seals {
  const at = PARTS.indexOf(part);
  const bits = (seal[at] ?? '').length * 6 - 8;
  return Object.fromEntries(
    Array.from({ length: times }, (_, time) => {
      // A tag has but 128 bits: what is left of a thousand is spread over the ciphertext, too.
      const alsoText = seal.with(
        3,
        time < bits ? (seal[3] ?? '') : flipped(seal[3] ?? '', time % 512),
      ) as unknown as SealParts;
      return [`${part} ${time}`, alsoText.with(at, flipped(alsoText[at] ?? '', time % bits)).join('.')];
    }),
  );
}

const truncated = (seal: SealParts, sizes: readonly number[]): Seals =>
  Object.fromEntries(
    sizes.map((size) => [
      `${size} bytes`,
      seal.with(4, Buffer.from(seal[4], 'base64url').subarray(0, size).toString('base64url')).join('.'),
    ]),
  );

// Direct agreement has no encrypted key (RFC 7518 §4.6): what stands for it is the ephemeral key in the header.
function otherKeys(seal: SealParts, world: World): Seals {
  const [header] = world.seal('api', 'ANOTHER-SECRET');
  return {
    'a key where none is': seal.with(1, 'AAAA').join('.'),
    'a whole key where none is': seal.with(1, Buffer.alloc(40).toString('base64url')).join('.'),
    'the ephemeral key of another': seal.with(0, header).join('.'),
  };
}

const otherHeaders = (seal: SealParts, change: object, world: World): Seals => ({
  'on a seal of before': withHeader(seal, change).join('.'),
  // Encrypted under that very header, so that its text is the only thing wrong.
  'encrypted with it': world.seal('api', 'OWN-SECRET', change).join('.'),
});

function otherPoints(seal: SealParts): Seals {
  const point = (hex: string) => ({ kty: 'OKP', crv: 'X25519', x: Buffer.from(hex, 'hex').toString('base64url') });
  const x = 'A'.repeat(43);
  const points: Readonly<Record<string, object>> = {
    'another curve': { kty: 'EC', crv: 'P-256', x, y: x },
    'a missing coordinate': { kty: 'EC', crv: 'P-256', x },
    'no x': { kty: 'OKP', crv: 'X25519' },
    'a private member': { kty: 'OKP', crv: 'X25519', x, d: x },
    'order 1': point('00'.repeat(32)),
    'order 4': point(`01${'00'.repeat(31)}`),
    'order 8': point('e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800'),
    'not reduced': point(`ed${'ff'.repeat(30)}7f`),
  };
  return Object.fromEntries(Object.entries(points).map(([label, epk]) => [label, withHeader(seal, { epk }).join('.')]));
}

/** What a seal in a token may hold inflates to a megabyte. */
const bombs = (): Seals => ({
  zip: sealByHand(deflateRawSync(Buffer.alloc(900_000), { level: 9 }), recipient, { zip: 'DEF' }).join('.'),
});

function jsonForms([protectedHeader, encrypted_key, iv, ciphertext, tag]: SealParts): Seals {
  const recipients = [{ encrypted_key }, { encrypted_key }];
  return {
    general: JSON.stringify({ protected: protectedHeader, recipients, iv, ciphertext, tag }),
    flattened: JSON.stringify({ protected: protectedHeader, iv, ciphertext, tag }),
  };
}
