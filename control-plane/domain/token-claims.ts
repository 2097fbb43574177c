// Makes the claims of a token out of what was asked and what the service allows, or names all that is wrong.
import { DaypassError } from '@daypass/core/errors';
import { SCOPE_VERSION } from '@daypass/core/rule';
import { DEFAULT_TTL_SECONDS } from '@daypass/core/service';
import { MAX_SEAL_IN_TOKEN, statusUri, type TokenClaims } from '@daypass/core/token';
import type { ServiceRow } from '../store/interface.ts';
import type { CallerActor } from './actor.ts';
import { createProblems, type Problems } from './problems.ts';
import { readRules } from './rules.ts';
import { checkSealForm } from './seal-form.ts';

/** What a caller asks of Mint; empty texts and undefined stand for the defaults. */
export type MintInput = {
  readonly service: string;
  readonly allow: readonly string[];
  readonly ttlMs: number | undefined;
  readonly client: string;
  readonly subject: string;
  readonly sealedCredential: string;
};

/** What is granted, checked against the service. */
export type Grant = {
  readonly allow: readonly string[];
  readonly ttlMs: number;
  readonly client: string;
  readonly subject: string;
  readonly sealedCredential: string | undefined;
};

/**
 * Checks what is asked against the service.
 * @throws {DaypassError} `client_refused` where the service is closed to the label; else `invalid_argument`,
 * `invalid_rule` or `credential_missing` naming the fields
 */
export const checkMint = (
  input: MintInput,
  caller: CallerActor,
  service: ServiceRow,
  kids: ReadonlySet<string>,
): Grant => {
  const client = input.client === '' ? caller.name : input.client;
  const { clients } = service.config;
  if (clients !== null && !clients.includes(client)) {
    throw new DaypassError('client_refused', `the service is closed to \`${client}\``, { field: 'client' });
  }
  const problems = createProblems();
  const allow = readRules(input.allow, 'allow', (name) => Object.hasOwn(service.scopes, name), problems);
  if (input.allow.length === 0) problems.add('allow', 'must hold at least one rule');
  const grant = {
    allow,
    ttlMs: readTtl(input.ttlMs, service, problems),
    client,
    subject: input.subject === '' ? client : input.subject,
    sealedCredential: readSeal(input.sealedCredential, service, kids, problems),
  };
  problems.throwIfAny();
  return grant;
};

/** What a token says of itself, besides what was granted. */
export type Stamp = {
  readonly issuer: string;
  readonly fleet: string;
  readonly caller: string;
  readonly jti: string;
  /** Milliseconds. */
  readonly issuedAt: number;
  readonly status: { readonly chunk: number; readonly index: number };
};

/** The claims of a granted token. */
export const claimsOf = (grant: Grant, service: string, stamp: Stamp): TokenClaims => ({
  iss: stamp.issuer,
  aud: stamp.fleet,
  sub: grant.subject,
  client_id: grant.client,
  caller: stamp.caller,
  jti: stamp.jti,
  // Milliseconds count: a cut-off must tell a token minted before it from one minted after.
  iat: stamp.issuedAt / 1000,
  nbf: Math.floor(stamp.issuedAt / 1000),
  exp: (stamp.issuedAt + grant.ttlMs) / 1000,
  service,
  allowed: grant.allow,
  scope_version: SCOPE_VERSION,
  ...(grant.sealedCredential === undefined ? {} : { credential: grant.sealedCredential }),
  status: { status_list: { idx: stamp.status.index, uri: statusUri(stamp.issuer, stamp.status.chunk) } },
});

const readTtl = (asked: number | undefined, { config }: ServiceRow, problems: Problems): number => {
  const longest = config.max_ttl_seconds * 1000;
  if (asked === undefined) return Math.min(DEFAULT_TTL_SECONDS * 1000, longest);
  const ttlMs = Math.round(asked);
  if (ttlMs > longest) problems.add('ttl', `may be at most ${config.max_ttl_seconds} s for this service`);
  if (ttlMs < 1000) problems.add('ttl', 'must be at least 1 s');
  return ttlMs;
};

const readSeal = (
  sealed: string,
  service: ServiceRow,
  kids: ReadonlySet<string>,
  problems: Problems,
): string | undefined => {
  if (sealed === '') {
    if (service.config.place !== null && service.sealedCredential === undefined) {
      problems.add('sealed_credential', 'is needed: the service has none of its own', 'credential_missing');
    }
    return undefined;
  }
  if (service.config.place === null) {
    problems.add('sealed_credential', 'is not used: the service puts no credential on its requests');
  } else {
    problems.check('sealed_credential', () => checkSealForm(sealed, kids, MAX_SEAL_IN_TOKEN));
  }
  return sealed;
};
