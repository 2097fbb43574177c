// What a node is sent, by what it has: nothing, what changed since, or the whole; never anything older that was published.
import { DaypassError } from '@daypass/core/errors';
import type { NodeActor } from './actor.ts';
import type { Published } from './published.ts';
import type { Publisher } from './publisher.ts';
import type { SnapshotDelta } from './snapshot-delta.ts';
import type { SnapshotState } from './snapshot-state.ts';

/** What a node has (version 0: nothing), and whether it takes deltas. */
export type NodeState = SnapshotState & { readonly acceptsDelta: boolean };

/** The newest snapshot, whole or as what leads there. */
export type SnapshotEvent =
  | { readonly kind: 'snapshot'; readonly published: Published }
  | { readonly kind: 'delta'; readonly published: Published; readonly delta: SnapshotDelta };

/** Whose snapshots are asked for. */
export type FedNode = Pick<NodeActor, 'name' | 'pool'>;

/** What is known here for a node. */
export type NodeFeed = {
  /** The newest that it is to have. Throws `unavailable` before the first. */
  newest(node: FedNode): Published;
  /** What brings it there; undefined: it is there, or may be ahead of this replica. Throws as `newest` does. */
  next(node: FedNode, has: NodeState): Promise<SnapshotEvent | undefined>;
};

/** Makes the feed. */
export const createNodeFeed = (publisher: Pick<Publisher, 'current' | 'delta' | 'learn'>): NodeFeed => {
  const newest = ({ pool, name }: FedNode): Published => {
    const published = publisher.current(pool, name);
    if (published === undefined) throw new DaypassError('unavailable', `The pool \`${pool}\` has no snapshot`);
    return published;
  };
  return {
    newest,
    next: async (node, has) => {
      // Another replica has published what the node has. Where the database does not answer, the node keeps it.
      const isAhead = (publisher.current(node.pool, node.name)?.version ?? 0) < has.version;
      const isUnsure = isAhead && !(await soon(publisher.learn().then(() => true)));
      const published = newest(node);
      // What no replica has published is not waited for: the node refuses the newest and says why, or takes it where the
      // root has begun a new generation of keys.
      if ((isUnsure && published.version < has.version) || isAt(has, published)) return undefined;
      if (!has.acceptsDelta || has.version === 0) return { kind: 'snapshot', published };
      // Where the database does not answer, the whole is at hand.
      const delta = await soon(publisher.delta(node.pool, has, node.name));
      return delta === undefined
        ? { kind: 'snapshot', published: newest(node) }
        : { kind: 'delta', published: delta.to, delta };
    },
  };
};

/** A node takes a longer silence for death. */
const DATABASE_MS_MAX = 2000;

/** What comes of it; undefined where it fails, or not before long. */
const soon = async <T>(work: Promise<T>): Promise<T | undefined> => {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => resolve(undefined), DATABASE_MS_MAX);
  try {
    return await Promise.race([work, late]);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
  }
};

/** One that has another digest of the same version is sent the whole: it will say that it was told two things. */
const isAt = (has: SnapshotState, { version, digest }: SnapshotState): boolean =>
  has.version === version && has.digest === digest;
