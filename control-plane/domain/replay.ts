// Takes each node assertion once: who overhears one must not speak for the node with it.

import { DaypassError } from '@daypass/core/errors';
import { ASSERTION_SECONDS } from '@daypass/core/node-auth';
import { sha256Hex } from './digest.ts';

/** Assertions that were taken. */
export type Taken = {
  /** Takes a verified assertion. Throws `unauthenticated` for one that was taken before, `overloaded` for too many. */
  take(node: string, assertion: string): void;
};

/** Of one node, within the life of an assertion. */
const ASSERTIONS_MAX = 20_000;
/** An assertion may come from a clock that is ahead, and is honoured by one that is behind. */
const REMEMBERED_MS = (ASSERTION_SECONDS + 15) * 2 * 1000;

/** Makes the memory. `now` in milliseconds. */
export const createTaken = (now: () => number, most: number = ASSERTIONS_MAX): Taken => {
  /** By node; the oldest first. */
  const nodes = new Map<string, Map<string, number>>();
  return {
    take: (node, assertion) => {
      const taken = nodes.get(node) ?? new Map<string, number>();
      nodes.set(node, taken);
      for (const [digest, until] of taken) {
        if (until > now()) break;
        taken.delete(digest);
      }
      const digest = sha256Hex(assertion);
      if (taken.has(digest)) throw new DaypassError('unauthenticated', 'The assertion was used before');
      if (taken.size >= most) throw new DaypassError('overloaded', 'The node asks too often');
      taken.set(digest, now() + REMEMBERED_MS);
    },
  };
};
