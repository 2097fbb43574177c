// Bounds how much of whole snapshots is on its way to nodes: each is held until its node has taken it.
import { DaypassError } from '@daypass/core/errors';

/** Whole snapshots on their way. */
export type WholeSnapshots = {
  /** Room for one until it is disposed; undefined: there is none now, and `freed` is called when there may be. */
  enter(node: string, bytes: number): Disposable | undefined;
  /** Room for one that is not followed to its end. Throws `overloaded`. */
  pass(node: string, bytes: number): void;
};

/** In bytes of entries; one goes in any case, and so does each that is small. */
const BYTES_MAX = 512 * 1024 * 1024;
const SMALL_BYTES = 1024 * 1024;
/** One that was lost on the way may not be known for lost yet. */
const NODE_MAX = 2;
/** A node that takes longer is not waited for by others. */
const LONGEST_MS = 30_000;
/** How long an answer to a single call is taken to be on its way. */
const PASSING_MS = 5000;

/** Makes the bound. */
export const createWholeSnapshots = (freed: () => void, longestMs = LONGEST_MS): WholeSnapshots => {
  const nodes = new Map<string, number>();
  let held = 0;
  let waited = false;
  const wake = (): void => {
    if (waited) freed();
    waited = false;
  };
  const leave = (node: string): void => {
    const others = (nodes.get(node) ?? 1) - 1;
    if (others === 0) nodes.delete(node);
    else nodes.set(node, others);
  };
  const enter = (node: string, bytes: number): Disposable | undefined => {
    if (bytes < SMALL_BYTES) return NO_ROOM;
    const own = nodes.get(node) ?? 0;
    if (own >= NODE_MAX || (held > 0 && held + bytes > BYTES_MAX)) {
      waited = true;
      return undefined;
    }
    nodes.set(node, own + 1);
    held += bytes;
    let left = bytes;
    const release = (): void => {
      held -= left;
      left = 0;
      wake();
    };
    const timer = setTimeout(release, longestMs).unref();
    return {
      [Symbol.dispose]: () => {
        clearTimeout(timer);
        leave(node);
        release();
      },
    };
  };
  return {
    enter,
    pass: (node, bytes) => {
      const room = enter(node, bytes);
      if (room === undefined) throw new DaypassError('overloaded', 'There are whole snapshots on their way already');
      setTimeout(() => room[Symbol.dispose](), PASSING_MS).unref();
    },
  };
};

const NO_ROOM: Disposable = { [Symbol.dispose]: () => {} };
