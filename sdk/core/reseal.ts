// Seals a credential again, to another key of its pool: nothing of what it is good for changes.
import { DaypassError } from './errors.ts';
import type { CryptoKey, PublicJwk } from './key.ts';
import { openSeal, sealCredential } from './seal.ts';

/** What the seal has to be, whoever handed it over. */
export type SealedFor = {
  readonly fleet: string;
  readonly pool: string;
  readonly service: string;
  readonly credentialId: string;
};

/**
 * Opens a seal and seals the same plaintext to a public key that the fleet root vouches for (`verifySignedKey` first).
 * Throws as `openSeal` does; `seal_fleet_wrong`, `seal_service_wrong` or `seal_id_wrong` where it is not what it is handed
 * over as: nobody gets another's credential sealed anew.
 */
export async function resealCredential(
  jwe: string,
  keys: ReadonlyMap<string, CryptoKey>,
  expected: SealedFor,
  to: { readonly kid: string; readonly jwk: PublicJwk },
): Promise<string> {
  const { secret, rules: _, ruleTexts, ...seal } = await openSeal(jwe, keys);
  if (seal.fleet !== expected.fleet || seal.pool !== expected.pool)
    throw new DaypassError('seal_fleet_wrong', 'The sealed credential is for another fleet or pool');
  if (seal.service !== expected.service)
    throw new DaypassError('seal_service_wrong', 'The sealed credential is for another service');
  if (seal.id !== expected.credentialId)
    throw new DaypassError('seal_id_wrong', 'The sealed credential has another id');
  const { v, id, fleet, pool, service, origins, place, callers, nbf, exp } = seal;
  const bounds = { v, id, fleet, pool, service, origins, place, rules: ruleTexts, callers, nbf, exp };
  return sealCredential({ ...bounds, secret: secret.reveal() }, to);
}
