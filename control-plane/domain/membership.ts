// The nodes as an admin sees them, and how one is expelled.
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates, NodeRow } from '../store/interface.ts';
import type { CallerActor } from './actor.ts';
import type { Changes } from './change.ts';
import { isEnrolled } from './node-row.ts';
import { cutPage, decodePageToken, encodePageToken, pageSize } from './page.ts';
import type { Publisher } from './publisher.ts';
import type { Rollout, Rollouts, Waiting } from './rollout.ts';

/** A node, whether it may connect, and the newest version of its pool (0: there is no such pool). */
export type KnownNode = {
  readonly row: NodeRow;
  readonly state: 'enrolled' | 'expelled' | 'withdrawn';
  readonly newestVersion: number;
};

/** The nodes of the fleet. */
export type Membership = {
  list(page: {
    readonly pageSize: number;
    readonly pageToken: string;
  }): Promise<{ readonly nodes: readonly KnownNode[]; readonly nextPageToken: string }>;
  /** Ends its key and what it has under way, for ever. The others are told that they are one less. */
  expel(
    by: CallerActor,
    name: string,
    waiting: Waiting,
  ): Promise<{ readonly node: KnownNode; readonly rollout: Rollout }>;
};

type Deps = {
  readonly changes: Changes;
  readonly rollouts: Pick<Rollouts, 'wait'>;
  readonly publisher: Pick<Publisher, 'hasPool' | 'current'>;
  readonly read: Pick<Aggregates, 'nodes'>;
  /** Ends what nodes that are not enrolled any more have under way here. */
  readonly recheck: () => Promise<void>;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Makes the keeper of the membership. */
export const createMembership = (deps: Deps): Membership => {
  const known = (row: NodeRow): KnownNode => {
    const newestVersion = deps.publisher.current(row.pool, row.name)?.version ?? 0;
    return { row, state: stateOf(row), newestVersion };
  };
  return {
    list: async (page) => {
      const size = pageSize(page.pageSize);
      const [cursor] = decodePageToken('nodes', page.pageToken, ['string']) ?? [];
      const after = typeof cursor === 'string' ? cursor : undefined;
      const cut = cutPage(await deps.read.nodes.list({ after, limit: size + 1 }), size);
      const nextPageToken = cut.last === undefined ? '' : encodePageToken('nodes', [cut.last.name]);
      return { nodes: cut.page.map(known), nextPageToken };
    },
    expel: async (by, name, { waitMs, signal }) => {
      const { value, published } = await deps.changes.run(by, 'NodeService/Expel', async (tx) => {
        const row = await tx.nodes.get(name);
        if (row === undefined) throw new DaypassError('not_found', `there is no node \`${name}\``, { field: 'name' });
        const at = deps.now();
        if (!(await tx.nodes.expel(name, at)))
          throw new DaypassError('failed_precondition', `\`${name}\` was expelled before`, { field: 'name' });
        // A pool that was given up has no snapshot.
        const pools = deps.publisher.hasPool(row.pool) ? [row.pool] : [];
        return { value: { ...row, expelledAt: at }, pools, note: { path: `nodes/${name}` } };
      });
      await deps.recheck();
      return { rollout: await deps.rollouts.wait(published, waitMs, signal), node: known(value) };
    },
  };
};

const stateOf = (row: NodeRow): KnownNode['state'] => {
  if (row.expelledAt !== undefined) return 'expelled';
  return isEnrolled(row) ? 'enrolled' : 'withdrawn';
};
