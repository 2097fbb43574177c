// Texts that clients choose as 128-bit keys of a shared table: under a secret, so that nobody can aim two at one slot.
import { hash } from 'node:crypto';

/** Fills `key` (four words) with the hash of a text. */
export type KeyOf = (text: string, key: Int32Array) => void;

/** Returns hashes under a secret, the same for all threads that have it. */
export function createKeyOf(secret: Uint8Array): KeyOf {
  const prefix = Buffer.from(secret).toString('base64url');
  return (text, key) => {
    const digest = hash('sha256', `${prefix} ${text}`, 'buffer');
    for (let at = 0; at < key.length; at += 1) key[at] = digest.readInt32LE(at * 4);
  };
}
