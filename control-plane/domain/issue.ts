// Issues a token that was granted: its place in the status lists, its time, its signature and its row.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DaypassError } from '@daypass/core/errors';
import { readSealKid } from '@daypass/core/seal';
import { type Actor, MAX_TOKEN_BYTES, type TokenClaims } from '@daypass/core/token';
import type { Aggregates, ServiceRow, TokenRow } from '../store/interface.ts';
import { cutsOff } from './cut-off.ts';
import type { StatusPlaces } from './status-index.ts';
import { claimsOf, type Grant } from './token-claims.ts';
import type { TokenSigner } from './token-signer.ts';
import type { TokenSigners } from './token-signers.ts';

/** A token and what is stored of it. */
export type Minted = { readonly token: string; readonly row: TokenRow };

/** What it takes to issue tokens. */
export type Issuing = {
  readonly places: StatusPlaces;
  readonly signers: Pick<TokenSigners, 'of' | 'used'>;
  readonly fleet: string;
  /** Milliseconds. */
  readonly now: () => number;
  readonly newId: () => string;
};

/** Grants, for which service, and the caller that seals and cut-offs look at. */
export type ToIssue = { readonly grants: readonly Grant[]; readonly service: ServiceRow; readonly caller: string };

/** Says which grant an error is about. */
export type NameGrant = <T>(index: number, work: () => Promise<T>) => Promise<T>;

/**
 * Signs and stores a token for each grant in this transaction. Throws `invalid_argument` for one that is too large, by the
 * field.
 */
export const issue = async (
  tx: Aggregates,
  deps: Issuing,
  { grants, service, caller }: ToIssue,
  named: NameGrant = (_, work) => work(),
): Promise<readonly Minted[]> => {
  const { fleet } = deps;
  const signer = await deps.signers.of(tx);
  const places = await deps.places.take(tx, grants.length);
  const claimed: { readonly grant: Grant; readonly claims: TokenClaims; readonly row: TokenRow }[] = [];
  for (const [index, grant] of grants.entries()) {
    const status = places[index];
    if (status === undefined) throw new DaypassError('internal', 'There are fewer places than tokens');
    const issuedAt = await firstFreeTime(tx, deps.now(), { grant, service, caller });
    const expiresAt = Math.min(issuedAt + grant.ttlMs, grant.origin?.expiresAt ?? Number.POSITIVE_INFINITY);
    const stamp = { issuer: signer.issuer, fleet, caller, jti: deps.newId(), issuedAt, expiresAt, status };
    const claims = claimsOf(grant, service.name, stamp);
    claimed.push({ grant, claims, row: rowOf(claims, stamp) });
  }
  await deps.signers.used(tx, signer.kid, Math.max(0, ...claimed.map(({ row }) => row.expiresAt)));
  const minted: Minted[] = [];
  for (const [index, { grant, claims, row }] of claimed.entries()) {
    if (index > 0 && index % SIGNED_AT_ONCE === 0) await nextTurn();
    minted.push({ token: await named(index, async () => sign(claims, grant, signer)), row });
  }
  await tx.tokens.insert(...minted.map(({ row }) => row));
  return minted;
};

/** The loop gets its turn after so many signatures. */
const SIGNED_AT_ONCE = 25;

type Reach = { readonly grant: Grant; readonly service: ServiceRow; readonly caller: string };

/**
 * A cut-off of this very millisecond was made before this token: the token must be the later one, and so must it be than
 * one that fits a token that it comes from.
 */
const firstFreeTime = async (tx: Aggregates, now: number, { grant, service, caller }: Reach): Promise<number> => {
  const credentialId = grant.sealedCredential === undefined ? service.credentialId : undefined;
  const parents = (grant.origin?.parents ?? []).map(({ client_id, sub }) => ({ client: client_id, subject: sub }));
  const subjects = [{ client: grant.client, subject: grant.subject }, ...parents];
  const fits = (entry: Parameters<typeof cutsOff>[0]): boolean =>
    subjects.some((one) => cutsOff(entry, { ...one, service: service.name, caller, credentialId, createdAt: 0 }));
  const [parent] = grant.origin?.parents ?? [];
  const earliest = Math.max(now, parent === undefined ? 0 : Math.round(parent.iat * 1000));
  // Those of the last minute: a question that is asked again for every token.
  const cutOffs = await tx.cutOffs.all(Math.floor(earliest / ASKED_MS) * ASKED_MS - 1);
  return cutOffs
    .filter(({ entry }) => fits(entry))
    .reduce((time, { entry }) => Math.max(time, Math.round(entry.minted_before * 1000) + 1), earliest);
};

const ASKED_MS = 60_000;

/** Claims that a caller gave, by the field that they came in. */
const FIELDS: Readonly<Record<string, string>> = { allowed: 'allow', sub: 'subject', client_id: 'client', exp: 'ttl' };

const sign = (claims: TokenClaims, grant: Grant, signer: TokenSigner): string => {
  try {
    return signer.sign(claims);
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
  sealKid: claims.credential === undefined ? undefined : readSealKid(claims.credential),
  statusChunk: status.chunk,
  statusIndex: status.index,
  createdAt: issuedAt,
  expiresAt,
  revokedAt: undefined,
});

const actorsOf = (act: Actor | undefined): readonly string[] =>
  act === undefined ? [] : [act.sub, ...actorsOf(act.act)];
