// Retires keys: a token key verifies nothing any more, nothing is sealed to a sealing key any more.
import { DaypassError } from '@daypass/core/errors';
import { readSealKid } from '@daypass/core/seal';
import type { Aggregates, KeyRow } from '../store/interface.ts';
import type { CallerActor } from './actor.ts';
import type { Changes, Work } from './change.ts';
import { activationTime, livingKeys, signingKeys, waitingKeys } from './key-states.ts';
import type { Keys, SealingKey, SealingKeys } from './keys.ts';
import type { Publisher } from './publisher.ts';
import type { Rollout, Rollouts, Waiting } from './rollout.ts';
import { runningCanary } from './running-canary.ts';
import { servicesBySeal } from './sealed-services.ts';

/** What came of it. */
export type Retired = {
  readonly rollout: Rollout;
  /** Tokens that have not ended and carry a credential sealed to the key. */
  readonly tokens: number;
};

/** Retires a key. */
export type RetireKey = (
  caller: CallerActor,
  asked: { readonly kid: string; readonly force: boolean },
  waiting: Waiting,
) => Promise<Retired>;

type Deps = {
  readonly changes: Changes;
  readonly rollouts: Rollouts;
  readonly publisher: Pick<Publisher, 'pools'>;
  readonly keys: Pick<Keys, 'learn'>;
  readonly sealingKeys: () => SealingKeys;
  /** Milliseconds. */
  readonly now: () => number;
};

const METHOD = 'KeyService/Retire';
const NAMED_MAX = 20;

/**
 * Makes Retire. Retiring twice is no error.
 * @throws {DaypassError} `not_found`; `failed_precondition` for the token key that signs, unless `force` makes one that
 * waits take its place at once, and for a sealing key that services still need
 */
export const createRetireKey =
  (deps: Deps): RetireKey =>
  async (caller, { kid, force }, { waitMs, signal }) => {
    const { value: tokens, published } = await deps.changes.run(caller, METHOD, async (tx) => {
      const rows = await tx.keys.all();
      const row = rows.find((one) => one.kid === kid);
      if (row?.use === 'token') return retireToken(tx, rows, row, force, deps);
      const sealing = findSealing(deps.sealingKeys(), kid);
      if (row === undefined && sealing === undefined)
        throw new DaypassError('not_found', 'there is no such token or sealing key', { field: 'kid' });
      if (row === undefined && sealing !== undefined) await retireSealing(tx, sealing, deps);
      return { value: await tx.tokens.aliveWithSeal(kid, deps.now()), pools: [], note: { path: `keys/${kid}` } };
    });
    await deps.keys.learn();
    return { tokens, rollout: await deps.rollouts.wait(published, waitMs, signal) };
  };

const retireToken = async (
  tx: Aggregates,
  rows: readonly KeyRow[],
  row: KeyRow,
  force: boolean,
  { publisher, now }: Deps,
): Promise<Work<number>> => {
  const note = { path: `keys/${row.kid}` };
  if (row.retiredAt !== undefined) return { value: 0, pools: [], note };
  if (signingKeys(rows)[0]?.kid === row.kid) {
    const successor = signingKeys(rows)[1] ?? waitingKeys(rows).at(-1);
    if (!force || successor === undefined) throw signs(livingKeys(rows).length > 1);
    await tx.keys.put({ ...successor, activatedAt: activationTime(rows, now()) });
  }
  await tx.keys.put({ ...row, retiredAt: now() });
  return { value: 0, pools: publisher.pools(), note };
};

const signs = (hasOther: boolean): DaypassError => {
  const advice = hasOther
    ? 'wait until the new one signs, or force it, which fails the tokens that data planes do not know the key of yet'
    : 'make another one first, with `daypass keys rotate token`';
  return new DaypassError('failed_precondition', `is the key that signs tokens now: ${advice}`, { field: 'kid' });
};

const retireSealing = async (tx: Aggregates, { verified }: SealingKey, deps: Deps): Promise<void> => {
  const { kid, pool, jwk } = verified;
  const others = (deps.sealingKeys().get(pool) ?? []).filter((one) => one.verified.kid !== kid);
  const known = new Set((await tx.keys.all()).map((row) => row.kid));
  if (others.every((one) => known.has(one.verified.kid)))
    throw new DaypassError('failed_precondition', 'is the only one of its pool: make another one first', FIELD);
  const stored = (await servicesBySeal(tx, pool)).get(kid) ?? [];
  // What some nodes have first needs the key as well, there and for all once it is promoted.
  const canary = await runningCanary(tx, pool);
  const sealed = canary?.change.after?.sealedCredential;
  const isOnCanary = sealed !== undefined && readSealKid(sealed) === kid;
  const names = canary !== undefined && isOnCanary ? [...new Set([...stored, canary.service])] : stored;
  if (names.length > 0) {
    const more = names.length > NAMED_MAX ? ` and ${names.length - NAMED_MAX} more` : '';
    const message = `is needed by ${names.slice(0, NAMED_MAX).join(', ')}${more}: \`daypass credentials reseal\` first`;
    throw new DaypassError('failed_precondition', message, FIELD);
  }
  const at = deps.now();
  const dates = { createdAt: at, activatedAt: undefined, retiredAt: at, lastExpiresAt: 0 };
  const { kty, crv, x } = jwk;
  await tx.keys.put({ kid, use: 'seal', jwk: { kty, crv, x }, alg: 'ECDH-ES', issuer: '', ...dates });
};

const FIELD = { field: 'kid' } as const;

const findSealing = (keys: SealingKeys, kid: string): SealingKey | undefined =>
  [...keys.values()].flat().find(({ verified }) => verified.kid === kid);
