// How every change is made: checked, written, published and audited in one transaction, then announced.
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates, AuditEventRow, Store, TransactOptions } from '../store/interface.ts';
import { type CallerActor, callerActor } from './actor.ts';
import { type ChangeNote, recordChanges } from './audit-change.ts';
import type { Published, Publisher } from './publisher.ts';
import { refuseBesideCanary } from './running-canary.ts';
import { noteServices } from './written-services.ts';

/** What is said of a change, besides when and in which version. */
export type Note = Omit<ChangeNote, 'id' | 'time' | 'outcome' | 'snapshotVersion' | 'method' | 'caller'>;

/** What a piece of work in a transaction came to. */
export type Work<T> = {
  readonly value: T;
  /** Pools whose snapshot the change touches. */
  readonly pools: readonly string[];
  readonly note: Note;
  /** What else was changed, an audit row each. */
  readonly more?: readonly Note[];
};

/** A change that can be made, or tried and taken back. */
export type Plan<T> = {
  /** The RPC, as `Service/Method`. */
  readonly method: string;
  /** Gets the caller as it is in the transaction. */
  readonly work: (tx: Aggregates, caller: CallerActor) => Promise<Work<T>>;
};

/** Makes changes. */
export type Changes = {
  /**
   * Runs `work`, publishes the pools and writes the audit row in one transaction; all or nothing. `work` gets the caller
   * as it is in that transaction. Throws `unauthenticated` when it was deleted since its key was looked up.
   */
  run<T>(
    caller: CallerActor,
    method: string,
    work: (tx: Aggregates, caller: CallerActor) => Promise<Work<T>>,
    options?: TransactOptions,
  ): Promise<{ readonly value: T; readonly published: readonly Published[] }>;
  /** The same for what the control plane does by itself; undefined: there was nothing to do. */
  own(method: string, work: (tx: Aggregates) => Promise<Work<void> | undefined>): Promise<readonly Published[]>;
  /** Writes the audit row of something that was refused. */
  refuse(caller: CallerActor, method: string, note: Note): Promise<void>;
};

type Deps = {
  readonly store: Pick<Store, 'transact'>;
  readonly publisher: Pick<Publisher, 'build' | 'activate'>;
  /** Hands a committed audit event to whoever follows the audit. */
  readonly announce: (events: readonly AuditEventRow[]) => void;
  /** Milliseconds. */
  readonly now: () => number;
  readonly newId: () => string;
};

/** Makes the one way of changing something. */
export const createChanges = (deps: Deps): Changes => {
  const make = async <T>(
    caller: string,
    method: string,
    work: (tx: Aggregates) => Promise<Work<T> | undefined>,
    options?: TransactOptions,
  ): Promise<{ readonly value: T; readonly published: readonly Published[] } | undefined> => {
    const done = await deps.store.transact(async (transaction) => {
      const { tx, written } = noteServices(transaction);
      const made = await work(tx);
      if (made === undefined) return undefined;
      const { value, pools, note, more = [] } = made;
      if (written.size > 0) for (const pool of new Set(pools)) await refuseBesideCanary(tx, pool);
      const published: Published[] = [];
      const maker = { caller, method, subject: note.path };
      for (const pool of new Set(pools)) published.push(...(await deps.publisher.build(tx, pool, written, maker)));
      // The next snapshot is made of the last one and what is written with it.
      if (written.size > 0 && published.length === 0) throw new DaypassError('internal', 'A service was not published');
      const version = Math.max(0, ...published.map((one) => one.version));
      const stamp = { time: deps.now(), outcome: 'allowed', snapshotVersion: version, caller } as const;
      const notes = [note, ...more].map((one) => ({ ...one, ...stamp, id: deps.newId(), method }));
      return { value, published, events: await recordChanges(tx, notes) };
    }, options);
    if (done === undefined) return undefined;
    for (const one of done.published) deps.publisher.activate(one);
    deps.announce(done.events);
    return { value: done.value, published: done.published };
  };
  return {
    run: async (caller, method, work, options) => {
      const made = await make(caller.name, method, async (tx) => work(tx, await asItIs(tx, caller)), options);
      if (made === undefined) throw new DaypassError('internal', 'A change came to nothing');
      return made;
    },
    own: async (method, work) => (await make('', method, work))?.published ?? [],
    refuse: async (caller, method, note) => {
      const stamp = { id: deps.newId(), time: deps.now(), outcome: 'refused' } as const;
      const events = await deps.store.transact((tx) =>
        recordChanges(tx, [{ ...note, ...stamp, caller: caller.name, method }]),
      );
      deps.announce(events);
    },
  };
};

/** The caller as it is in this transaction. Throws `unauthenticated`: one of the same name that was made later is another. */
export const asItIs = async (tx: Aggregates, caller: CallerActor): Promise<CallerActor> => {
  const row = await tx.callers.get(caller.name);
  if (row === undefined || row.createdAt !== caller.createdAt) {
    throw new DaypassError('unauthenticated', 'No caller has this API key');
  }
  return callerActor(row);
};
