// Which fields an update changes, by field mask (AIP-134, AIP-161).
import { DaypassError } from '@daypass/core/errors';
import type { ServiceInput } from './service-input.ts';

/** What each path of the mask takes from the new service. */
const FIELDS: Readonly<Record<string, readonly (keyof ServiceInput)[]>> = {
  upstream: ['upstream'],
  place: ['place'],
  sealed_credential: ['sealedCredential'],
  credential_id: ['credentialId'],
  token_in: ['tokenIn'],
  is_default: ['isDefault'],
  anonymous: ['anonymous'],
  insecure_upstream: ['insecureUpstream'],
  encoded_slashes: ['encodedSlashes'],
  max_ttl: ['maxTtlMs'],
  connect_timeout: ['connectTimeoutMs'],
  response_timeout: ['responseTimeoutMs'],
  clients: ['clients'],
  scopes: ['scopes'],
  cleaning: ['dropHeaders', 'setHeaders', 'dropQuery'],
  'cleaning.drop_headers': ['dropHeaders'],
  'cleaning.set_headers': ['setHeaders'],
  'cleaning.drop_query': ['dropQuery'],
  limits: ['perToken', 'perClient', 'perService'],
  'limits.per_token': ['perToken'],
  'limits.per_client': ['perClient'],
  'limits.per_service': ['perService'],
  description: ['description'],
  operations: ['operations'],
};

/** `is` with the fields that the mask names taken from `asked`. `*` stands for all that can be changed.
 * @throws {DaypassError} `invalid_argument` for an empty mask, an unknown path, and for `name` and `pool` */
export const applyMask = (is: ServiceInput, asked: ServiceInput, mask: readonly string[]): ServiceInput => {
  if (mask.length === 0) throw wrong('must name at least one field, or `*`');
  if (asked.pool !== '' && asked.pool !== is.pool) {
    throw new DaypassError('invalid_argument', 'cannot be changed', { field: 'service.pool' });
  }
  if (mask.length === 1 && mask[0] === '*') {
    // Get does not return operations: what is read, changed and sent back must not lose them.
    const operations = asked.operations?.length === 0 ? is.operations : asked.operations;
    return { ...asked, name: is.name, pool: is.pool, operations };
  }
  const changed: ServiceInput = { ...is };
  for (const path of mask) Object.assign(changed, take(asked, path));
  return changed;
};

const take = (asked: ServiceInput, path: string): Partial<ServiceInput> => {
  const keys = Object.hasOwn(FIELDS, path) ? FIELDS[path] : undefined;
  if (keys === undefined) {
    throw wrong(
      path === '*'
        ? '`*` stands alone'
        : `\`${path.slice(0, 64)}\` is not a field that can be changed; those are ${Object.keys(FIELDS).join(', ')}`,
    );
  }
  return Object.fromEntries(keys.map((key) => [key, asked[key]]));
};

const wrong = (message: string): DaypassError =>
  new DaypassError('invalid_argument', message, { field: 'update_mask' });
