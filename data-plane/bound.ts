// The credential of a token under one snapshot: found, opened, bound to all that it is about to be used for.
import { DaypassError } from '@daypass/core/errors';
import { bindSeal, type OpenedSeal } from '@daypass/core/seal';
import type { VerifiedClaims } from '@daypass/core/token';
import type { ActiveSnapshot } from './active.ts';
import type { ActiveService } from './active-service.ts';
import { type Injection, prepareInjection } from './injection.ts';
import { isCutOffBy } from './revocation.ts';
import type { Seals } from './seals.ts';

/** A token's credential, ready to be put on; `seal` is undefined for a service that takes none. */
export type Bound = {
  /** Digest of the snapshot that it holds under. */
  readonly digest: string;
  readonly seal: OpenedSeal | undefined;
  readonly injection: Injection | undefined;
};

/** Binds the credential. Throws `credential_missing`, a `seal_*` code, or `token_revoked` when it is cut off. */
export async function bindCredential(
  snapshot: ActiveSnapshot,
  service: ActiveService,
  claims: VerifiedClaims,
  seals: Seals,
): Promise<Bound> {
  const seal = await openBound(snapshot, service, claims, seals);
  if (isCutOffBy(snapshot, claims, seal?.id))
    throw new DaypassError('token_revoked', 'The credential of the token has been revoked');
  return { digest: snapshot.digest, seal, injection: seal === undefined ? undefined : prepareInjection(seal) };
}

/** The credential that the token itself carries, else the service's own. */
async function openBound(
  snapshot: ActiveSnapshot,
  { config, credential }: ActiveService,
  claims: VerifiedClaims,
  seals: Seals,
): Promise<OpenedSeal | undefined> {
  const { place } = config;
  if (place === null) {
    // A service that takes no credential is given none.
    if (claims.credential === undefined) return undefined;
    throw new DaypassError('seal_place_wrong', 'The service takes no credential');
  }
  const sealed = claims.credential ?? credential?.sealed;
  if (sealed === undefined) throw new DaypassError('credential_missing', 'There is no credential for this service');
  const stored = claims.credential === undefined ? credential?.id : undefined;
  const seal = await seals.open(sealed);
  bindSeal(seal, {
    fleet: snapshot.fleet,
    pool: snapshot.pool,
    service: config.name,
    origin: config.origin,
    place,
    caller: claims.caller,
    ...(stored === undefined ? {} : { credentialId: stored }),
  });
  return seal;
}
