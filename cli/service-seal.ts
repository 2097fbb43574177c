// Decides what the seal of a service's own credential says, from the flags and the service as it is or will be.
import { ALL_REQUESTS, ANY_CALLER } from '@daypass/core/seal-plaintext';
import type { Secret } from '@daypass/core/secret';
import type { CredentialPlace } from '@daypass/core/service';
import type { Sealed } from '@daypass/sdk/seal';
import type { Connection } from './connection.ts';
import { durationFlag } from './duration.ts';
import { UsageError } from './failure.ts';
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

/** Says where a seal sets no limit: for stderr once the change is made, empty when it is limited both ways. */
export const sealNote = (name: string, { ceiling, caller }: Pick<ServiceOptions, 'ceiling' | 'caller'>): string => {
  const open = [
    ...(ceiling === undefined ? ['every path of its upstream'] : []),
    ...(caller === undefined ? [`every caller that may mint for "${name}"`] : []),
  ];
  if (open.length === 0) return '';
  return `note: the seal of "${name}" allows ${open.join(' to ')}; --ceiling and --caller narrow it\n`;
};
