// Public keys that the control plane hands out: what verifies tokens, and what credentials are sealed to.
import { DaypassError } from '@daypass/core/errors';
import type { PublicJwk, SignedKeyBytes, VerifiedKey } from '@daypass/core/key';
import type { Aggregates } from '../store/interface.ts';
import { keyEntry, livingKeys } from './key-states.ts';
import { shareAsked } from './share-asked.ts';

/** A sealing key with the root's signature. */
export type SealingKey = { readonly verified: VerifiedKey; readonly signed: SignedKeyBytes };

/** Sealing keys by pool, the one to use first. */
export type SealingKeys = ReadonlyMap<string, readonly SealingKey[]>;

/** The public keys. */
export type Keys = {
  /** A JWK set as JSON text (RFC 7517 §5). */
  jwks(): Promise<string>;
  /** Sealing keys of a pool that are in use, the one to use first. Throws `not_found`. */
  sealing(pool: string): { readonly fleet: string; readonly root: string; readonly keys: readonly SignedKeyBytes[] };
  /** Ids of a pool's sealing keys that are in use; undefined: there is no such pool. */
  sealingKids(pool: string): ReadonlySet<string> | undefined;
  /** Learns which sealing keys are retired, by whichever control plane. */
  learn(): Promise<void>;
};

type Deps = {
  readonly fleet: string;
  readonly root: PublicJwk;
  readonly read: Pick<Aggregates, 'keys'>;
  /** As the home has them now. */
  readonly sealingKeys: () => SealingKeys;
  readonly hasPool: (pool: string) => boolean;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Makes the keeper of public keys; it has learned nothing yet. */
export const createKeys = ({ read, ...deps }: Deps): Keys => {
  let retired: ReadonlySet<string> = new Set();
  const living = (pool: string): readonly SealingKey[] =>
    (deps.sealingKeys().get(pool) ?? []).filter(
      ({ verified: { kid, not_after } }) => deps.now() < not_after * 1000 && !retired.has(kid),
    );
  const jwks = shareAsked(async () => {
    const entries = livingKeys(await read.keys.all()).map(keyEntry);
    return JSON.stringify({ keys: entries.map(({ kid, alg, jwk }) => ({ ...jwk, kid, alg, use: 'sig' })) });
  });
  return {
    jwks: () => jwks(''),
    sealing: (asked) => {
      const pool = asked === '' ? 'default' : asked;
      if (!deps.hasPool(pool)) throw new DaypassError('not_found', `there is no pool \`${pool}\``, { field: 'pool' });
      const keys = living(pool).map(({ signed }) => signed);
      return { fleet: deps.fleet, root: JSON.stringify(deps.root), keys };
    },
    sealingKids: (pool) => (deps.hasPool(pool) ? new Set(living(pool).map(({ verified }) => verified.kid)) : undefined),
    learn: async () => {
      const rows = await read.keys.all();
      retired = new Set(rows.filter(({ use }) => use === 'seal').map(({ kid }) => kid));
    },
  };
};
