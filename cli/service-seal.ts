// Decides what the seal of a service's own credential says, from the flags and the service as it is or will be.
import { ALL_REQUESTS, ANY_CALLER } from '@daypass/core/seal-plaintext';
import type { Secret } from '@daypass/core/secret';
import type { CredentialPlace } from '@daypass/core/service';
import type { Sealed } from '@daypass/sdk/seal';
import type { Connection } from './connection.ts';
import { durationFlag } from './duration.ts';
import { UsageError } from './failure.ts';
import type { Io } from './io.ts';
import { placeText } from './place.ts';
import { seal } from './sealing.ts';
import { canonicalRules, type ServiceOptions } from './service-flags.ts';

const DEFAULT_SEAL_TTL = '3650d';

/** The service that a credential is sealed for. */
export type SealTarget = {
  readonly name: string;
  readonly pool: string;
  readonly upstream: string;
  readonly place: CredentialPlace;
};

/** Seals the credential of a service. */
export const sealForService = async (
  connection: Connection,
  target: SealTarget,
  secret: Secret,
  options: Pick<ServiceOptions, 'ceiling' | 'caller' | 'sealTtl'>,
): Promise<Sealed> => {
  const rules = options.ceiling === undefined ? [ALL_REQUESTS] : canonicalRules(options.ceiling, '--ceiling');
  const callers = options.caller ?? [ANY_CALLER];
  return seal(connection, {
    ...{ service: target.name, pool: target.pool, upstream: target.upstream, place: target.place },
    ...{ rules, callers, secret },
    lifetimeSeconds: durationFlag(options.sealTtl ?? DEFAULT_SEAL_TTL, '--seal-ttl') / 1000,
  });
};

/** Refuses flags that only say something of a seal where nothing is sealed. @throws UsageError */
export const refuseSealFlags = (options: ServiceOptions): void => {
  const flags = [
    ['--ceiling', options.ceiling],
    ['--caller', options.caller],
    ['--seal-ttl', options.sealTtl],
  ] as const;
  for (const [flag, value] of flags)
    if (value !== undefined)
      throw new UsageError(
        `${flag} is part of the seal: give the credential too, with --secret-stdin or --secret-env`,
        flag,
      );
};

/** Notes where a seal sets no limit, once the change is made; nothing when it is limited both ways. */
export const noteSeal = (
  io: Pick<Io, 'note'>,
  name: string,
  { ceiling, caller }: Pick<ServiceOptions, 'ceiling' | 'caller'>,
): void => {
  const open = [
    ...(ceiling === undefined ? ['every path of its upstream'] : []),
    ...(caller === undefined ? [`every caller that may mint for "${name}"`] : []),
  ];
  if (open.length === 0) return;
  io.note(`the seal of "${name}" allows ${open.join(' to ')}; --ceiling and --caller narrow it`);
};

/**
 * Notes, before anything is sealed, where the credential may go when it is the control plane alone that says so: a
 * hostile one could name an upstream of its own.
 */
export const noteTarget = (io: Pick<Io, 'note'>, { upstream, place }: Pick<SealTarget, 'upstream' | 'place'>): void =>
  io.note(`sealed for ${upstream}, put on as ${placeText(place)}, as the control plane says; --upstream makes sure`);
