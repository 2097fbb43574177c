// Keys that are the same in every run, so that a found token or seal is one in every run.
import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';

/** A key pair of a fixed seed. */
export type FixedKey = { readonly privateKey: KeyObject; readonly publicKey: KeyObject; readonly x: string };

// PKCS #8 (RFC 8410 §7) up to the 32 bytes of the key itself.
const HEADS = { Ed25519: '302e020100300506032b657004220420', X25519: '302e020100300506032b656e04220420' };

/** The key pair that `label` stands for. */
export const fixedKey = (kind: keyof typeof HEADS, label: string): FixedKey => {
  const seed = createHash('sha256').update(label).digest();
  const der = Buffer.concat([Buffer.from(HEADS[kind], 'hex'), seed]);
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(privateKey);
  return { privateKey, publicKey, x: publicKey.export({ format: 'jwk' }).x ?? '' };
};
