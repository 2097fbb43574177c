// A snapshot key that was rotated signs at once: every pool whose newest snapshot another key signed gets one more.
import type { Changes } from './change.ts';
import type { Publisher, SnapshotSigners } from './publisher.ts';

type Deps = {
  readonly changes: Pick<Changes, 'own'>;
  readonly publisher: Pick<Publisher, 'current'>;
  readonly signers: () => SnapshotSigners;
  /** Tells the operator of it. */
  readonly tell: (message: string, kid: string) => void;
};

/** Makes the step; to take it where nothing has changed does nothing. */
export const createResign = (deps: Deps) => async (): Promise<void> => {
  for (const [pool, { kid, signed }] of deps.signers()) {
    const newest = deps.publisher.current(pool)?.snapshot.key.statement;
    if (newest !== undefined && Buffer.compare(newest, signed.statement) === 0) continue;
    await deps.changes.own('KeyService/Rotate', async () => ({
      value: undefined,
      pools: [pool],
      note: { path: `pools/${pool}/keys/${kid}` },
    }));
    deps.tell('a snapshot key signs from now on', kid);
  }
};
