// Public keys that the control plane hands out: what verifies tokens, and what credentials are sealed to.
import { DaypassError } from '@daypass/core/errors';
import type { PublicJwk, SignedKeyBytes, VerifiedKey } from '@daypass/core/key';
import type { KeyEntry } from '@daypass/core/service';

/** A sealing key with the root's signature. */
export type SealingKey = { readonly verified: VerifiedKey; readonly signed: SignedKeyBytes };

/** The public keys. */
export type Keys = {
  /** A JWK set as JSON text (RFC 7517 §5). */
  jwks(): string;
  /** Sealing keys of a pool that have not ended, the one to use first. Throws `not_found`. */
  sealing(pool: string): { readonly fleet: string; readonly root: string; readonly keys: readonly SignedKeyBytes[] };
  /** Ids of a pool's sealing keys that have not ended; undefined: there is no such pool. */
  sealingKids(pool: string): ReadonlySet<string> | undefined;
};

type Deps = {
  readonly fleet: string;
  readonly root: PublicJwk;
  readonly verification: readonly KeyEntry[];
  readonly sealing: ReadonlyMap<string, readonly SealingKey[]>;
  readonly hasPool: (pool: string) => boolean;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Makes the keeper of public keys. */
export const createKeys = (deps: Deps): Keys => {
  const living = (pool: string): readonly SealingKey[] =>
    (deps.sealing.get(pool) ?? []).filter(({ verified }) => deps.now() < verified.not_after * 1000);
  return {
    jwks: () =>
      JSON.stringify({ keys: deps.verification.map(({ kid, alg, jwk }) => ({ ...jwk, kid, alg, use: 'sig' })) }),
    sealing: (asked) => {
      const pool = asked === '' ? 'default' : asked;
      if (!deps.hasPool(pool)) throw new DaypassError('not_found', `there is no pool \`${pool}\``, { field: 'pool' });
      const keys = living(pool).map(({ signed }) => signed);
      return { fleet: deps.fleet, root: JSON.stringify(deps.root), keys };
    },
    sealingKids: (pool) => (deps.hasPool(pool) ? new Set(living(pool).map(({ verified }) => verified.kid)) : undefined),
  };
};
