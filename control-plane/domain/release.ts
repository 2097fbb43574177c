// How a planned change is made: published to all nodes of its pools, and waited for.
import type { CallerActor } from './actor.ts';
import type { Changes, Plan } from './change.ts';
import type { Rollout, Rollouts, Waiting } from './rollout.ts';

/** How long to wait for the nodes. */
export type Releasing = Waiting;

/** Makes a change, and waits for the nodes. */
export type Release = <T>(
  caller: CallerActor,
  plan: Plan<T>,
  releasing: Releasing,
) => Promise<{ readonly value: T; readonly rollout: Rollout }>;

type Deps = {
  readonly changes: Pick<Changes, 'run'>;
  readonly rollouts: Pick<Rollouts, 'wait'>;
};

/** Makes Release. */
export const createRelease =
  ({ changes, rollouts }: Deps): Release =>
  async (caller, plan, { waitMs, signal }) => {
    const { value, published } = await changes.run(caller, plan.method, plan.work);
    return { value, rollout: await rollouts.wait(published, waitMs, signal) };
  };
