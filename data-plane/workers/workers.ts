// The workers of a node: started, given the same snapshot all at once, replaced when they end, rolled, drained, closed.
import { setTimeout as pause } from 'node:timers/promises';
import { DaypassError } from '@daypass/core/errors';
import type { Listen } from '@daypass/core/listen';
import type { Draft } from '../audit/sink.ts';
import type { Backoff } from '../backoff.ts';
import type { Log } from '../log.ts';
import { type Family, sumFamilies, withoutGauges } from '../metrics.ts';
import { SLOTS } from '../shared/limits.ts';
import type { Handover } from '../snapshot/handover.ts';
import type { KeysById } from '../unseal-keys.ts';
import { WorkerGone, type WorkerThread } from './thread.ts';

type Deps = {
  readonly count: number;
  /** Starts a worker that does nothing yet. */
  readonly spawn: (slot: number) => WorkerThread;
  /** A worker has ended: what it left is put in order, and what it could not write is written. */
  readonly bury: (slot: number, givenUp: readonly Draft[]) => Promise<void>;
  /** Where the first one listens; it may choose the port for all. */
  readonly listenAt: { readonly at: Listen; readonly reusePort: boolean };
  /** How long a worker that leaves may serve on the connections that it has. */
  readonly leaveMs: number;
  /** How long one that serves may take for a small snapshot before it is taken to hang; `HANG_MS` if left out. */
  readonly hangMs?: number;
  readonly backoff: Backoff;
  readonly log: Log;
  readonly nowMs: () => number;
  /** Workers end faster than they can be replaced. */
  readonly failed: (cause: unknown) => void;
};

export type Workers = {
  /** Starts them all; they do not listen yet. */
  start(): void;
  /** Has all of them listen, and returns where. Rejects with why one could not. */
  listen(admin: Listen): Promise<Listen>;
  /** Makes all of them decide by a snapshot; see `SnapshotAgent`. Rejects with the code of one that could not. */
  install(handover: Handover, keep: () => Promise<void>): Promise<void>;
  /** Replaces one after the other. Those that cannot be replaced go on. */
  roll(): Promise<void>;
  /** Has all of them open seals with these keys. One that does not answer in time asks when it needs them. */
  unseal(keys: KeysById): Promise<void>;
  /** Metrics of each, and of those that have ended. */
  metrics(): Promise<readonly (readonly Family[])[]>;
  tellOfSpool(): void;
  /** How many serve. */
  serving(): number;
  drain(): Promise<void>;
  close(): Promise<void>;
};

/** A worker, and what is known of it. */
type Member = {
  readonly thread: WorkerThread;
  isServing: boolean;
  /** It was asked to end. */
  isLeaving: boolean;
  /** Settled when it is done with what it was given before its turn to serve. */
  catching: Promise<void>;
  metrics: readonly Family[];
};

type Failure = { readonly member: Member; readonly error: unknown };

/** A worker that serves and is not done with a snapshot by then hangs: it would keep a revocation from being true. */
const HANG_MS = 3_000;
/** A large snapshot takes its time: so many bytes a millisecond at least. */
const BYTES_A_MS = 1024;
/** Those that are ready wait so long for the others. */
const PATIENCE_MS = 250;
/** For one that is killed to be gone. */
const KILLED_MS = 1_000;
/** One that has just been started may have to wait for the machine. */
const START_MS = 60_000;
/** Between two looks whether there is one. */
const STEP_MS = 20;
const LISTEN_MS = 5_000;
const METRICS_MS = 1_000;
const UNSEAL_MS = 5_000;
const CLOSE_MS = 2_000;
/** So many that end in so long are too many. */
const [ENDS_MAX, ENDS_MS] = [5, 30_000];
const FOREVER_MS = 2 ** 31 - 1;

