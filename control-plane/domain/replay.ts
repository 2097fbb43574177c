// Takes each node assertion once: who overhears one must not speak for the node with it.

import { DaypassError } from '@daypass/core/errors';
import { ASSERTION_SECONDS } from '@daypass/core/node-auth';
import type { Store } from '../store/interface.ts';
import { sha256Hex } from './digest.ts';

/** Assertions that were taken. */
export type Taken = {
  /**
   * Takes a verified assertion. Throws `unauthenticated` for one that was taken before, here or at another control plane on
   * the same database, and `overloaded` for too many.
   */
  take(node: string, assertion: string): Promise<void>;
};

/** Of one node, within the life of an assertion. */
const ASSERTIONS_MAX = 20_000;
/** An assertion may come from a clock that is ahead, and is honoured by one that is behind. */
const REMEMBERED_MS = (ASSERTION_SECONDS + 15) * 2 * 1000;

type Deps = {
  readonly store: Pick<Store, 'takeOnce'>;
  /** Milliseconds. */
  readonly now: () => number;
  /** Of one node. */
  readonly most?: number;
};

/** Makes the memory. */
export const createTaken = ({ store, now, most = ASSERTIONS_MAX }: Deps): Taken => {
  /** By node; the oldest first. */
  const nodes = new Map<string, Map<string, number>>();
  return {
    take: async (node, assertion) => {
      const taken = nodes.get(node) ?? new Map<string, number>();
      nodes.set(node, taken);
      for (const [digest, until] of taken) {
        if (until > now()) break;
        taken.delete(digest);
      }
      const digest = sha256Hex(assertion);
      if (taken.has(digest)) throw usedBefore();
      if (taken.size >= most) throw new DaypassError('overloaded', 'The node asks too often');
      const until = now() + REMEMBERED_MS;
      taken.set(digest, until);
      if (!(await store.takeOnce(digest, now(), until))) throw usedBefore();
    },
  };
};

const usedBefore = (): DaypassError => new DaypassError('unauthenticated', 'The assertion was used before');
