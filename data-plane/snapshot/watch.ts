// Follows the snapshots of the control plane: by a stream, taken up again whenever it ends; by asking, where streams are cut.
import { createBackoff, pause } from '../backoff.ts';
import type { Log } from '../log.ts';
import type { Position, Received, SnapshotFeed } from './feed.ts';

/** Times, in milliseconds. */
export type Timing = {
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  /** Without a whole message for this long, the stream is taken for dead: also one whose bytes come too slowly. */
  readonly silenceMs: number;
  /** A stream that lived this long was sound: the next try comes soon after its end. */
  readonly soundMs: number;
  /** After a refusal the newest snapshot is asked for again. */
  readonly refusedMs: number;
  /** Between two questions, where streams are cut. */
  readonly pollMs: number;
  /** Streams are tried again after this long, and then after twice as long, up to `longestPollingMs`. */
  readonly pollingMs: number;
  readonly longestPollingMs: number;
};

export const DEFAULT_TIMING: Timing = {
  firstRetryMs: 250,
  longestRetryMs: 10_000,
  silenceMs: 45_000,
  soundMs: 5_000,
  refusedMs: 60_000,
  pollMs: 1_000,
  pollingMs: 30_000,
  longestPollingMs: 300_000,
};

/** So many streams in a row that brought nothing, or fell silent, are cut by something on the way. */
const CUT_STREAMS = 3;

type Deps = {
  readonly feed: SnapshotFeed;
  /** What the node has. */
  readonly position: () => Position;
  /** The next message waits until it is done. Never throws. */
  readonly onReceived: (received: Received) => Promise<void>;
  readonly onConnected: () => void;
  readonly onDisconnected: () => void;
  readonly onPolling: (isPolling: boolean) => void;
  /** Whether the newest snapshot is refused. */
  readonly isRefusing: () => boolean;
  readonly random: () => number;
  readonly log: Log;
  readonly timing?: Timing;
  readonly signal: AbortSignal;
};

/** Follows until `signal` ends. Never throws. */
export async function watchForever(deps: Deps): Promise<void> {
  const { log, signal } = deps;
  const timing = deps.timing ?? DEFAULT_TIMING;
  const backoff = createBackoff(timing.firstRetryMs, timing.longestRetryMs, deps.random);
  let failing = false;
  let cut = 0;
  let turns = 0;
  let pollingMs = timing.pollingMs;
  while (!signal.aborted) {
    const { error, isSound, isHeard } = await watchOnce(deps, timing, () => {
      if (failing) log.info('the control plane is reached again');
      failing = false;
    });
    if (error === OTHER_KIND) {
      turns = isSound ? 0 : turns + 1;
      if (turns >= TURNS_MAX) await pause(timing.pollMs, signal);
      continue;
    }
    turns = 0;
    deps.onDisconnected();
    if (signal.aborted) return;
    if (!failing) log.warn('the stream of snapshots ended; it is tried again', { error });
    failing = true;
    cut = isHeard ? 0 : cut + 1;
    if (isSound) backoff.reset();
    if (isSound) pollingMs = timing.pollingMs;
    if (cut >= CUT_STREAMS && (await poll(deps, timing, pollingMs))) {
      pollingMs = Math.min(2 * pollingMs, timing.longestPollingMs);
      backoff.reset();
      // Each stream that is heard brings the newest, however soon it ends.
    } else await pause(isHeard ? Math.min(backoff.next(), timing.pollMs) : backoff.next(), signal);
  }
}

/** Deltas lead on no more, or do so again: the next stream is asked for the other. */
const OTHER_KIND = new Error('The next stream is of another kind');

/** From deltas to the whole, and back: whoever sends more turns than these, one soon after the other, is not followed at once. */
const TURNS_MAX = 3;

type Ended = {
  readonly error: unknown;
  /** It has brought something, and has not fallen silent. */
  readonly isHeard: boolean;
  /** And has lived for long. */
  readonly isSound: boolean;
};

/** One stream from its start to its end. */
async function watchOnce(deps: Deps, timing: Timing, onFirst: () => void): Promise<Ended> {
  const began = performance.now();
  const silence = createDeadline('No message came in time');
  const refusal = createDeadline('A refused snapshot is asked for again');
  let isFirst = true;
  const ended = (error: unknown): Ended => {
    const reason = silence.passed() ?? refusal.passed() ?? error;
    const isHeard = !isFirst && silence.passed() === undefined;
    const hasLived = performance.now() - began >= timing.soundMs;
    return { error: reason, isHeard, isSound: isHeard && (hasLived || refusal.passed() !== undefined) };
  };
  try {
    const signal = AbortSignal.any([deps.signal, silence.signal, refusal.signal]);
    const has = deps.position();
    silence.set(timing.silenceMs);
    for await (const received of deps.feed.watch(has, signal)) {
      if (isFirst) onFirst();
      if (isFirst) deps.onConnected();
      isFirst = false;
      if (received !== undefined) {
        // What is done with it may take its time.
        silence.clear();
        await deps.onReceived(received);
        if (deps.position().acceptsDelta !== has.acceptsDelta) return ended(OTHER_KIND);
        if (deps.isRefusing()) refusal.set(timing.refusedMs);
        else refusal.clear();
      }
      silence.set(timing.silenceMs);
    }
    return ended(undefined);
  } catch (error) {
    return ended(error);
  } finally {
    silence.clear();
    refusal.clear();
  }
}

/** A signal that aborts when the time that was set last has passed. */
function createDeadline(message: string) {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  return {
    signal: controller.signal,
    set(ms: number): void {
      clearTimeout(timer);
      timer = setTimeout(() => controller.abort(new Error(message)), ms);
    },
    clear: (): void => clearTimeout(timer),
    passed: (): unknown => (controller.signal.aborted ? controller.signal.reason : undefined),
  };
}

/** Asks once what leads to the newest snapshot, and takes it; says whether it was answered. */
async function ask(deps: Deps): Promise<boolean> {
  try {
    const received = await deps.feed.get(deps.position(), deps.signal);
    if (received !== undefined) await deps.onReceived(received);
    return true;
  } catch (error) {
    deps.log.debug('the control plane did not say what is new', { error });
    return false;
  }
}

/** Asks again and again, for as long as that is answered, or until streams are to be tried again; whether it was answered. */
async function poll(deps: Deps, timing: Timing, forMs: number): Promise<boolean> {
  const until = performance.now() + forMs;
  let isAnswered = false;
  try {
    while (!deps.signal.aborted && performance.now() < until) {
      const { acceptsDelta } = deps.position();
      if (!(await ask(deps))) return isAnswered;
      if (!isAnswered) {
        deps.log.warn('streams of snapshots are cut; the control plane is asked for them', {
          everyMs: timing.pollMs,
          forMs,
        });
        deps.onPolling(true);
        deps.onConnected();
      }
      isAnswered = true;
      // What was refused is asked for again as seldom as on a stream, but for its other form.
      const isOver = deps.isRefusing() && deps.position().acceptsDelta === acceptsDelta;
      await pause(isOver ? timing.refusedMs : timing.pollMs * (0.75 + 0.5 * deps.random()), deps.signal);
    }
    return isAnswered;
  } finally {
    deps.onPolling(false);
    deps.onDisconnected();
  }
}
