// Exchanges a token for a narrower, shorter one of the same subject (RFC 8693): checks all of it, signs, stores and audits.
import { DaypassError, type ErrorCode } from '@daypass/core/errors';
import { checkTokenTime, MAX_PARENTS, type VerifiedClaims, verifyToken } from '@daypass/core/token';
import type { Aggregates, ServiceRow, TokenRow } from '../store/interface.ts';
import { type CallerActor, mayMintFor } from './actor.ts';
import { type CallerCeilings, checkWithin, fieldsOf, readCeiling } from './ceiling.ts';
import type { Changes, Work } from './change.ts';
import { type Issuing, issue, type Minted } from './issue.ts';
import type { Keyring } from './keyring.ts';
import { checkLabels } from './labels.ts';
import { AUDITED } from './mint.ts';
import { type ExpandOperation, operationLookup } from './operations.ts';
import { createProblems, type Problems } from './problems.ts';
import { lookAtStanding } from './standing.ts';
import { type Grant, longestOf, type Origin, readAllow, readClient, readThumbprint, readTtl } from './token-claims.ts';

/** What a caller asks of Exchange; empty texts and lists and undefined stand for the defaults. */
export type ExchangeInput = {
  readonly subjectToken: string;
  readonly allow: readonly string[];
  readonly ttlMs: number | undefined;
  readonly client: string;
  readonly jkt: string;
};

type Deps = Issuing & {
  readonly changes: Changes;
  readonly ceilings: CallerCeilings;
  readonly keyring: Keyring;
};

const METHOD = 'TokenService/Exchange';

/**
 * Makes Exchange.
 * @throws {DaypassError} `invalid_argument` for a token that is not good now, `permission_denied` by the field that would
 * be wider, `client_refused`, `failed_precondition` after too many exchanges, or what is wrong by its field
 */
export const createExchange =
  (deps: Deps) =>
  async (caller: CallerActor, input: ExchangeInput): Promise<Minted> => {
    const claims = await readSubjectToken(input.subjectToken, deps);
    try {
      const { value } = await deps.changes.run(caller, METHOD, (tx, asItIs) =>
        exchange(tx, deps, asItIs, { ...input, claims }),
      );
      return value;
    } catch (error) {
      const reason = reasonOf(error);
      if (reason !== undefined) {
        const { jti, service, sub: principal } = claims;
        const note = { path: `tokens/${jti}/exchange`, jti, service, client: input.client, principal };
        await deps.changes.refuse(caller, METHOD, { ...note, reason });
      }
      throw error;
    }
  };

/** What the audit hears of: refusals that say something of the caller, and somebody who has a token that is no good. */
const reasonOf = (error: unknown): ErrorCode | undefined => {
  if (!(error instanceof DaypassError)) return undefined;
  if (AUDITED.has(error.code)) return error.code;
  return error.cause instanceof DaypassError && error.field === FIELD.field ? error.cause.code : undefined;
};

type Asked = ExchangeInput & { readonly claims: VerifiedClaims };

const exchange = async (tx: Aggregates, deps: Deps, caller: CallerActor, asked: Asked): Promise<Work<Minted>> => {
  const { claims } = asked;
  // Asked before the token is looked up: a caller learns nothing of tokens for services that are not its own.
  if (!mayMintFor(caller, claims.service)) {
    throw new DaypassError('permission_denied', `is for \`${claims.service}\`, for which you may not mint`, FIELD);
  }
  const { parent, service } = await readParent(tx, claims, deps.now());
  const expand = await operationLookup(tx, service.name, asked.allow);
  const grant = checkExchange(asked, { caller, service, restMs: parent.expiresAt - deps.now() }, expand);
  const rules = { rules: grant.allow, fieldOf: fieldsOf(asked.allow, 'allow', expand) };
  if (asked.allow.length > 0) await checkWithin(await readCeiling(claims.allowed), rules, 'the token');
  await deps.ceilings.check(tx, caller, service.name, rules);
  // The caller of the first one stays: seals and cut-offs look at it.
  const [minted] = await issue(tx, deps, { grants: [grant], service, caller: claims.caller });
  if (minted === undefined) throw new DaypassError('internal', 'No token was issued');
  const { jti, client, subject: principal } = minted.row;
  return {
    value: minted,
    pools: [],
    note: { path: `tokens/${claims.jti}/exchange`, jti, service: service.name, client, principal },
  };
};

