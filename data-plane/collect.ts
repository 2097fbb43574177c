// Gives the memory of a replaced snapshot back: it goes when every thread has collected what pointed at it, which by itself may take long.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** A snapshot of so many bytes is worth a collection. */
const LARGE_BYTES = 16 * 1024 * 1024;
/** What was decided by the one before has mostly ended by then, in ms. */
const AFTER_MS = 1_000;
/** Threads collect one after the other. */
const APART_MS = 250;

/** A whole snapshot of so many bytes is what this thread has now; `slot` numbers the threads. */
export function collectAfter(bytes: number, slot: number): void {
  if (bytes < LARGE_BYTES) return;
  setTimeout(collect, AFTER_MS + slot * APART_MS).unref();
}

let gc: (() => void) | undefined;

/** All of this thread's heap, at once: V8 does not count what threads share as a reason to. */
function collect(): void {
  setFlagsFromString('--expose-gc');
  gc ??= runInNewContext('gc');
  gc?.();
}
