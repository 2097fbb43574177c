// Sealed credentials as an attacker writes them who knows the pool's public key: any header, any plaintext, any part.
import {
  createCipheriv,
  createHash,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  randomBytes,
} from 'node:crypto';
import type { PublicJwk } from '@daypass/core/key';

/** Whom it is sealed to. */
export type Recipient = { readonly kid: string; readonly jwk: PublicJwk };

/** The five parts of a compact JWE (RFC 7516 §7.1). */
export type SealParts = readonly [header: string, key: string, iv: string, ciphertext: string, tag: string];

/** Encrypts bytes under a header with these changes: ECDH-ES on X25519 and A256GCM (RFC 7518 §4.6, §5.3), by hand. */
export function sealByHand(bytes: Uint8Array, to: Recipient, change: object = {}): SealParts {
  const { publicKey, privateKey } = generateKeyPairSync('x25519');
  const { x } = publicKey.export({ format: 'jwk' });
  const epk = { kty: 'OKP', crv: 'X25519', x };
  const header = segmentOf({ alg: 'ECDH-ES', enc: 'A256GCM', typ: 'daypass-sealed+json', kid: to.kid, epk, ...change });
  const shared = diffieHellman({ privateKey, publicKey: createPublicKey({ key: { ...to.jwk }, format: 'jwk' }) });
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', concatKdf(shared), iv).setAAD(Buffer.from(header));
  const ciphertext = Buffer.concat([cipher.update(bytes), cipher.final()]);
  return [
    header,
    '',
    iv.toString('base64url'),
    ciphertext.toString('base64url'),
    cipher.getAuthTag().toString('base64url'),
  ];
}

/** JSON text in UTF-8, with blanks up to a multiple of 64 bytes, as the design pads it. */
export function padded(value: unknown): Buffer {
  const text = Buffer.from(JSON.stringify(value));
  return Buffer.concat([text, Buffer.alloc((64 - (text.length % 64)) % 64, ' ')]);
}

/** A part with one bit flipped. */
export function flipped(part: string, bit = 0): string {
  const bytes = Buffer.from(part, 'base64url');
  bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return bytes.toString('base64url');
}

/** The header of a seal, changed; its tag no longer fits, as for anyone without the sender's ephemeral key. */
export function withHeader([header, ...rest]: SealParts, change: object): SealParts {
  return [segmentOf({ ...(JSON.parse(Buffer.from(header, 'base64url').toString()) as object), ...change }), ...rest];
}

const segmentOf = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

// RFC 7518 §4.6.2, one round: AlgorithmID is `enc`, no party information, 256 bits.
function concatKdf(shared: Buffer): Buffer {
  const number = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  const id = Buffer.from('A256GCM');
  return createHash('sha256')
    .update(Buffer.concat([number(1), shared, number(id.length), id, number(0), number(0), number(256)]))
    .digest();
}
