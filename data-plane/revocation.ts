// Whether a snapshot ends a token: by its place in the status lists or by a cut-off, its own or that of a token it came from.
import type { StatusPosition, VerifiedClaims } from '@daypass/core/token';
import type { ActiveSnapshot } from './active.ts';

/** Whether one of the places is revoked; `positions` are the token's own and those of its parents. */
export const isRevokedBy = (snapshot: ActiveSnapshot, positions: readonly StatusPosition[]): boolean =>
  positions.some(snapshot.isRevoked);

/** Whether a cut-off fits the token or one of its parents, which had its service, caller and credential. */
export function isCutOffBy(
  snapshot: ActiveSnapshot,
  claims: VerifiedClaims,
  credentialId: string | undefined,
): boolean {
  const { service, caller } = claims;
  const fits = ({ client_id, sub, iat }: Pick<VerifiedClaims, 'client_id' | 'sub' | 'iat'>): boolean =>
    snapshot.isCutOff({ service, caller, credentialId, client_id, sub, iat });
  return fits(claims) || (claims.parents?.some(fits) ?? false);
}
