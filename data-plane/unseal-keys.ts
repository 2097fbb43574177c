// The private keys that open seals, as a thread that serves has them: they change while it runs.
import type { CryptoKey } from '@daypass/core/key';

/** Keys by `kid`. */
export type KeysById = ReadonlyMap<string, CryptoKey>;

/** The keys of a thread. */
export type UnsealKeys = {
  /** The same map until they change. */
  current(): KeysById;
  /** A seal came whose key is not there: resolves when it was looked for, found or not. */
  lookAgain(): Promise<void>;
};

/** The keys of a worker, which the main thread changes. */
export type GivenKeys = UnsealKeys & { give(keys: KeysById): void };

/** Keys that never change. */
export const fixedKeys = (keys: KeysById): UnsealKeys => ({ current: () => keys, lookAgain: async () => undefined });

/** How long a request waits for keys to be looked for, and how long after that they are not looked for again. */
const LOOK_MS = 1000;

/** Keys that are asked for at whoever gives them, once a second at most: whoever shows a seal of no key must cost little. */
export function createGivenKeys(first: KeysById, ask: () => void, nowMs: () => number): GivenKeys {
  let keys = first;
  let askedAt = Number.NEGATIVE_INFINITY;
  let waiting: PromiseWithResolvers<void> | undefined;
  return {
    current: () => keys,
    give(fresh) {
      keys = fresh;
      waiting?.resolve();
      waiting = undefined;
    },
    lookAgain() {
      if (waiting !== undefined) return waiting.promise;
      if (nowMs() < askedAt + LOOK_MS) return Promise.resolve();
      askedAt = nowMs();
      const look = Promise.withResolvers<void>();
      waiting = look;
      const late = setTimeout(() => {
        if (waiting === look) waiting = undefined;
        look.resolve();
      }, LOOK_MS);
      ask();
      return look.promise.finally(() => clearTimeout(late));
    },
  };
}
