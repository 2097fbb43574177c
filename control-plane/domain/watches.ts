// The watches that run: so many at a time, and none of a node that is not enrolled any more.
import { DaypassError } from '@daypass/core/errors';
import type { NodeStore } from '../store/interface.ts';
import type { NodeActor } from './actor.ts';
import { isEnrolled } from './node-row.ts';

/** Watches that run. */
export type Watches = {
  /**
   * Takes a place until it is disposed of; `ended` aborts, with the error that the watch is to end with, when the node is
   * expelled, or when a newer watch of it needs its place. Throws `overloaded`, or `unauthenticated` where it was expelled
   * since it showed its key.
   */
  enter(node: NodeActor): Promise<Disposable & { readonly ended: AbortSignal }>;
  /** Ends those of nodes that are not enrolled any more: whoever expelled them, here or at another control plane. */
  recheck(): Promise<void>;
};

/**
 * Watches at a time: a node needs one, and a second while it reconnects. One whose connection was lost without a word is here
 * for as long as the system sends again, a quarter of an hour: it must not keep its node out.
 */
const WATCHES_MAX = 4096;
const NODE_WATCHES_MAX = 8;

type Running = { readonly node: NodeActor; readonly ending: AbortController };

/** Makes the keeper of watches. */
export const createWatches = (nodes: Pick<NodeStore, 'get' | 'ofPool'>, most = WATCHES_MAX): Watches => {
  const running = new Set<Running>();
  /** The oldest first. */
  const ofNode = new Map<string, Set<Running>>();

  const leave = (one: Running): void => {
    if (!running.delete(one)) return;
    const own = ofNode.get(one.node.name);
    own?.delete(one);
    if (own?.size === 0) ofNode.delete(one.node.name);
  };

  const makeRoom = ({ name }: NodeActor): void => {
    const own = ofNode.get(name);
    if (running.size < most && (own?.size ?? 0) < NODE_WATCHES_MAX) return;
    const [oldest] = own ?? [];
    if (oldest === undefined) throw new DaypassError('overloaded', 'There are too many watches');
    leave(oldest);
    oldest.ending.abort(new DaypassError('overloaded', 'A newer watch of the node has taken the place of this one'));
  };

  const recheck = async (pools: ReadonlySet<string>): Promise<void> => {
    for (const pool of pools) {
      // Those that enter while the question is asked see to it themselves.
      const asked = [...running].filter(({ node }) => node.pool === pool);
      const enrolled = new Set((await nodes.ofPool(pool)).map(({ name }) => name));
      for (const { node, ending } of asked) if (!enrolled.has(node.name)) ending.abort(expelled());
    }
  };

  return {
    enter: async (node) => {
      makeRoom(node);
      const one: Running = { node, ending: new AbortController() };
      running.add(one);
      const own = ofNode.get(node.name) ?? new Set();
      ofNode.set(node.name, own.add(one));
      try {
        // Asked when `recheck` knows of it: one that is expelled meanwhile is seen by the one or by the other.
        const row = await nodes.get(node.name);
        if (!isEnrolled(row) || row.pool !== node.pool) throw expelled();
      } catch (error) {
        leave(one);
        throw error;
      }
      return { ended: one.ending.signal, [Symbol.dispose]: () => leave(one) };
    },
    recheck: () => recheck(new Set([...running].map(({ node }) => node.pool))),
  };
};

const expelled = (): DaypassError => new DaypassError('unauthenticated', 'The node is not enrolled any more');
