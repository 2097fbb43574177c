// The newest snapshots of each pool: the one for all of its nodes, and while a canary runs the one for some.
import type { Published } from './published.ts';

/** The newest, as far as they are known here. */
export type SnapshotLines = {
  /** Takes one up; false where one as new of its line is known. */
  add(published: Published): boolean;
  /** The newest for a node, or without a name for those that are in no canary. */
  current(pool: string, node?: string): Published | undefined;
  /** The newest of all. */
  last(pool: string): Published | undefined;
};

type Line = 'all' | 'some';

/** Knows nothing at first. */
export const createSnapshotLines = (): SnapshotLines => {
  const lines = { all: new Map<string, Published>(), some: new Map<string, Published>() };
  const lineOf = ({ nodes }: Published): Line => (nodes === undefined ? 'all' : 'some');
  /** Each publish of a pool makes the one for all and then the one for some: where that is older, no canary runs. */
  const canary = (pool: string): Published | undefined => {
    const [all, some] = [lines.all.get(pool), lines.some.get(pool)];
    return some !== undefined && some.version > (all?.version ?? 0) ? some : undefined;
  };
  return {
    add: (published) => {
      const line = lines[lineOf(published)];
      const active = line.get(published.pool);
      if (active !== undefined && active.version >= published.version) return false;
      line.set(published.pool, published);
      return true;
    },
    current: (pool, node) => {
      const some = canary(pool);
      return node !== undefined && some?.nodes?.includes(node) === true ? some : lines.all.get(pool);
    },
    last: (pool) => canary(pool) ?? lines.all.get(pool),
  };
};
