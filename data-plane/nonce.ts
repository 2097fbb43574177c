// DPoP nonces of this node (RFC 9449 §8, §9): nobody else makes them, so a proof that holds one was made for this node, lately.
import { createHmac, timingSafeEqual } from 'node:crypto';

/** The nonces. Nothing is kept of those given out. */
export type Nonces = {
  /** The one to give out now. */
  current(): string;
  /** `old`: good, but soon no longer. */
  judge(nonce: string): 'good' | 'old' | 'wrong';
};

/** A nonce is good in the time in which it was given out and in the one after it. */
const SLOT_MS = 150_000;

/** Returns nonces under a key that all threads of the node have, and that ends with the process. */
export function createNonces(key: Uint8Array, nowMs: () => number): Nonces {
  const made = new Map<number, Buffer>();
  const of = (slot: number): Buffer => {
    const known = made.get(slot);
    if (known !== undefined) return known;
    if (made.size >= 4) made.clear();
    const nonce = Buffer.from(
      createHmac('sha256', key).update(String(slot)).digest().subarray(0, 18).toString('base64url'),
    );
    made.set(slot, nonce);
    return nonce;
  };
  const slotNow = (): number => Math.floor(nowMs() / SLOT_MS);
  return {
    current: () => of(slotNow()).toString(),
    judge(nonce) {
      const given = Buffer.from(nonce);
      const slot = slotNow();
      if (isEqual(given, of(slot))) return 'good';
      return isEqual(given, of(slot - 1)) ? 'old' : 'wrong';
    },
  };
}

const isEqual = (one: Buffer, other: Buffer): boolean => one.length === other.length && timingSafeEqual(one, other);
