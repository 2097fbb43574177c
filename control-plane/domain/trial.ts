// Tries a planned change in a transaction that is rolled back: what it would write, and whether a node would take it.
import type { Aggregates, OperationRow, ServiceRow, Store } from '../store/interface.ts';
import type { CallerActor } from './actor.ts';
import { asItIs, type Note, type Plan } from './change.ts';
import type { Publisher } from './publisher.ts';

/** A service before and after a change; undefined: it is not there. */
export type TriedService = {
  readonly name: string;
  readonly before: ServiceRow | undefined;
  readonly after: ServiceRow | undefined;
  /** Undefined: those that are stored stay. */
  readonly operations: readonly OperationRow[] | undefined;
};

/** What a change would come to. */
export type Trial<T> = {
  readonly value: T;
  readonly note: Note;
  readonly services: readonly TriedService[];
};

/** Tries a change. Throws what making it would throw. */
export type Try = <T>(caller: CallerActor, plan: Plan<T>) => Promise<Trial<T>>;

type Deps = {
  readonly store: Pick<Store, 'transact'>;
  readonly publisher: Pick<Publisher, 'build'>;
};

/** Ends the transaction of a trial, which must not commit, and carries what was found out of it. */
class RolledBack<T> extends Error {
  readonly trial: Trial<T>;

  constructor(trial: Trial<T>) {
    super('a trial is rolled back');
    this.trial = trial;
  }
}

/** Makes Try. */
export const createTry =
  ({ store, publisher }: Deps): Try =>
  async <T>(caller: CallerActor, plan: Plan<T>): Promise<Trial<T>> => {
    try {
      return await store.transact<never>(async (transaction) => {
        const { tx, tried } = noteTried(transaction);
        const { value, pools, note } = await plan.work(tx, await asItIs(tx, caller));
        const written = new Set(tried.keys());
        const maker = { caller: caller.name, method: plan.method, subject: note.path };
        for (const pool of new Set(pools)) await publisher.build(tx, pool, written, maker);
        const services: TriedService[] = [];
        for (const one of tried.values()) services.push({ ...one, after: await tx.services.get(one.name) });
        throw new RolledBack<T>({ value, note, services });
      });
    } catch (error) {
      if (error instanceof RolledBack) return error.trial as Trial<T>;
      throw error;
    }
  };

/** The aggregates of a transaction, and the services that are written through them. */
const noteTried = (tx: Aggregates) => {
  const tried = new Map<string, TriedService>();
  const note = async (name: string, operations?: readonly OperationRow[]): Promise<void> => {
    const known = tried.get(name) ?? { name, before: await tx.services.get(name), after: undefined, operations };
    tried.set(name, { ...known, operations: operations ?? known.operations });
  };
  const { services, operations } = tx;
  const noted: Aggregates = {
    ...tx,
    services: {
      ...services,
      insert: (row) => note(row.name).then(() => services.insert(row)),
      replace: (row) => note(row.name).then(() => services.replace(row)),
      delete: (name) => note(name).then(() => services.delete(name)),
    },
    operations: {
      ...operations,
      replaceAll: (name, rows) => note(name, rows).then(() => operations.replaceAll(name, rows)),
    },
  };
  return { tx: noted, tried };
};
