// What is done when another control plane on the same database has written.
import type { Notifier } from './domain/notifier.ts';
import type { Publisher } from './domain/publisher.ts';
import type { Insist } from './insist.ts';
import type { Notices, StoredChain, Topic } from './store/interface.ts';

type Deps = {
  readonly publisher: Pick<Publisher, 'learn'>;
  /** Wakes who waits for reports of nodes. */
  readonly reported: Pick<Notifier, 'notify'>;
  /** Ends the streams of nodes that were expelled. */
  readonly recheckNodes: () => Promise<void>;
  /** Reads the public keys again. */
  readonly learnKeys: () => Promise<void>;
  readonly auditElsewhere: (chain: StoredChain | undefined) => Promise<void>;
  /** One question that the database did not answer must not leave an expelled node its stream, or nodes without a revocation. */
  readonly insist: Pick<Insist, 'run'>;
};

/** Makes the listener to the store's notices; never throws. */
export const createHeed = (deps: Deps): Parameters<Notices['on']>[0] => {
  const run = (topic: Topic, work: () => Promise<void>): void => void deps.insist.run(topic, work);
  return (topic, chain) => {
    switch (topic) {
      case 'snapshots':
        return run(topic, deps.publisher.learn);
      case 'reports':
        return deps.reported.notify();
      case 'nodes':
        // Who waits for a node that was expelled waits no longer.
        deps.reported.notify();
        return run(topic, deps.recheckNodes);
      case 'audit':
        return run(topic, () => deps.auditElsewhere(chain));
      case 'keys':
        return run(topic, deps.learnKeys);
      default:
        return topic satisfies never;
    }
  };
};
