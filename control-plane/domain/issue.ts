// Issues a token that was granted: its place in the status lists, its time, its signature and its row.
import { DaypassError } from '@daypass/core/errors';
import type { CryptoKey } from '@daypass/core/key';
import { type Actor, MAX_TOKEN_BYTES, signToken, type TokenClaims } from '@daypass/core/token';
import type { Aggregates, ServiceRow, TokenRow } from '../store/interface.ts';
import { cutsOff } from './cut-off.ts';
import type { StatusPlaces } from './status-index.ts';
import { claimsOf, type Grant } from './token-claims.ts';

/** A token and what is stored of it. */
export type Minted = { readonly token: string; readonly row: TokenRow };

/** Signs tokens in the name of the issuer. */
export type TokenSigner = { readonly kid: string; readonly key: CryptoKey; readonly issuer: string };

/** What it takes to issue tokens. */
export type Issuing = {
  readonly places: StatusPlaces;
  readonly signer: TokenSigner;
  readonly fleet: string;
  /** Milliseconds. */
  readonly now: () => number;
  readonly newId: () => string;
};

/** A grant, for which service, and the caller that seals and cut-offs look at. */
export type ToIssue = { readonly grant: Grant; readonly service: ServiceRow; readonly caller: string };

/** Signs and stores a token in this transaction. Throws `invalid_argument` for one that is too large, by the field. */
export const issue = async (tx: Aggregates, deps: Issuing, asked: ToIssue): Promise<Minted> => {
  const { grant, service, caller } = asked;
  const { signer, fleet } = deps;
  const status = await deps.places.take(tx);
  const issuedAt = await firstFreeTime(tx, deps.now(), asked);
  const expiresAt = Math.min(issuedAt + grant.ttlMs, grant.origin?.expiresAt ?? Number.POSITIVE_INFINITY);
  const stamp = { issuer: signer.issuer, fleet, caller, jti: deps.newId(), issuedAt, expiresAt, status };
  const claims = claimsOf(grant, service.name, stamp);
  const token = await sign(claims, grant, signer);
  const row = rowOf(claims, stamp);
  await tx.tokens.insert(row);
  return { token, row };
};

/**
 * A cut-off of this very millisecond was made before this token: the token must be the later one, and so must it be than
 * one that fits a token that it comes from.
 */
const firstFreeTime = async (tx: Aggregates, now: number, { grant, service, caller }: ToIssue): Promise<number> => {
  const credentialId = grant.sealedCredential === undefined ? service.credentialId : undefined;
  const parents = (grant.origin?.parents ?? []).map(({ client_id, sub }) => ({ client: client_id, subject: sub }));
  const subjects = [{ client: grant.client, subject: grant.subject }, ...parents];
  const fits = (entry: Parameters<typeof cutsOff>[0]): boolean =>
    subjects.some((one) => cutsOff(entry, { ...one, service: service.name, caller, credentialId, createdAt: 0 }));
  const [parent] = grant.origin?.parents ?? [];
  const earliest = Math.max(now, parent === undefined ? 0 : Math.round(parent.iat * 1000));
  const cutOffs = await tx.cutOffs.all(earliest - 1);
  return cutOffs
    .filter(({ entry }) => fits(entry))
    .reduce((time, { entry }) => Math.max(time, Math.round(entry.minted_before * 1000) + 1), earliest);
};

/** Claims that a caller gave, by the field that they came in. */
const FIELDS: Readonly<Record<string, string>> = { allowed: 'allow', sub: 'subject', client_id: 'client', exp: 'ttl' };

const sign = async (claims: TokenClaims, grant: Grant, signer: TokenSigner): Promise<string> => {
  try {
    return await signToken(claims, signer);
  } catch (error) {
    if (!(error instanceof DaypassError) || error.field === undefined) throw error;
    const own = FIELDS[error.field] ?? error.field;
    const field = grant.origin !== undefined && own === 'sealed_credential' ? 'subject_token' : own;
    throw new DaypassError(error.code, `${error.message} (a token is at most ${MAX_TOKEN_BYTES} bytes)`, { field });
  }
};

type Times = {
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly status: { readonly chunk: number; readonly index: number };
};

const rowOf = (claims: TokenClaims, { issuedAt, expiresAt, status }: Times): TokenRow => ({
  jti: claims.jti,
  service: claims.service,
  client: claims.client_id,
  subject: claims.sub,
  caller: claims.caller,
  allow: claims.allowed,
  // What a token's own seal says, its id included, only a data plane can read.
  credentialId: undefined,
  jkt: claims.cnf?.jkt,
  parents: (claims.parents ?? []).map(({ jti }) => jti),
  actors: actorsOf(claims.act),
  statusChunk: status.chunk,
  statusIndex: status.index,
  createdAt: issuedAt,
  expiresAt,
  revokedAt: undefined,
});

const actorsOf = (act: Actor | undefined): readonly string[] =>
  act === undefined ? [] : [act.sub, ...actorsOf(act.act)];
