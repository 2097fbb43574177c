// Waits between tries of something on the network: exponential, with full jitter.

export type Backoff = {
  /** Milliseconds to wait before the next try. */
  next(): number;
  /** The last try went well. */
  reset(): void;
};

/** Full jitter: each wait is random in [0, min(longestMs, firstMs * 2^tries)). `random` is in [0, 1). */
export function createBackoff(firstMs: number, longestMs: number, random: () => number): Backoff {
  let tries = 0;
  return {
    next() {
      const ceiling = Math.min(longestMs, firstMs * 2 ** Math.min(tries, 30));
      tries += 1;
      return Math.floor(random() * ceiling);
    },
    reset() {
      tries = 0;
    },
  };
}

/** Waits, or returns at once when `signal` ends. Never keeps the process alive by itself. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms).unref();
    signal.addEventListener('abort', done, { once: true });
  });
}
