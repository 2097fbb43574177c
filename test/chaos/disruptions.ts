// Who is killed or held when, by chance: any part of the control side at any time, and one data plane at a time.
import { setTimeout as pause } from 'node:timers/promises';
import type { Disrupting, Member } from './member.ts';
import type { Random } from './random.ts';

/** One of them, in milliseconds since the start. */
export type Disruption = {
  readonly at: number;
  readonly members: string;
  readonly how: string;
  readonly downMs: number;
};

export type Target = { readonly members: readonly Member[]; readonly by: readonly Disrupting[] };

export type Disruptions = {
  readonly done: readonly Disruption[];
  /** Lets what is under way end, with everything up. */
  stop(): Promise<void>;
};

type Deps = {
  /** What of the control side is disrupted together, and how it can be. */
  readonly control: readonly Target[];
  /** These are killed one at a time. */
  readonly data: readonly Member[];
  readonly random: Random;
  readonly broken: (why: string, facts: unknown) => void;
};

/** Killed more often than asked to end. */
export const ENDS: readonly Disrupting[] = ['SIGKILL', 'SIGKILL', 'SIGTERM'];
const PAUSE_MS = [500, 4000] as const;
const DOWN_MS = [0, 3000] as const;

/** Starts to kill. */
export function startDisruptions({ control, data, random, broken }: Deps): Disruptions {
  const began = performance.now();
  const done: Disruption[] = [];
  const ended = new AbortController();

  const disrupt = async ({ members, by }: Target, chances: Random): Promise<void> => {
    const signal = chances.pick(by);
    const downMs = chances.chance(0.3) ? 0 : chances.between(...DOWN_MS);
    const names = members.map(({ name }) => name).join(' and ');
    done.push({ at: Math.round(performance.now() - began), members: names, how: signal, downMs });
    await Promise.all(members.map((member) => member.disrupt(signal, downMs)));
  };

  const again = async (choose: (chances: Random) => Target, chances: Random): Promise<void> => {
    while (!ended.signal.aborted) {
      await pause(chances.between(...PAUSE_MS), undefined, { signal: ended.signal }).catch(() => undefined);
      if (ended.signal.aborted) return;
      await disrupt(choose(chances), chances).catch((error: unknown) => broken(String(error), undefined));
    }
  };

  const hands = [
    again((chances) => chances.pick(control), random.fork()),
    again((chances) => ({ members: [chances.pick(data)], by: ENDS }), random.fork()),
  ];
  return {
    done,
    stop: async () => {
      ended.abort();
      await Promise.all(hands);
    },
  };
}
