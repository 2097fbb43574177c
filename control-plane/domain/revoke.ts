// Revokes tokens: one by its id or text, or all of a kind by a cut-off (RFC 7009).
import { DaypassError } from '@daypass/core/errors';
import { LARGEST_TTL_SECONDS } from '@daypass/core/service';
import { verifyToken } from '@daypass/core/token';
import type { Aggregates, SnapshotRow } from '../store/interface.ts';
import { type CallerActor, ownsToken } from './actor.ts';
import type { Changes, Work } from './change.ts';
import { type CutOffInput, checkOwnCutOffs, readCutOff, timeOfCutOff } from './cut-off.ts';
import type { Keyring } from './keyring.ts';
import type { Publisher } from './publisher.ts';
import type { Rollout, Rollouts, Waiting } from './rollout.ts';

/** What to revoke. */
export type RevokeTarget =
  | { readonly kind: 'jti'; readonly jti: string }
  | { readonly kind: 'token'; readonly token: string }
  | { readonly kind: 'cut_off'; readonly cutOff: CutOffInput };

type Deps = {
  readonly changes: Changes;
  readonly rollouts: Rollouts;
  readonly publisher: Pick<Publisher, 'pools'>;
  readonly keyring: Keyring;
  readonly fleet: string;
  /** Milliseconds. */
  readonly now: () => number;
  readonly newId: () => string;
};

const METHOD = 'TokenService/Revoke';

/**
 * Makes Revoke. Revoking twice is no error.
 * @throws {DaypassError} `not_found`, `invalid_argument` for a token of somebody else's making, `permission_denied`
 */
export const createRevoke =
  (deps: Deps) =>
  async (caller: CallerActor, target: RevokeTarget, { waitMs, signal }: Waiting): Promise<Rollout> => {
    const jti = target.kind === 'cut_off' ? undefined : await readJti(target, deps);
    const work = (tx: Aggregates) =>
      target.kind === 'cut_off' ? cutOff(tx, deps, caller, target.cutOff) : revokeOne(tx, deps, caller, jti ?? '');
    const { value: standing, published } = await deps.changes.run(caller, METHOD, work, { urgent: true });
    return deps.rollouts.wait(standing === undefined ? published : [standing], waitMs, signal);
  };

const readJti = async (target: Exclude<RevokeTarget, { kind: 'cut_off' }>, deps: Deps): Promise<string> => {
  if (target.kind === 'jti') return target.jti;
  try {
    return (await verifyToken(target.token, { keys: await deps.keyring(), audience: deps.fleet })).jti;
  } catch (cause) {
    const message = 'is not a token that this control plane signed';
    throw new DaypassError('invalid_argument', message, { field: 'token', cause });
  }
};

/** Revoked before: nothing new is published, the receipt is that of what stands for all, whichever control plane published it. */
type RevokeWork = Work<SnapshotRow | undefined>;

const revokeOne = async (tx: Aggregates, deps: Deps, caller: CallerActor, jti: string): Promise<RevokeWork> => {
  const row = await tx.tokens.get(jti);
  if (row === undefined || !ownsToken(caller, row)) {
    throw new DaypassError('not_found', 'there is no such token', { field: 'jti' });
  }
  const fresh = await tx.tokens.revoke(jti, deps.now());
  const pool = (await tx.services.get(row.service))?.config.pool;
  const { client, subject: principal } = row;
  return {
    value: fresh || pool === undefined ? undefined : await tx.snapshots.latestForAll(pool),
    pools: fresh && pool !== undefined ? [pool] : [],
    note: { path: `tokens/${jti}`, jti, service: row.service, client, principal },
  };
};

const cutOff = async (tx: Aggregates, deps: Deps, caller: CallerActor, input: CutOffInput): Promise<RevokeWork> => {
  const entry = readCutOff(input, caller, await timeOfCutOff(tx, deps.now()));
  const id = deps.newId();
  const row = { id, entry, createdAt: deps.now() };
  checkOwnCutOffs(await tx.cutOffs.all(deps.now() - LARGEST_TTL_SECONDS * 1000), row, caller);
  await tx.cutOffs.insert(row);
  const service = entry.service === undefined ? undefined : await tx.services.get(entry.service);
  const touched =
    entry.service === undefined ? deps.publisher.pools() : service === undefined ? [] : [service.config.pool];
  return {
    value: undefined,
    pools: touched,
    note: {
      path: `cutoffs/${id}`,
      service: input.service,
      client: input.client,
      principal: input.subject,
      credentialId: input.credentialId,
    },
  };
};
