// Gives the loop its turn in the midst of long work, by the time that the work has taken.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DaypassError } from '@daypass/core/errors';

/** Held at once: what else the process does waits for so long at most. */
const HELD_MS = 5;

/** Makes the pause: it waits for the loop's other work where it was held for long. Throws `unavailable` where `signal` has aborted. */
export const createTurns = (signal: AbortSignal): (() => Promise<void>) => {
  let until = performance.now() + HELD_MS;
  return async () => {
    if (performance.now() < until) return;
    await nextTurn();
    if (signal.aborted) throw new DaypassError('unavailable', 'Nobody waits for the answer any more');
    until = performance.now() + HELD_MS;
  };
};
