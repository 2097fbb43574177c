// Seals the credentials of a pool's services anew, on a data plane, and hands the ciphertext back. No secret leaves memory.
import { createHash } from 'node:crypto';
import { DaypassError } from '@daypass/core/errors';
import { type VerifiedKey, verifySignedKey } from '@daypass/core/key';
import { resealCredential } from '@daypass/core/reseal';
import { readSealKid } from '@daypass/core/seal';
import { verifySnapshot } from '@daypass/core/snapshot';
import { toDaypassError } from '@daypass/sdk/errors';
import type { Connection } from './connection.ts';
import type { NodeFiles } from './node-files.ts';

/** A credential that was sealed anew: what is handed back. */
export type Resealed = {
  readonly service: string;
  readonly id: string;
  /** Hex sha256 of the seal that it takes the place of. */
  readonly was: string;
  readonly sealed: string;
};

/** What became of the credential of a service. */
export type Outcome = {
  readonly service: string;
  readonly result: 'resealed' | 'current' | 'changed' | 'failed';
  /** Why it failed: a code. */
  readonly code?: string;
};

/** What a run came to, before anything is handed back. */
export type ResealRun = {
  readonly kid: string;
  readonly resealed: readonly Resealed[];
  /** Of services whose credential needs nothing, or cannot be opened here. */
  readonly others: readonly Outcome[];
};

type Clients = Pick<Connection, 'snapshots' | 'keys'>;

/**
 * Takes the pool's credentials out of the snapshot that the node is sent, verified as the node does, opens each with the
 * keys of this machine, and seals it to the pool's first key that the pinned root vouches for.
 * @throws DaypassError `key_untrusted`; `failed_precondition` where the private half of that key is not here
 */
export const resealPool = async (clients: Clients, files: NodeFiles, nowSeconds: number): Promise<ResealRun> => {
  const { fleet, pool, unsealKeys } = files;
  const to = await newestKey(clients, files, nowSeconds);
  if (!unsealKeys.has(to.kid))
    throw new DaypassError(
      'failed_precondition',
      `the private half of the pool's newest sealing key is not here: bring ${to.kid}.jwk to every data plane first`,
    );
  const resealed: Resealed[] = [];
  const others: Outcome[] = [];
  for (const [service, { id, sealed }] of await credentialsOf(clients, files, nowSeconds)) {
    if (readSealKid(sealed) === to.kid) {
      others.push({ service, result: 'current' });
      continue;
    }
    try {
      const fresh = await resealCredential(sealed, unsealKeys, { fleet, pool, service, credentialId: id }, to);
      resealed.push({ service, id, was: digestOf(sealed), sealed: fresh });
    } catch (error) {
      if (!(error instanceof DaypassError)) throw error;
      others.push({ service, result: 'failed', code: error.code });
    }
  }
  return { kid: to.kid, resealed, others };
};

/** Hands credentials back: each only in the place of the very seal that it was made of. */
export async function* handBack(
  { services }: Pick<Connection, 'services'>,
  resealed: readonly Resealed[],
): AsyncGenerator<Outcome> {
  for (const [at, one] of resealed.entries()) yield await handBackOne(services, one, at === resealed.length - 1);
}

/** Names a seal without quoting it. */
export const digestOf = (sealed: string): string => createHash('sha256').update(sealed).digest('hex');

const handBackOne = async (
  services: Connection['services'],
  { service: name, id, was, sealed }: Resealed,
  isLast: boolean,
): Promise<Outcome> => {
  try {
    const { service } = await services.get({ name });
    if (service?.sealedCredential === sealed) return { service: name, result: 'current' };
    if (service === undefined || service.credentialId !== id || digestOf(service.sealedCredential) !== was)
      return { service: name, result: 'changed' };
    await services.update({
      // Fields outside the mask are not taken, but the API checks the form of all.
      service: { name, upstream: service.upstream, sealedCredential: sealed, credentialId: id, etag: service.etag },
      updateMask: { paths: ['sealed_credential'] },
      // The last one waits for the data planes; those before it travel with it.
      ...(isLast ? {} : { wait: { seconds: 0n, nanos: 0 } }),
    });
    return { service: name, result: 'resealed' };
  } catch (error) {
    const { code } = toDaypassError(error);
    if (code === 'etag_stale' || code === 'not_found') return { service: name, result: 'changed' };
    if (code === 'invalid_argument' || code === 'failed_precondition') return { service: name, result: 'failed', code };
    throw error;
  }
};

const newestKey = async ({ keys }: Clients, { root, fleet, pool }: NodeFiles, now: number): Promise<VerifiedKey> => {
  const served = await keys.getSealingKeys({ pool });
  let refusal = new DaypassError('key_untrusted', `the control plane has no sealing key for the pool "${pool}"`);
  for (const signed of served.keys) {
    try {
      return await verifySignedKey(signed, { root, fleet, pool, use: 'seal', now });
    } catch (error) {
      if (!(error instanceof DaypassError)) throw error;
      refusal = error;
    }
  }
  throw refusal;
};

const credentialsOf = async ({ snapshots }: Clients, { root, fleet, pool, node }: NodeFiles, now: number) => {
  const { snapshot } = await snapshots.get({});
  if (snapshot?.key === undefined) throw new DaypassError('snapshot_missing', 'the control plane sent no snapshot');
  const { manifest, signature, key, entries } = snapshot;
  const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
  const trust = { root, fleet, pool, node, floor: 0, now, sha256 };
  return (await verifySnapshot({ manifest, signature, key, entries }, trust)).credentials;
};
