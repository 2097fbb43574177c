// Turns a service as it is asked into the one that is stored, or names everything that is wrong with it.
import type { UpstreamPolicy } from '@daypass/core/address';
import { MAX_SEAL_IN_SNAPSHOT } from '@daypass/core/seal';
import {
  DEFAULT_CONNECT_TIMEOUT_MS,
  DEFAULT_MAX_TTL_SECONDS,
  DEFAULT_RESPONSE_TIMEOUT_MS,
  LARGEST_TTL_SECONDS,
  type Rate,
  type ServiceConfig,
} from '@daypass/core/service';
import type { OperationRow, ServiceRow } from '../store/interface.ts';
import { type ExpandOperation, lookupAmong, readOperations } from './operations.ts';
import { createProblems, type Problems } from './problems.ts';
import { checkLength, readRules } from './rules.ts';
import { checkSealForm } from './seal-form.ts';
import { readCleaning } from './service-cleaning.ts';
import type { RateInput, ServiceInput } from './service-input.ts';
import { readPlace, readTokenPlaces } from './service-place.ts';
import { readUpstream } from './service-upstream.ts';

/** What a service is checked against. */
export type ServiceRules = {
  readonly policy: UpstreamPolicy;
  /** Key ids that a pool's credentials may be sealed to; undefined: there is no such pool. */
  readonly sealingKids: (pool: string) => ReadonlySet<string> | undefined;
};

/** A checked service, all of a row but its etag and times. */
export type CheckedService = Omit<ServiceRow, 'etag' | 'createdAt' | 'updatedAt'>;

/** What was checked; `operations` undefined: those that are stored stay. */
export type Checked = {
  readonly service: CheckedService;
  readonly operations: readonly OperationRow[] | undefined;
};

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const LONGEST_CONNECT_MS = 300_000;
const LONGEST_RESPONSE_MS = 3_600_000;
/** A day: the longest time of a rate. */
const LONGEST_RATE_SECONDS = 86_400;

/**
 * Checks a service. Where no operations come with it, `stored` says what `op:` rules in its named scopes stand for.
 * @throws {DaypassError} `invalid_argument` or `invalid_rule` naming every problem by its path under `service`
 */
export const checkService = (input: ServiceInput, rules: ServiceRules, stored: ExpandOperation): Checked => {
  const problems = createProblems();
  if (!NAME.test(input.name)) problems.add('service.name', 'must be 1 to 63 lower-case letters, digits, inner hyphens');
  const pool = input.pool === '' ? 'default' : input.pool;
  const kids = rules.sealingKids(pool);
  if (kids === undefined) problems.add('service.pool', `there is no pool \`${pool.slice(0, 63)}\``);
  const upstream = readCheckedUpstream(input, rules.policy, problems);
  const place = input.place === undefined ? null : (readPlace(input.place, 'service.place', problems) ?? null);
  checkCredential(input, kids ?? new Set(), problems);
  const config: ServiceConfig = {
    name: input.name,
    pool,
    ...upstream,
    place,
    token_in: readTokenPlaces(input.tokenIn, 'service.token_in', problems),
    is_default: input.isDefault,
    ...(input.encodedSlashes ? { encoded_slashes: true } : {}),
    anonymous: input.anonymous,
    insecure_upstream: input.insecureUpstream,
    max_ttl_seconds: readMaxTtl(input.maxTtlMs, problems),
    ...readTimeouts(input, problems),
    clients: readClients(input.clients, problems),
    ...readCleaning(input, place, 'service.cleaning', problems),
    limits: {
      per_token: readRate(input.perToken, 'service.limits.per_token', problems),
      per_client: readRate(input.perClient, 'service.limits.per_client', problems),
      per_service: readRate(input.perService, 'service.limits.per_service', problems),
    },
  };
  const operations = input.operations && readOperations(input.operations, 'service.operations', problems);
  const expand = operations === undefined ? stored : lookupAmong(operations);
  const scopes = readScopes(input.scopes, expand, problems);
  problems.throwIfAny();
  const service = {
    name: input.name,
    config,
    description: input.description,
    sealedCredential: input.sealedCredential === '' ? undefined : input.sealedCredential,
    credentialId: input.credentialId === '' ? undefined : input.credentialId,
    scopes,
  };
  return { service, operations };
};

