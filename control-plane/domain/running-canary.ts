// The canary that runs in a pool, and what it keeps from being changed meanwhile.
import { DaypassError } from '@daypass/core/errors';
import type { Aggregates, CanaryRow } from '../store/interface.ts';

/** The canary of a pool, if one runs. */
export const runningCanary = async (tx: Pick<Aggregates, 'canaries'>, pool: string): Promise<CanaryRow | undefined> => {
  const canary = await tx.canaries.get(pool);
  return canary?.endedAt === undefined ? canary : undefined;
};

/** Throws `failed_precondition` where one runs: what it was tried on must stay as it is until it ends. */
export const refuseBesideCanary = async (tx: Pick<Aggregates, 'canaries'>, pool: string): Promise<void> => {
  const canary = await runningCanary(tx, pool);
  if (canary === undefined) return;
  const what = `${canary.subject} by \`${canary.caller}\` on ${canary.nodes.join(', ')}`;
  const message = `A canary runs in the pool \`${pool}\` (${what}): promote it or take it back first`;
  throw new DaypassError('failed_precondition', message);
};

/**
 * Throws `already_exists` where a canary of another pool makes a service of this name: tokens name a service alone, and
 * those for the one would be good for the other on its nodes.
 */
export const refuseNameOfCanary = async (
  tx: Pick<Aggregates, 'canaries'>,
  { name, pool }: { readonly name: string; readonly pool: string },
  field: string,
): Promise<void> => {
  const all = await tx.canaries.list();
  const other = all.find((one) => one.endedAt === undefined && one.service === name && one.pool !== pool);
  if (other === undefined) return;
  const message = `a canary of the pool \`${other.pool}\` is about a service \`${name}\` already`;
  throw new DaypassError('already_exists', message, { field });
};
