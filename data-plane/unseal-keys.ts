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

/** How long a request waits for an answer to a look, and the least time between two looks. */
const LOOK_MS = 1000;

/**
 * Keys that are asked for at whoever gives them, once a second at most: whoever shows a seal of no key must cost little.
 * Who comes sooner waits for the next look: its key may have come since the last one.
 */
export function createGivenKeys(first: KeysById, ask: () => void, nowMs: () => number): GivenKeys {
  let keys = first;
  let askedAt = Number.NEGATIVE_INFINITY;
  let next: PromiseWithResolvers<void> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isAsked = false;
  const end = (): void => {
    clearTimeout(timer);
    next?.resolve();
    next = undefined;
    isAsked = false;
  };
  const look = (): void => {
    askedAt = nowMs();
    isAsked = true;
    timer = setTimeout(end, LOOK_MS);
    ask();
  };
  return {
    current: () => keys,
    give(fresh) {
      keys = fresh;
      // What comes before the look is due may not hold what is waited for.
      if (isAsked) end();
    },
    lookAgain() {
      if (next !== undefined) return next.promise;
      next = Promise.withResolvers<void>();
      const { promise } = next;
      const pauseMs = Math.min(LOOK_MS, askedAt + LOOK_MS - nowMs());
      if (pauseMs > 0) timer = setTimeout(look, pauseMs);
      else look();
      return promise;
    },
  };
}
