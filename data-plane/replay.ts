// The proofs that were used on this node: each is good once (RFC 9449 §11.1). Bounded, and nobody can use it up alone.
import { PROOF_AHEAD_SECONDS, PROOF_SECONDS } from '@daypass/core/dpop';
import { DaypassError } from '@daypass/core/errors';
import { RetryLater } from './refusal.ts';
import type { Proofs, Standing } from './shared/proofs.ts';

/** One use of a proof. */
export type ProofUse = {
  readonly jkt: string;
  readonly jti: string;
  /** Seconds. */
  readonly iat: number;
  /** The token that it was shown with. */
  readonly token: { readonly jti: string; readonly caller: string };
};

/** The memory. Both throw `proof_replayed`, or `rate_limited` and `overloaded` when there is no room to remember it. */
export type Replays = {
  /** Whether it would be taken now. */
  check(use: ProofUse): void;
  /** Takes it: no other of the same key and id is taken from here on, by no thread of this node. */
  take(use: ProofUse): void;
};

/** After this long its own time refuses a proof. */
export const PROOF_KEPT_MS = (PROOF_SECONDS + PROOF_AHEAD_SECONDS + 1) * 1000;

/** Parts of the memory that one token, and one caller, may fill. */
const TOKEN_PART = 1 / 16;
const CALLER_PART = 1 / 4;

/** Returns the rules over a memory of at most `max` proofs. */
export function createReplays(proofs: Proofs, max: number): Replays {
  const check = ({ isUsed, counts: [token, caller], size }: Standing): void => {
    if (isUsed) throw new DaypassError('proof_replayed', 'The proof was used before');
    if (token >= max * TOKEN_PART || caller >= max * CALLER_PART)
      throw new RetryLater('rate_limited', 'Too many requests with proofs came within a minute', 1);
    if (size >= max) throw new RetryLater('overloaded', 'No further proof can be remembered', 1);
  };
  const decide = (use: ProofUse, isTaken: boolean): void =>
    proofs.decide(
      {
        key: `p ${use.jkt} ${use.jti}`,
        iat: use.iat,
        owners: [`t ${use.token.jti}`, `c ${use.token.caller}`],
      },
      (standing) => {
        check(standing);
        return isTaken;
      },
    );
  return {
    check: (use) => decide(use, false),
    take: (use) => decide(use, true),
  };
}
