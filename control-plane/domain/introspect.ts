// Says whether a token would be accepted now, as the control plane knows it (RFC 7662 §2.2).
import { DaypassError, type ErrorCode } from '@daypass/core/errors';
import { checkTokenTime, type VerifiedClaims, verifyToken } from '@daypass/core/token';
import type { Aggregates, TokenRow } from '../store/interface.ts';
import { type CallerActor, ownsToken } from './actor.ts';
import type { Keyring } from './keyring.ts';
import { lookAtStanding } from './standing.ts';

/** What is known of a token. */
export type Introspection =
  | { readonly active: true; readonly row: TokenRow }
  | { readonly active: false; readonly reason: ErrorCode };

type Deps = {
  readonly read: Pick<Aggregates, 'tokens' | 'services' | 'cutOffs'>;
  readonly keyring: Keyring;
  readonly fleet: string;
  /** Milliseconds. */
  readonly now: () => number;
};

/** Makes Introspect: a token that is not good is a reason, never an error. */
export const createIntrospect =
  (deps: Deps) =>
  async (caller: CallerActor, text: string): Promise<Introspection> => {
    try {
      const claims = await verifyToken(text, { keys: await deps.keyring(), audience: deps.fleet });
      const row = await ownToken(deps.read, caller, claims);
      checkTokenTime(claims, deps.now() / 1000);
      const fall = (await (await lookAtStanding(deps.read, deps.now()))([row])).get(row.jti);
      if (fall !== undefined) throw fall;
      return { active: true, row };
    } catch (error) {
      if (!(error instanceof DaypassError) || !isVerdict(error.code)) throw error;
      return { active: false, reason: error.code };
    }
  };

/** Codes that say something of the token; any other failure is the control plane's own. */
const isVerdict = (code: ErrorCode): boolean =>
  code.startsWith('token_') || code === 'not_found' || code === 'service_unknown' || code === 'client_refused';

/** Another caller's token is answered as one that is not known. */
const ownToken = async (
  read: Deps['read'],
  caller: CallerActor,
  { jti }: Pick<VerifiedClaims, 'jti'>,
): Promise<TokenRow> => {
  const row = await read.tokens.get(jti);
  if (row === undefined || !ownsToken(caller, row)) {
    throw new DaypassError('not_found', 'there is no such token');
  }
  return row;
};
