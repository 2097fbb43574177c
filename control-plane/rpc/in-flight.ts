// Bounds how many calls each credential has under way, so that one caller cannot take every place in the database's queue.
import { DaypassError } from '@daypass/core/errors';

/** Calls under way. */
export type InFlight = {
  /**
   * Counts a call of `key` until `signal` aborts. A call too many waits its turn, so that a burst is served and who
   * asks again at once is slowed down; after `waitMs` it throws `overloaded`.
   */
  enter(key: string, signal: AbortSignal): Promise<void>;
};

type Lane = { running: number; readonly waiting: Set<() => void> };

/** Makes the counter; it knows the keys that have calls under way and no others. */
export const createInFlight = (most: number, waitMs: number): InFlight => {
  const lanes = new Map<string, Lane>();
  const leave = (key: string, lane: Lane): void => {
    const [next] = lane.waiting;
    // The place goes to the one that has waited longest.
    if (next !== undefined) {
      next();
      return;
    }
    lane.running -= 1;
    if (lane.running === 0) lanes.delete(key);
  };
  return {
    enter: async (key, signal) => {
      if (signal.aborted) return;
      const lane = lanes.get(key) ?? { running: 0, waiting: new Set() };
      lanes.set(key, lane);
      if (lane.running < most) lane.running += 1;
      else if (!(await turn(lane, waitMs, signal))) {
        throw new DaypassError('overloaded', `There are ${most} calls of this caller under way already`);
      }
      if (signal.aborted) leave(key, lane);
      else signal.addEventListener('abort', () => leave(key, lane), { once: true });
    },
  };
};

/** Whether a place came free in time. */
const turn = (lane: Lane, waitMs: number, signal: AbortSignal): Promise<boolean> =>
  new Promise((resolve) => {
    const end = (mine: boolean): void => {
      clearTimeout(timer);
      lane.waiting.delete(take);
      signal.removeEventListener('abort', giveUp);
      resolve(mine);
    };
    const take = (): void => end(true);
    const giveUp = (): void => end(false);
    const timer = setTimeout(giveUp, waitMs);
    signal.addEventListener('abort', giveUp, { once: true });
    lane.waiting.add(take);
  });
