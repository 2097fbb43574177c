// Bounds how many calls each credential has under way, so that one caller cannot take every place in the database's queue.
import { DaypassError } from '@daypass/core/errors';

/** Calls under way. */
export type InFlight = {
  /** Counts a call of `key` until `signal` aborts. Throws `overloaded` when there are too many. */
  enter(key: string, signal: AbortSignal): void;
};

/** Makes the counter; it knows the keys that have calls under way and no others. */
export const createInFlight = (most: number): InFlight => {
  const running = new Map<string, number>();
  return {
    enter: (key, signal) => {
      const count = running.get(key) ?? 0;
      if (count >= most)
        throw new DaypassError('overloaded', `There are ${most} calls of this caller under way already`);
      if (signal.aborted) return;
      running.set(key, count + 1);
      const leave = (): void => {
        const left = (running.get(key) ?? 1) - 1;
        if (left === 0) running.delete(key);
        else running.set(key, left);
      };
      signal.addEventListener('abort', leave, { once: true });
    },
  };
};
