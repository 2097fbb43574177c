// The nodes of a canary: which have the change first, which refused it, and whether all of them have it.
import { DaypassError } from '@daypass/core/errors';
import { MAX_CANARY_NODES } from '@daypass/core/snapshot';
import type { CanaryRow, NodeRow } from '../store/interface.ts';

/** Which nodes get a change first: so many, or these. */
export type CanaryPlan = {
  readonly count: number;
  readonly nodes: readonly string[];
  /** Undefined: it waits for somebody. */
  readonly promoteAfterMs: number | undefined;
};

/** Of those that have a running lease, in name order; at least one of these must stay as it is. */
export const chooseNodes = (all: readonly NodeRow[], { count, nodes }: CanaryPlan, now: number): readonly string[] => {
  const alive = all.filter(({ leaseExpiresAt }) => leaseExpiresAt > now).map(({ name }) => name);
  if ((count === 0) === (nodes.length === 0) || Math.max(count, nodes.length) > MAX_CANARY_NODES) {
    const message = `must say how many nodes, or name them; at most ${MAX_CANARY_NODES}`;
    throw new DaypassError('invalid_argument', message, { field: 'canary' });
  }
  const silent = nodes.find((name) => !alive.includes(name));
  if (silent !== undefined) {
    const message = `the pool has no node \`${silent.slice(0, 63)}\` with a running lease`;
    throw new DaypassError('failed_precondition', message, { field: 'canary.nodes' });
  }
  const chosen = nodes.length > 0 ? [...new Set(nodes)] : alive.slice(0, count);
  if (chosen.length < Math.max(count, 1) || chosen.length >= alive.length) {
    const message = `the pool has ${alive.length} nodes with a running lease, one of which must stay as it is`;
    throw new DaypassError('failed_precondition', message, { field: 'canary' });
  }
  return chosen;
};

/** A node that cannot take the change: it goes on with what it had. */
export const refusalBy = (nodes: readonly NodeRow[], { version }: Pick<CanaryRow, 'version'>): string | undefined => {
  const node = nodes.find(({ nackCode, nackVersion }) => nackCode !== '' && nackVersion >= version);
  return node && `${node.name} refused the snapshot: ${node.nackCode}`;
};

/** Its time has come, and each of its nodes that lives has it. */
export const isDue = (
  { promoteAt, version }: Pick<CanaryRow, 'promoteAt' | 'version'>,
  nodes: readonly NodeRow[],
  now: number,
): boolean => {
  const alive = nodes.filter(({ leaseExpiresAt }) => leaseExpiresAt > now);
  return (
    promoteAt !== undefined && now >= promoteAt && alive.length > 0 && alive.every((node) => node.version >= version)
  );
};
