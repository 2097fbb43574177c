// Waiting for something to become true, with an end.
import { setTimeout as pause } from 'node:timers/promises';

/**
 * Asks `probe` until it answers with something other than undefined or false, and returns that.
 * Throws after `withinMs`, with the last error of the probe as the cause.
 */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  withinMs = 10_000,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  let last: unknown;
  while (performance.now() < deadline) {
    try {
      const found = await probe();
      if (found !== undefined && found !== false) return found;
    } catch (error) {
      last = error;
    }
    await pause(15);
  }
  throw new Error(`not within ${withinMs} ms: ${what}`, { cause: last });
}

/** Fails when a promise has not settled in time: for waits that have no end of their own. */
export async function within<T>(what: string, promise: Promise<T>, withinMs = 10_000): Promise<T> {
  const cancel = new AbortController();
  const late = pause(withinMs, undefined, { signal: cancel.signal }).then(() => {
    throw new Error(`not within ${withinMs} ms: ${what}`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    cancel.abort();
    late.catch(() => undefined);
  }
}
