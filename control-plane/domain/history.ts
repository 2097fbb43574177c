// Forgets old snapshots: a bounded part at a time, so that changes go on between.
import type { Store } from '../store/interface.ts';

/** Forgets what is older than the history that is kept. */
export type History = { prune(): Promise<void> };

type Deps = {
  readonly store: Pick<Store, 'transact'>;
  readonly pools: () => readonly string[];
  /** How long a snapshot can be shown, and deltas lead from it, in milliseconds. */
  readonly historyMs: number;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Kept however old they are, and however young. */
const LEAST_KEPT = 100;
const MOST_KEPT = 100_000;
/** Rows that go in one transaction, and transactions that one call makes. */
const PART = 500;
const PARTS_MAX = 20;

/** Makes the keeper of the history. */
export const createHistory = ({ store, pools, historyMs, now }: Deps): History => ({
  prune: async () => {
    const keep = { issuedSince: now() - historyMs, least: LEAST_KEPT, most: MOST_KEPT };
    for (const pool of pools()) {
      for (let parts = 0; parts < PARTS_MAX; parts += 1) {
        if ((await store.transact((tx) => tx.snapshots.prune(pool, keep, PART))) === 0) break;
      }
    }
  },
});