const FIELD = { field: 'subject_token' } as const;

const notGood = (why: DaypassError): DaypassError =>
  new DaypassError('invalid_argument', `is not good: ${why.message} (${why.code})`, { ...FIELD, cause: why });

const readSubjectToken = async (text: string, { keyring, fleet }: Deps): Promise<VerifiedClaims> => {
  try {
    return await verifyToken(text, { keys: await keyring(), audience: fleet });
  } catch (error) {
    throw error instanceof DaypassError ? notGood(error) : error;
  }
};

/** Less is left of no token that is worth an exchange. */
const LEAST_MS = 1000;

const readParent = async (
  tx: Aggregates,
  claims: VerifiedClaims,
  now: number,
): Promise<{ readonly parent: TokenRow; readonly service: ServiceRow }> => {
  const parent = await tx.tokens.get(claims.jti);
  if (parent === undefined) throw notGood(new DaypassError('not_found', 'there is no such token'));
  checkTime(claims, now);
  const fall = (await (await lookAtStanding(tx, now))([parent])).get(parent.jti);
  if (fall !== undefined) throw notGood(fall);
  const service = await tx.services.get(claims.service);
  if (service === undefined) throw notGood(new DaypassError('service_unknown', 'the service is gone'));
  return { parent, service };
};

const checkTime = (claims: VerifiedClaims, now: number): void => {
  try {
    checkTokenTime(claims, now / 1000);
  } catch (error) {
    throw error instanceof DaypassError ? notGood(error) : error;
  }
  if (claims.exp * 1000 - now < LEAST_MS) {
    throw notGood(new DaypassError('token_expired', 'the token ends in less than a second'));
  }
};

type Bounds = { readonly caller: CallerActor; readonly service: ServiceRow; readonly restMs: number };

const checkExchange = (asked: Asked, { caller, service, restMs }: Bounds, expand: ExpandOperation): Grant => {
  const { claims } = asked;
  const client = readClient(asked.client, caller, service);
  const origin = originOf(claims, client);
  const problems = createProblems();
  const rest = { ms: Math.floor(restMs), of: 'since the token ends then', code: 'permission_denied' } as const;
  const grant = {
    allow: asked.allow.length === 0 ? claims.allowed : readAllow(asked.allow, service, expand, problems),
    ttlMs: readTtl(asked.ttlMs, [...longestOf(service, caller), rest], problems),
    client,
    subject: claims.sub,
    sealedCredential: claims.credential,
    jkt: readKey(asked.jkt, claims, problems),
    origin,
  };
  problems.throwIfAny();
  checkLabels(caller, { client, subject: claims.sub, subjectField: FIELD.field });
  return grant;
};

/** What is bound to a key stays bound to it. */
const readKey = (asked: string, { cnf }: VerifiedClaims, problems: Problems): string | undefined => {
  const jkt = readThumbprint(asked, problems);
  if (cnf === undefined || jkt === undefined || jkt === cnf.jkt) return jkt ?? cnf?.jkt;
  problems.add('dpop_jkt', 'must be the key of the token, which is bound to another', 'permission_denied');
  return cnf.jkt;
};

/** RFC 8693 §4.1: who acts now stands outermost, who acted before within. */
const originOf = (claims: VerifiedClaims, client: string): Origin => {
  const { jti, client_id, sub, iat, status, parents = [], act } = claims;
  if (parents.length >= MAX_PARENTS) {
    const message = `has been exchanged ${parents.length} times, which is the most`;
    throw new DaypassError('failed_precondition', message, FIELD);
  }
  return {
    parents: [{ jti, client_id, sub, iat, status }, ...parents],
    act: { sub: client, ...(act === undefined ? {} : { act }) },
    expiresAt: Math.round(claims.exp * 1000),
  };
};