const readCheckedUpstream = (
  input: ServiceInput,
  policy: UpstreamPolicy,
  problems: Problems,
): Pick<ServiceConfig, 'origin' | 'base_path'> => {
  const upstream = problems.check('service.upstream', () => {
    const read = readUpstream(input.upstream);
    policy.checkUrl(read.url, { insecure: input.insecureUpstream });
    return read;
  });
  return { origin: upstream?.origin ?? '', base_path: upstream?.basePath ?? '' };
};

const checkCredential = (input: ServiceInput, kids: ReadonlySet<string>, problems: Problems): void => {
  const sealed = input.sealedCredential;
  if (input.anonymous && (input.place !== undefined || sealed !== '')) {
    problems.add('service.anonymous', 'no credential may be attached to a service that anybody can use');
  }
  if (sealed !== '' && input.place === undefined) problems.add('service.place', 'must say where the credential is put');
  if (sealed !== '' && input.credentialId === '')
    problems.add('service.credential_id', 'must state the id in the seal');
  if (sealed === '' && input.credentialId !== '')
    problems.add('service.credential_id', 'goes with a sealed credential');
  if (input.credentialId !== '' && !/^[0-9a-f]{32}$/.test(input.credentialId)) {
    problems.add('service.credential_id', 'must be 32 hex digits');
  }
  if (sealed !== '')
    problems.check('service.sealed_credential', () => checkSealForm(sealed, kids, MAX_SEAL_IN_SNAPSHOT));
};

const readMaxTtl = (ms: number, problems: Problems): number => {
  if (ms === 0) return DEFAULT_MAX_TTL_SECONDS;
  const seconds = ms / 1000;
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > LARGEST_TTL_SECONDS) {
    problems.add('service.max_ttl', `must be whole seconds, at least 1, at most ${LARGEST_TTL_SECONDS} (366 days)`);
  }
  return seconds;
};

const readTimeouts = (
  input: ServiceInput,
  problems: Problems,
): Pick<ServiceConfig, 'connect_timeout_ms' | 'response_timeout_ms'> => {
  const read = (ms: number, standard: number, largest: number, field: string): number => {
    if (ms === 0) return standard;
    if (!Number.isInteger(ms) || ms < 1 || ms > largest) {
      problems.add(field, `must be whole milliseconds, at least 1, at most ${largest}`);
    }
    return ms;
  };
  return {
    connect_timeout_ms: read(
      input.connectTimeoutMs,
      DEFAULT_CONNECT_TIMEOUT_MS,
      LONGEST_CONNECT_MS,
      'service.connect_timeout',
    ),
    response_timeout_ms: read(
      input.responseTimeoutMs,
      DEFAULT_RESPONSE_TIMEOUT_MS,
      LONGEST_RESPONSE_MS,
      'service.response_timeout',
    ),
  };
};

const readClients = (labels: readonly string[] | undefined, problems: Problems): readonly string[] | null => {
  if (labels === undefined) return null;
  for (const [i, label] of labels.entries()) {
    if (!/^[!-~]{1,128}$/.test(label))
      problems.add(`service.clients.labels[${i}]`, 'must be 1 to 128 visible characters');
  }
  return [...new Set(labels)];
};

const readRate = (rate: RateInput | undefined, path: string, problems: Problems): Rate | null => {
  if (rate === undefined) return null;
  const seconds = rate.perMs / 1000;
  if (!Number.isInteger(rate.requests) || rate.requests < 1 || rate.requests > 1_000_000) {
    problems.add(`${path}.requests`, 'must be 1 to 1,000,000');
  }
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > LONGEST_RATE_SECONDS) {
    problems.add(`${path}.per`, 'must be whole seconds, 1 s to 24 h');
  }
  return { requests: rate.requests, per_seconds: seconds };
};

const readScopes = (
  scopes: ServiceInput['scopes'],
  expand: ExpandOperation,
  problems: Problems,
): ServiceRow['scopes'] => {
  const read: [string, readonly string[]][] = [];
  for (const [name, rules] of [...scopes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const path = `service.scopes["${name}"]`;
    if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name)) problems.add(path, 'is not a name of a scope');
    read.push([name, readRules(rules, `${path}.rules`, undefined, problems, expand)]);
  }
  checkLength(
    read.map(([, rules]) => rules),
    'named scopes',
    'service.scopes',
    problems,
  );
  return Object.fromEntries(read);
};
