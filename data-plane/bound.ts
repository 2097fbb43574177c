// The credential of a token under one snapshot: found, opened, bound to all that it is about to be used for.
import { DaypassError } from '@daypass/core/errors';
import { bindSeal, type OpenedSeal, type SealUse } from '@daypass/core/seal';
import type { CredentialPlace } from '@daypass/core/service';
import type { VerifiedClaims } from '@daypass/core/token';
import type { ActiveSnapshot } from './active.ts';
import type { ActiveService } from './active-service.ts';
import type { Injection } from './injection.ts';
import { isCutOffBy } from './revocation.ts';
import type { Opened, Seals } from './seals.ts';

/** A token's credential, ready to be put on; `seal` is undefined for a service that takes none. */
export type Bound = {
  /** Digest of the snapshot that it holds under. */
  readonly digest: string;
  readonly seal: OpenedSeal | undefined;
  readonly injection: Injection | undefined;
  /** The ciphertext, and what came out of it. */
  readonly sealed: string | undefined;
  readonly opened: Opened | undefined;
};

/**
 * Binds the credential; what `before` opened is not opened again. Throws `credential_missing`, a `seal_*` code, or
 * `token_revoked` when it is cut off.
 */
export async function bindCredential(
  snapshot: ActiveSnapshot,
  service: ActiveService,
  claims: VerifiedClaims,
  seals: Seals,
  before: Bound | undefined,
): Promise<Bound> {
  const { place } = service.config;
  const sealed = place === null ? noneOf(claims) : sealedOf(service, claims);
  const known = before?.sealed === sealed ? before?.opened : undefined;
  const opened = sealed === undefined ? undefined : (known ?? (await seals.open(sealed)));
  const seal = opened?.seal;
  if (seal !== undefined && place !== null) bindSeal(seal, useOf(snapshot, service, claims, place));
  if (isCutOffBy(snapshot, claims, seal?.id))
    throw new DaypassError('token_revoked', 'The credential of the token has been revoked');
  return { digest: snapshot.digest, seal, injection: opened?.injection(), sealed, opened };
}

// A service that takes no credential is given none.
function noneOf(claims: VerifiedClaims): undefined {
  if (claims.credential !== undefined) throw new DaypassError('seal_place_wrong', 'The service takes no credential');
}

/** The credential that the token itself carries, else the service's own. */
function sealedOf({ credential }: ActiveService, claims: VerifiedClaims): string {
  const sealed = claims.credential ?? credential?.sealed;
  if (sealed === undefined) throw new DaypassError('credential_missing', 'There is no credential for this service');
  return sealed;
}

function useOf(
  { fleet, pool }: ActiveSnapshot,
  { config, credential }: ActiveService,
  claims: VerifiedClaims,
  place: CredentialPlace,
): SealUse {
  const stored = claims.credential === undefined ? credential?.id : undefined;
  const { name: service, origin } = config;
  const use = { fleet, pool, service, origin, place, caller: claims.caller };
  return stored === undefined ? use : { ...use, credentialId: stored };
}
