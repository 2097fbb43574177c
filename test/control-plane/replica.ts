// One of several control planes on one database, as far as snapshots go: a store and a publisher of its own.

import type { Published } from '../../control-plane/domain/published.ts';
import { createPublisher, type Publisher } from '../../control-plane/domain/publisher.ts';
import { noteServices } from '../../control-plane/domain/written-services.ts';
import type { ControlHome } from '../../control-plane/home.ts';
import { readControlHome } from '../../control-plane/home.ts';
import type { Aggregates, Store } from '../../control-plane/store/interface.ts';
import { openStore } from '../../control-plane/store/open.ts';
import type { Home } from './fixture.ts';

export const POOL = 'default';

export type Replica = {
  readonly store: Store;
  readonly publisher: Publisher;
  /** Makes a change and publishes it; throws what `work` throws, and then publishes nothing. */
  change(work: (tx: Aggregates) => Promise<unknown>): Promise<Published>;
  /** The newest of the pool. */
  newest(): Published;
  /** How many pages of services were read since it was asked last. */
  servicesRead(): number;
};

/** What a control plane reads of a home. */
export const readHome = (home: Home): Promise<ControlHome> => {
  const silent = () => {};
  return readControlHome(home.path, { debug: silent, info: silent, warn: silent, error: silent });
};

/** Opens a replica; it is not started. */
export const openReplica = async (
  home: ControlHome,
  url: string,
  { now = Date.now, leaseMs = 3_600_000 } = {},
): Promise<Replica> => {
  const store = await openStore({ url });
  let pages = 0;
  const counting = (tx: Aggregates): Aggregates => ({
    ...tx,
    services: {
      ...tx.services,
      ofPool: (pool, page) => {
        pages += 1;
        return tx.services.ofPool(pool, page);
      },
    },
  });
  const counted: Store = { ...store, transact: (work) => store.transact((tx) => work(counting(tx))) };
  const publisher = createPublisher({
    ...{ store: counted, fleet: home.fleet, root: home.root, signers: () => home.snapshotSigners, leaseMs, now },
  });
  return {
    store,
    publisher,
    change: async (work) => {
      const published = await counted.transact(async (transaction) => {
        const { tx, written } = noteServices(transaction);
        await work(tx);
        return publisher.build(tx, POOL, written, { caller: 'ci', method: 'Some/Method', subject: 'services/x' });
      });
      for (const one of published) publisher.activate(one);
      const [first] = published;
      if (first === undefined) throw new Error('nothing was published');
      return first;
    },
    newest: () => {
      const published = publisher.current(POOL);
      if (published === undefined) throw new Error('there is no snapshot');
      return published;
    },
    servicesRead: () => {
      const read = pages;
      pages = 0;
      return read;
    },
  };
};
