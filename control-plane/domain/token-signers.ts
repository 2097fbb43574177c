// The private halves of token keys that this control plane holds, and which of them signs in a transaction.
import type { KeyObject } from 'node:crypto';
import { DaypassError } from '@daypass/core/errors';
import type { PublicJwk } from '@daypass/core/key';
import type { Aggregates } from '../store/interface.ts';
import { signingKeys, withToken } from './key-states.ts';
import { createTokenSigner, type TokenSigner } from './token-signer.ts';

/** A token key with its private half. */
export type TokenKey = { readonly kid: string; readonly publicJwk: PublicJwk; readonly key: KeyObject };

/** Signers by the state that the database holds. */
export type TokenSigners = {
  /** Puts these in the place of those that were held. */
  hold(keys: readonly TokenKey[]): void;
  held(): readonly TokenKey[];
  /**
   * What signs in this transaction: the newest key that all nodes know, of those held here. Throws `unavailable` where
   * none of them is held.
   */
  of(tx: Pick<Aggregates, 'keys'>): Promise<TokenSigner>;
  /** Notes in the transaction that a token of the key ends then (milliseconds). */
  used(tx: Pick<Aggregates, 'keys'>, kid: string, expiresAt: number): Promise<void>;
};

/** Holds none yet. */
export const createTokenSigners = (): TokenSigners => {
  let held = new Map<string, TokenKey>();
  let last: TokenSigner | undefined;
  return {
    hold: (keys) => {
      held = new Map(keys.map((key) => [key.kid, key]));
      last = undefined;
    },
    held: () => [...held.values()],
    of: async (tx) => {
      const row = signingKeys(await tx.keys.all()).find(({ kid }) => held.has(kid));
      const key = row && held.get(row.kid);
      if (row === undefined || key === undefined)
        throw new DaypassError('unavailable', 'This control plane holds no key that tokens may be signed with yet');
      if (last?.kid !== row.kid || last.issuer !== row.issuer) last = createTokenSigner(row.issuer, row.kid, key.key);
      return last;
    },
    used: async (tx, kid, expiresAt) => {
      const row = (await tx.keys.all()).find((one) => one.kid === kid);
      if (row === undefined) return;
      const after = withToken(row, expiresAt);
      if (after !== row) await tx.keys.put(after);
    },
  };
};
