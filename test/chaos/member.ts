// A process of the fleet that is killed and comes back, and the spans in which it may therefore fail others.
import { setTimeout as pause } from 'node:timers/promises';
import { until, within } from '../kit/deadline.ts';
import type { Ended, Running } from '../kit/process.ts';

/** What a member can be told without warning. */
export type Disrupting = 'SIGKILL' | 'SIGTERM' | 'SIGSTOP';

export type Member = {
  readonly name: string;
  /** Starts it, again and again until it is ready, as a supervisor would. */
  up(): Promise<unknown>;
  /** Ends it by a signal, leaves it down for so long, and brings it up again. SIGSTOP only holds it for as long. */
  disrupt(signal: Disrupting, downMs: number): Promise<void>;
  isUp(): boolean;
  /** Whether it was not up at some time since then, on the clock of `performance.now()`. */
  wasDown(since: number): boolean;
  /** How long it took to be ready again after it was ended, in milliseconds. */
  readonly restarts: readonly number[];
  /** The end of what it has written. */
  lastWords(): string;
  /** Ends it for good. */
  stop(): Promise<void>;
};

type Deps = {
  readonly name: string;
  readonly launch: () => Running;
  /** Resolves when the process serves; throws when it ends before. */
  readonly ready: (running: Running) => Promise<void>;
  /** Hears of an end that nobody asked for, and of one that was asked for and went wrong. */
  readonly broken: (why: string) => void;
};

const UP_MS = 60_000;
const END_MS = 20_000;
const RETRY_MS = 250;

/** Makes a member that is down. */
export function createMember({ name, launch, ready, broken }: Deps): Member {
  const restarts: number[] = [];
  let running: Running | undefined;
  let isUp = false;
  let upSince = Number.POSITIVE_INFINITY;
  let earlier = '';

  const started = async (): Promise<boolean> => {
    const fresh = launch();
    running = fresh;
    try {
      await ready(fresh);
    } catch (error) {
      fresh.kill('SIGKILL');
      const end = await fresh.ended;
      earlier = tail(`${end.stdout}${end.stderr}${String(error)}\n`);
      return false;
    }
    void fresh.ended.then((end) => {
      if (running === fresh && isUp) broken(`${name} ended by itself: ${textOf(end)}`);
    });
    return true;
  };

  const up = async (): Promise<number> => {
    const began = performance.now();
    await until(`${name} is ready`, async () => (await started()) || void (await pause(RETRY_MS)), UP_MS).catch(
      (error) => {
        throw new Error(`${name} did not come up: ${earlier}`, { cause: error });
      },
    );
    upSince = performance.now();
    isUp = true;
    return upSince - began;
  };

  const down = async (signal: NodeJS.Signals): Promise<void> => {
    const current = running;
    if (current === undefined) return;
    isUp = false;
    upSince = Number.POSITIVE_INFINITY;
    current.kill(signal);
    const end = await within(`${name} ends by ${signal}`, current.ended, END_MS).catch((error: unknown) => {
      broken(String(error));
      current.kill('SIGKILL');
      return current.ended;
    });
    running = undefined;
    earlier = tail(end.stdout + end.stderr);
    if (signal !== 'SIGKILL' && end.code !== 0)
      broken(`${name} was asked to end by ${signal}, and ended so: ${textOf(end)}`);
  };

  return {
    name,
    restarts,
    up,
    isUp: () => isUp,
    wasDown: (since) => !isUp || upSince >= since,
    disrupt: async (signal, downMs) => {
      if (signal === 'SIGSTOP') {
        running?.kill(signal);
        await pause(downMs);
        running?.kill('SIGCONT');
        return;
      }
      await down(signal);
      await pause(downMs);
      restarts.push(await up());
    },
    lastWords: () => tail(earlier + (running === undefined ? '' : running.stdout() + running.stderr())),
    stop: () => down('SIGKILL'),
  };
}

const tail = (text: string): string => text.slice(-4000);

const textOf = ({ code, signal, stdout, stderr }: Ended): string =>
  `code ${code}, signal ${signal}\n${tail(stdout + stderr)}`;
