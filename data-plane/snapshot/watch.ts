// The stream of snapshots from the control plane, taken up again whenever it ends or falls silent.
import type { Client } from '@connectrpc/connect';
import type { Snapshot, SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { createBackoff, pause } from '../backoff.ts';
import type { Log } from '../log.ts';

/** Times of the stream, in milliseconds. */
export type Timing = {
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  /** Without a message for this long, the stream is taken for dead. */
  readonly silenceMs: number;
  /** A stream that lived this long was sound: the next try comes soon after its end. */
  readonly soundMs: number;
  /** After a refusal the newest snapshot is asked for again. */
  readonly refusedMs: number;
};

export const DEFAULT_TIMING: Timing = {
  firstRetryMs: 250,
  longestRetryMs: 10_000,
  silenceMs: 45_000,
  soundMs: 5_000,
  refusedMs: 60_000,
};

type Deps = {
  readonly client: Pick<Client<typeof SnapshotService>, 'watch'>;
  /** What the node has. */
  readonly position: () => { readonly version: bigint; readonly digest: string };
  /** The next message waits until it is done. Never throws. */
  readonly onSnapshot: (snapshot: Snapshot) => Promise<void>;
  readonly onConnected: () => void;
  readonly onDisconnected: () => void;
  /** Whether the newest snapshot is refused. */
  readonly isRefusing: () => boolean;
  readonly random: () => number;
  readonly log: Log;
  readonly timing?: Timing;
  readonly signal: AbortSignal;
};

/** Watches until `signal` ends. Never throws. */
export async function watchForever(deps: Deps): Promise<void> {
  const { log, signal } = deps;
  const timing = deps.timing ?? DEFAULT_TIMING;
  const backoff = createBackoff(timing.firstRetryMs, timing.longestRetryMs, deps.random);
  let failing = false;
  while (!signal.aborted) {
    const began = performance.now();
    const error = await watchOnce(deps, timing, () => {
      if (failing) log.info('the control plane is reached again');
      failing = false;
    });
    deps.onDisconnected();
    if (signal.aborted) return;
    if (performance.now() - began >= timing.soundMs) backoff.reset();
    if (!failing) log.warn('the stream of snapshots ended; it is tried again', { error });
    failing = true;
    await pause(backoff.next(), signal);
  }
}

/** One stream from its start to its end; returns why it ended. */
async function watchOnce(deps: Deps, timing: Timing, onFirst: () => void): Promise<unknown> {
  const silence = new AbortController();
  const refusal = new AbortController();
  const silenceTimer = setTimeout(() => silence.abort(new Error('No message came in time')), timing.silenceMs);
  let refusalTimer: NodeJS.Timeout | undefined;
  let isFirst = true;
  try {
    const signal = AbortSignal.any([deps.signal, silence.signal, refusal.signal]);
    for await (const { event } of deps.client.watch(deps.position(), { signal, timeoutMs: 0 })) {
      silenceTimer.refresh();
      if (isFirst) {
        onFirst();
        deps.onConnected();
      }
      isFirst = false;
      if (event.case !== 'snapshot') continue;
      await deps.onSnapshot(event.value);
      silenceTimer.refresh();
      clearTimeout(refusalTimer);
      if (deps.isRefusing())
        refusalTimer = setTimeout(
          () => refusal.abort(new Error('A refused snapshot is asked for again')),
          timing.refusedMs,
        );
    }
    return undefined;
  } catch (error) {
    return [silence.signal, refusal.signal].find((ended) => ended.aborted)?.reason ?? error;
  } finally {
    clearTimeout(silenceTimer);
    clearTimeout(refusalTimer);
  }
}