/** Returns none yet. */
export function createWorkers(deps: Deps): Workers {
  const { log } = deps;
  const members = new Set<Member>();
  const slots = new Set<number>();
  const burying = new Set<Promise<void>>();
  const ends: number[] = [];
  let retired: readonly Family[] = [];
  let current: Handover | undefined;
  let address: Listen | undefined;
  let admin: Listen | undefined;
  let closing = false;
  let turn: Promise<unknown> = Promise.resolve();
  /** One after the other: a worker that comes must not miss a snapshot that is on its way to the others. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = turn.then(work);
    turn = done.catch(() => undefined);
    return done;
  };

  const spawn = (): Member => {
    const slot = freeSlot(slots);
    slots.add(slot);
    const thread = deps.spawn(slot);
    const member: Member = { thread, isServing: false, isLeaving: false, catching: Promise.resolve(), metrics: [] };
    members.add(member);
    void member.thread.ended.then((cause) => bury(member, cause));
    return member;
  };
  const bury = (member: Member, cause: unknown): void => {
    members.delete(member);
    retired = sumFamilies([retired, withoutGauges(member.metrics)]);
    const { slot } = member.thread;
    const done = deps
      .bury(slot, member.thread.givenUp())
      .catch((error: unknown) => log.error('what a worker left could not be put in order', { error, worker: slot }))
      .finally(() => {
        slots.delete(slot);
        burying.delete(done);
      });
    burying.add(done);
    if (member.isLeaving || closing) return;
    log.error('a worker has ended unexpectedly', { error: cause, worker: slot });
    void replace(cause);
  };
  /** Those that are to go on. */
  const staying = (): number => [...members].filter(({ isLeaving }) => !isLeaving).length;
  const replace = async (cause: unknown): Promise<void> => {
    // One that came to take the place of another that still serves needs none in its own.
    if (closing || staying() >= deps.count) return;
    const now = deps.nowMs();
    ends.push(now);
    while ((ends[0] ?? now) <= now - ENDS_MS) ends.shift();
    if (ends.length >= ENDS_MAX) return deps.failed(cause);
    if (ends.length > 1) await pause(deps.backoff.next(), undefined, { ref: false });
    // Before they listen, whoever starts them hears of it.
    if (closing || address === undefined || staying() >= deps.count) return;
    try {
      await serve(spawn());
    } catch (error) {
      log.error('a worker cannot serve', { error });
      // One that has ended by itself is replaced when it is buried.
      if (!(error instanceof WorkerGone)) await replace(error);
    }
  };
  /** Has one that does not serve decide by what is current. */
  const catchUp = async (member: Member): Promise<void> => {
    const handover = current;
    if (handover === undefined || holds.get(member) === handover) return;
    await member.thread.ask('prepare', handover.lead(holds.get(member)?.digest), START_MS);
    await member.thread.ask('activate', handover.digest, START_MS);
    holds.set(member, handover);
  };
  /** Has one decide as the others do, and listen beside them. One that cannot is ended. */
  const serve = async (member: Member): Promise<Listen> => {
    try {
      // Not in turn yet: one that is slow to start must not keep a snapshot from those that serve.
      member.catching = catchUp(member);
      await member.catching;
      return await inTurn(async () => {
        await catchUp(member);
        if (admin === undefined) throw new Error('it is not known where to listen');
        if (closing) throw new Error('the node takes no new connection');
        const question = { ...deps.listenAt, at: address ?? deps.listenAt.at, admin };
        address = await member.thread.ask('listen', question, holds.has(member) ? LISTEN_MS : START_MS);
        member.isServing = true;
        return address;
      });
    } catch (error) {
      member.isLeaving = !(error instanceof WorkerGone);
      member.thread.kill();
      throw error;
    }
  };
  /** What each decides by. */
  const holds = new WeakMap<Member, Handover>();
  /** Those that decide requests now, also on connections that they are about to leave; before there are any, all. */
  const deciding = (): readonly Member[] => {
    const those = [...members].filter(({ isServing, isLeaving }) => isServing || isLeaving);
    return those.length > 0 ? those : [...members];
  };
  /** Waits for the first to take the place of those that have ended: nothing is kept that none has tried. */
  const anybody = async (): Promise<void> => {
    for (let ms = 0; members.size === 0 && !closing && ms < START_MS; ms += STEP_MS)
      await pause(STEP_MS, undefined, { ref: false });
  };
  /** Works with all at once; returns what did not work, but for those that have ended. */
  const each = async (
    work: (member: Member) => Promise<unknown>,
    those: Iterable<Member> = members,
  ): Promise<readonly Failure[]> => {
    const failures: Failure[] = [];
    const one = async (member: Member) => {
      await work(member).catch((error: unknown) => {
        if (!(error instanceof WorkerGone)) failures.push({ member, error });
      });
    };
    await Promise.all([...those].map(one));
    return failures;
  };
  /** It would go on deciding by what may be revoked. */
  const hangs = async ({ member: { thread }, error }: Failure): Promise<void> => {
    log.error('a worker did not take a snapshot, and is ended', { error, worker: thread.slot });
    thread.kill();
    await Promise.race([thread.ended, pause(KILLED_MS, undefined, { ref: false })]);
  };
  const retire = async (member: Member): Promise<void> => {
    const { thread } = member;
    member.isLeaving = true;
    member.isServing = false;
    await thread.ask('leave', deps.leaveMs / 2, FOREVER_MS).catch(() => undefined);
    await thread.ask('drain', undefined, deps.leaveMs / 2).catch(() => undefined);
    await end(member);
  };
  const end = async (member: Member): Promise<void> => {
    member.isLeaving = true;
    member.metrics = await member.thread.ask('close', undefined, CLOSE_MS).catch(() => member.metrics);
    const late = setTimeout(member.thread.kill, CLOSE_MS);
    await member.thread.ended;
    clearTimeout(late);
  };

  return {
    start() {
      for (let made = 0; made < deps.count; made += 1) spawn();
    },
    async listen(at) {
      admin = at;
      const [first, ...others] = [...members];
      if (first === undefined || others.length + 1 < deps.count) throw new WorkerGone('a worker did not start');
      const where = await serve(first);
      for (const member of others) await serve(member);
      return where;
    },
    install: (handover, keep) =>
      inTurn(async () => {
        // One that comes from here on takes it when it is to serve.
        await anybody();
        const those = deciding();
        // One that is about to serve, where none does, has room for one snapshot at a time.
        await Promise.allSettled(those.map(({ catching }) => catching));
        const hangMs = (deps.hangMs ?? HANG_MS) + handover.bytes / BYTES_A_MS;
        const withinMs = those.some(({ isServing }) => isServing) ? hangMs : START_MS;
        const prepare = (one: Member) => one.thread.ask('prepare', handover.lead(holds.get(one)?.digest), withinMs);
        const preparing = new Map(those.map((one) => [one, prepare(one)]));
        await readyToActivate([...preparing.values()]);
        await keep();
        current = handover;
        // Each as soon as it can; all of them before it is said that it is so.
        const failures = await each(async (member) => {
          await preparing.get(member);
          await member.thread.ask('activate', handover.digest, hangMs);
          holds.set(member, handover);
        }, those);
        await Promise.all(failures.map(hangs));
      }),
    async roll() {
      try {
        for (const member of [...members].filter(({ isServing }) => isServing)) {
          // It has ended meanwhile, and is replaced as any other.
          if (!members.has(member)) continue;
          if (!deps.listenAt.reusePort) await retire(member);
          if (closing) return;
          await serve(spawn());
          if (deps.listenAt.reusePort) await retire(member);
        }
      } finally {
        // One that ended while there was one too many was not replaced.
        for (let missing = deps.count - staying(); missing > 0; missing -= 1)
          void replace(new WorkerGone('a worker has ended while they were replaced'));
      }
    },
    async unseal(keys) {
      for (const { member, error } of await each(({ thread }) => thread.ask('unseal', keys, UNSEAL_MS)))
        log.warn('a worker did not take the sealing keys yet', { error, worker: member.thread.slot });
    },
    async metrics() {
      await Promise.all(
        [...members].map(async (member) => {
          member.metrics = await member.thread.ask('metrics', undefined, METRICS_MS).catch(() => member.metrics);
        }),
      );
      return [retired, ...[...members].map(({ metrics }) => metrics)];
    },
    tellOfSpool() {
      for (const { thread } of members) thread.tellOfSpool();
    },
    serving: () => [...members].filter(({ isServing }) => isServing).length,
    async drain() {
      closing = true;
      const drainAll = () =>
        each(async ({ thread, isServing, isLeaving }) => {
          if (isServing || isLeaving) await thread.ask('drain', undefined, FOREVER_MS);
        });
      // Once more for one that was about to listen.
      await Promise.all([drainAll(), turn.then(drainAll)]);
    },
    async close() {
      closing = true;
      await Promise.all([...members].map(end));
      await Promise.all(burying);
    },
  };
}

/**
 * Waits until all have prepared, or a while after the first one has. Throws the code by which one refused until then, and
 * `internal` where all have ended over it: at the next start, from disk, they would again.
 */
async function readyToActivate(preparing: readonly Promise<unknown>[]): Promise<void> {
  let refusal: DaypassError | undefined;
  let gone = 0;
  const settled = preparing.map((one) =>
    one.catch((error: unknown) => {
      if (error instanceof DaypassError) refusal ??= error;
      gone += Number(error instanceof WorkerGone);
    }),
  );
  const all = Promise.all(settled);
  const waited = Promise.any(preparing).then(
    () => pause(PATIENCE_MS, undefined, { ref: false }),
    () => all,
  );
  await Promise.race([all, waited]);
  if (refusal !== undefined) throw refusal;
  if (gone === preparing.length) throw new DaypassError('internal', 'All workers have ended over the snapshot');
}

function freeSlot(taken: ReadonlySet<number>): number {
  for (let slot = 1; slot < SLOTS; slot += 1) if (!taken.has(slot)) return slot;
  throw new Error('there are too many workers');
}
