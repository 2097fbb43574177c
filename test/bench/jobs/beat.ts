// Whether the load's own process stood still: what happened meanwhile says nothing of a proxy.

/** Between two beats, which are far more frequent: the process did not run, or it collected garbage. */
const STILL_MS = 0.15;

let last = 0;
let stillUntil = 0;

/** Called at everything that happens, and between, by a loop that polls. */
export function beat(now: number): void {
  if (now - last > STILL_MS) stillUntil = now;
  last = now;
}

/** Whether the process stood still at some time since then. */
export const stoodStillSince = (then: number): boolean => stillUntil >= then;
