// Mints a token: checks caller, label, rules, lifetime and seal, and signs, stores and audits in one transaction.
import { DaypassError } from '@daypass/core/errors';
import type { CryptoKey } from '@daypass/core/key';
import { MAX_TOKEN_BYTES, signToken, type TokenClaims } from '@daypass/core/token';
import type { Aggregates, ServiceRow, TokenRow } from '../store/interface.ts';
import { type CallerActor, mayMintFor } from './actor.ts';
import type { Changes, Work } from './change.ts';
import { cutsOff } from './cut-off.ts';
import type { StatusPlaces } from './status-index.ts';
import { checkMint, claimsOf, type Grant, type MintInput } from './token-claims.ts';

export type { MintInput } from './token-claims.ts';

/** A minted token. */
export type Minted = { readonly token: string; readonly row: TokenRow };

/** Signs tokens in the name of the issuer. */
export type TokenSigner = { readonly kid: string; readonly key: CryptoKey; readonly issuer: string };

type Deps = {
  readonly changes: Changes;
  readonly places: StatusPlaces;
  readonly signer: TokenSigner;
  readonly fleet: string;
  readonly sealingKids: (pool: string) => ReadonlySet<string> | undefined;
  /** Milliseconds. */
  readonly now: () => number;
  readonly newId: () => string;
};

const METHOD = 'TokenService/Mint';
/** Refusals that say something of the caller: these are audited. */
const AUDITED: ReadonlySet<string> = new Set(['permission_denied', 'client_refused']);

/**
 * Makes Mint.
 * @throws {DaypassError} `permission_denied`, `client_refused`, `not_found`, or what is wrong by its field
 */
export const createMint =
  (deps: Deps) =>
  async (caller: CallerActor, input: MintInput): Promise<Minted> => {
    try {
      const { value } = await deps.changes.run(caller, METHOD, (tx, asItIs) => mint(tx, deps, asItIs, input));
      return value;
    } catch (error) {
      if (error instanceof DaypassError && AUDITED.has(error.code)) {
        const { service, client } = input;
        const note = { path: `services/${service}/tokens`, service, client, principal: input.subject };
        await deps.changes.refuse(caller, METHOD, { ...note, reason: error.code });
      }
      throw error;
    }
  };

const mint = async (tx: Aggregates, deps: Deps, caller: CallerActor, input: MintInput): Promise<Work<Minted>> => {
  // Asked before the service is looked up: a caller learns nothing of services that are not its own.
  if (!mayMintFor(caller, input.service)) {
    throw new DaypassError('permission_denied', `may not mint for \`${input.service}\``, { field: 'service' });
  }
  const service = await tx.services.get(input.service);
  if (service === undefined) {
    throw new DaypassError('not_found', `there is no service \`${input.service}\``, { field: 'service' });
  }
  const grant = checkMint(input, caller, service, deps.sealingKids(service.config.pool) ?? new Set());
  const status = await deps.places.take(tx);
  const issuedAt = await firstFreeTime(tx, deps.now(), caller, grant, service);
  const stamp = {
    issuer: deps.signer.issuer,
    fleet: deps.fleet,
    caller: caller.name,
    jti: deps.newId(),
    issuedAt,
    status,
  };
  const claims = claimsOf(grant, service.name, stamp);
  const token = await sign(claims, deps.signer);
  const row = rowOf(claims, issuedAt, grant, status);
  await tx.tokens.insert(row);
  const note = { path: `tokens/${row.jti}`, jti: row.jti, service: row.service, client: row.client };
  return {
    value: { token, row },
    // Nodes need not hear of a token before it is revoked.
    pools: [],
    note: { ...note, principal: row.subject },
  };
};

/** A cut-off of this very millisecond was made before this token: the token must be the later one. */
const firstFreeTime = async (
  tx: Aggregates,
  now: number,
  caller: CallerActor,
  grant: Grant,
  service: ServiceRow,
): Promise<number> => {
  const subject = { service: service.name, client: grant.client, subject: grant.subject, caller: caller.name };
  const credentialId = grant.sealedCredential === undefined ? service.credentialId : undefined;
  const cutOffs = await tx.cutOffs.all(now - 1);
  return cutOffs
    .filter(({ entry }) => cutsOff(entry, { ...subject, credentialId, createdAt: 0 }))
    .reduce((time, { entry }) => Math.max(time, Math.round(entry.minted_before * 1000) + 1), now);
};

/** Claims that a caller gave, by the field that they came in. */
const FIELDS: Readonly<Record<string, string>> = { allowed: 'allow', sub: 'subject', client_id: 'client', exp: 'ttl' };

const sign = async (claims: TokenClaims, signer: TokenSigner): Promise<string> => {
  try {
    return await signToken(claims, signer);
  } catch (error) {
    if (!(error instanceof DaypassError) || error.field === undefined) throw error;
    const field = FIELDS[error.field] ?? error.field;
    throw new DaypassError(error.code, `${error.message} (a token is at most ${MAX_TOKEN_BYTES} bytes)`, { field });
  }
};

const rowOf = (
  claims: TokenClaims,
  issuedAt: number,
  grant: Grant,
  status: { readonly chunk: number; readonly index: number },
): TokenRow => ({
  jti: claims.jti,
  service: claims.service,
  client: claims.client_id,
  subject: claims.sub,
  caller: claims.caller,
  allow: claims.allowed,
  // What a token's own seal says, its id included, only a data plane can read.
  credentialId: undefined,
  statusChunk: status.chunk,
  statusIndex: status.index,
  createdAt: issuedAt,
  expiresAt: issuedAt + grant.ttlMs,
  revokedAt: undefined,
});
