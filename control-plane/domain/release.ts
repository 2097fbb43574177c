// How a planned change is given to the nodes: to all of its pool at once, or to some first.
import type { CallerActor } from './actor.ts';
import type { Canaries } from './canaries.ts';
import type { CanaryPlan } from './canary-nodes.ts';
import type { Changes, Plan } from './change.ts';
import type { Rollout, Rollouts, Waiting } from './rollout.ts';

/** How long to wait for the nodes, and whether some of them get it first. */
export type Releasing = Waiting & { readonly canary?: CanaryPlan | undefined };

/** Makes a change, and waits for the nodes that are to have it. */
export type Release = <T>(
  caller: CallerActor,
  plan: Plan<T>,
  releasing: Releasing,
) => Promise<{ readonly value: T; readonly rollout: Rollout }>;

type Deps = {
  readonly changes: Pick<Changes, 'run'>;
  readonly rollouts: Pick<Rollouts, 'wait'>;
  readonly canaries: Pick<Canaries, 'begin'>;
};

/** Makes Release. */
export const createRelease =
  ({ changes, rollouts, canaries }: Deps): Release =>
  async (caller, plan, { waitMs, signal, canary }) => {
    const { value, published } = await (canary === undefined
      ? changes.run(caller, plan.method, plan.work)
      : canaries.begin(caller, plan, canary));
    return { value, rollout: await rollouts.wait(published, waitMs, signal) };
  };
