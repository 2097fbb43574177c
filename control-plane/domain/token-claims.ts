// Makes the claims of a token out of what was asked and what the service allows, or names all that is wrong.
import { DaypassError } from '@daypass/core/errors';
import { SCOPE_VERSION } from '@daypass/core/rule';
import { DEFAULT_TTL_SECONDS } from '@daypass/core/service';
import { type Actor, MAX_SEAL_IN_TOKEN, type ParentClaim, statusUri, type TokenClaims } from '@daypass/core/token';
import { isThumbprint } from '@daypass/core/token-claims';
import type { ServiceRow } from '../store/interface.ts';
import type { CallerActor } from './actor.ts';
import { checkLabels } from './labels.ts';
import type { ExpandOperation } from './operations.ts';
import { createProblems, type Problems } from './problems.ts';
import { MAX_ASKED_CHARS, readRules } from './rules.ts';
import { checkSealForm } from './seal-form.ts';

/** What a caller asks of Mint; empty texts and undefined stand for the defaults. */
export type MintInput = {
  readonly service: string;
  readonly allow: readonly string[];
  readonly ttlMs: number | undefined;
  readonly client: string;
  readonly subject: string;
  readonly sealedCredential: string;
  readonly jkt: string;
};

/** What is granted, checked against the service. */
export type Grant = {
  readonly allow: readonly string[];
  readonly ttlMs: number;
  readonly client: string;
  readonly subject: string;
  readonly sealedCredential: string | undefined;
  readonly jkt: string | undefined;
  /** Where it comes from; undefined: it is minted anew. */
  readonly origin: Origin | undefined;
};

/** What a token was exchanged from. */
export type Origin = {
  /** The nearest first. */
  readonly parents: readonly [ParentClaim, ...ParentClaim[]];
  readonly act: Actor;
  /** When the nearest one ends, in milliseconds: nothing that comes from it lives longer. */
  readonly expiresAt: number;
};

/**
 * Checks what is asked against the service, and label and lifetime against the caller; `op:` rules become what they stand
 * for now.
 * @throws {DaypassError} `client_refused` where the service is closed to the label; `permission_denied` for what is beyond
 * the caller; else `invalid_argument`, `invalid_rule` or `credential_missing` naming the fields
 */
export const checkMint = (
  input: MintInput,
  caller: CallerActor,
  service: ServiceRow,
  kids: ReadonlySet<string>,
  expand: ExpandOperation,
): Grant => {
  const client = readClient(input.client, caller, service);
  const subject = input.subject === '' ? client : input.subject;
  const problems = createProblems();
  const allow = readAllow(input.allow, service, expand, problems);
  if (input.allow.length === 0) problems.add('allow', 'must hold at least one rule');
  const grant = {
    allow,
    ttlMs: readTtl(input.ttlMs, longestOf(service, caller), problems),
    client,
    subject,
    sealedCredential: readSeal(input.sealedCredential, service, kids, problems),
    jkt: readThumbprint(input.jkt, problems),
    origin: undefined,
  };
  problems.throwIfAny();
  checkLabels(caller, { client, subject, subjectField: 'subject' });
  return grant;
};

/** The rules that are asked for a token, as canonical texts. */
export const readAllow = (
  texts: readonly string[],
  { scopes }: ServiceRow,
  expand: ExpandOperation,
  problems: Problems,
): readonly string[] =>
  readRules(texts, 'allow', (name) => Object.hasOwn(scopes, name), problems, expand, MAX_ASKED_CHARS);

/** The label, by default the caller's name. @throws {DaypassError} `client_refused` */
export const readClient = (asked: string, caller: CallerActor, service: ServiceRow): string => {
  const client = asked === '' ? caller.name : asked;
  const { clients } = service.config;
  if (clients === null || clients.includes(client)) return client;
  throw new DaypassError('client_refused', `the service is closed to \`${client}\``, { field: 'client' });
};

/** The thumbprint of the key that must prove each use. */
export const readThumbprint = (asked: string, problems: Problems): string | undefined => {
  if (asked === '') return undefined;
  if (!isThumbprint(asked)) problems.add('dpop_jkt', 'is not the SHA-256 thumbprint of a key, in base64url (RFC 7638)');
  return asked;
};

/** What a token says of itself, besides what was granted. */
export type Stamp = {
  readonly issuer: string;
  readonly fleet: string;
  readonly caller: string;
  readonly jti: string;
  /** Milliseconds. */
  readonly issuedAt: number;
  readonly expiresAt: number;
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
  exp: stamp.expiresAt / 1000,
  service,
  allowed: grant.allow,
  scope_version: SCOPE_VERSION,
  ...(grant.sealedCredential === undefined ? {} : { credential: grant.sealedCredential }),
  ...(grant.jkt === undefined ? {} : { cnf: { jkt: grant.jkt } }),
  ...(grant.origin === undefined ? {} : { act: grant.origin.act, parents: grant.origin.parents }),
  status: { status_list: { idx: stamp.status.index, uri: statusUri(stamp.issuer, stamp.status.chunk) } },
});

/** Something that bounds a lifetime, and the code of a refusal on its account. */
export type Longest = {
  readonly ms: number;
  readonly of: string;
  readonly code: 'invalid_argument' | 'permission_denied';
};

/** What bounds the lifetime of a token that a caller mints for a service. */
export const longestOf = ({ config }: ServiceRow, { name, maxTtlSeconds }: CallerActor): readonly Longest[] => [
  { ms: config.max_ttl_seconds * 1000, of: 'for this service', code: 'invalid_argument' },
  ...(maxTtlSeconds === undefined
    ? []
    : [{ ms: maxTtlSeconds * 1000, of: `for \`${name}\``, code: 'permission_denied' } as const]),
];

/** The lifetime in milliseconds; by default 15 minutes, or less where that is too long. */
export const readTtl = (asked: number | undefined, longest: readonly Longest[], problems: Problems): number => {
  if (asked === undefined) return Math.min(DEFAULT_TTL_SECONDS * 1000, ...longest.map(({ ms }) => ms));
  const ttlMs = Math.round(asked);
  const refusing = longest.find(({ ms }) => ttlMs > ms);
  if (refusing !== undefined)
    problems.add('ttl', `may be at most ${refusing.ms / 1000} s ${refusing.of}`, refusing.code);
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
