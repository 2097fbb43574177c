// How long work on a large snapshot may hold a thread, and what it leaves to others.
import { setImmediate, setTimeout } from 'node:timers/promises';

/** Says after each small piece of work whether to go on (undefined), or what to wait for before. */
export type Pace = () => Promise<void> | undefined;

/** Works `workMs` at a time, and rests as long as it has worked: half of a processor stays with those that serve. */
export const createPace = (workMs = WORK_MS): Pace =>
  paced(workMs, async (workedMs) => {
    await setTimeout(Math.max(1, workedMs));
  });

/** Works at once, and only lets others have their turn: for what is small, or while nobody is served. */
export const createHaste = (workMs = WORK_MS): Pace =>
  paced(workMs, async () => {
    await setImmediate();
  });

const WORK_MS = 2;
/** The clock is looked at after so many pieces. */
const PIECES = 8;

function paced(workMs: number, rest: (workedMs: number) => Promise<void>): Pace {
  let began = performance.now();
  let left = PIECES;
  return () => {
    left -= 1;
    if (left > 0) return undefined;
    left = PIECES;
    const workedMs = performance.now() - began;
    if (workedMs < workMs) return undefined;
    return rest(workedMs).then(() => {
      began = performance.now();
    });
  };
}
