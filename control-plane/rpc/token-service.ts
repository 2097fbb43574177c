// TokenService: Mint, MintBatch, Exchange, Introspect, Revoke, List.
import type { ServiceImpl } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { CallerActor } from '../domain/actor.ts';
import type { ExchangeInput } from '../domain/exchange.ts';
import type { Introspection } from '../domain/introspect.ts';
import type { MintBatchInput, Minted, MintInput } from '../domain/mint.ts';
import type { RevokeTarget } from '../domain/revoke.ts';
import type { Rollout, Waiting } from '../domain/rollout.ts';
import type { TokenListInput, TokenPage } from '../domain/tokens.ts';
import type { MintRequest, RevokeRequest, TokenService, TokenSpec } from '../gen/daypass/v1/token_pb.ts';
import { callerOf } from './authenticate.ts';
import { durationMs, timeMs, toRollout, toTime, waitingOf } from './words.ts';

/** What the domain does for tokens. */
export type Tokens = {
  readonly mint: (caller: CallerActor, input: MintInput) => Promise<Minted>;
  readonly mintBatch: (caller: CallerActor, input: MintBatchInput) => Promise<readonly Minted[]>;
  readonly exchange: (caller: CallerActor, input: ExchangeInput) => Promise<Minted>;
  readonly introspect: (caller: CallerActor, token: string) => Promise<Introspection>;
  readonly revoke: (caller: CallerActor, target: RevokeTarget, waiting: Waiting) => Promise<Rollout>;
  readonly list: (caller: CallerActor, input: TokenListInput) => Promise<TokenPage>;
};

/** The handlers. */
export const tokenService = (tokens: Tokens): ServiceImpl<typeof TokenService> => ({
  mint: async (request, context) =>
    toMinted(await tokens.mint(callerOf(context), { service: request.service, ...specOf(request) })),
  mintBatch: async ({ service, tokens: specs }, context) => {
    const minted = await tokens.mintBatch(callerOf(context), { service, tokens: specs.map(specOf) });
    return { tokens: minted.map(toMinted) };
  },
  exchange: async ({ subjectToken, allow, ttl, client, dpopJkt: jkt }, context) => {
    const input = { subjectToken, allow, client, jkt, ttlMs: durationMs(ttl) };
    return toMinted(await tokens.exchange(callerOf(context), input));
  },
  introspect: async ({ token }, context) => {
    const known = await tokens.introspect(callerOf(context), token);
    return known.active ? { active: true, token: toToken(known.row) } : { active: false, reason: known.reason };
  },
  revoke: async (request, context) => {
    const waiting = waitingOf(request.wait, context.signal);
    return { rollout: toRollout(await tokens.revoke(callerOf(context), targetOf(request), waiting)) };
  },
  list: async ({ pageSize, pageToken, service, client, activeOnly }, context) => {
    const page = await tokens.list(callerOf(context), { pageSize, pageToken, service, client, activeOnly });
    return { tokens: page.rows.map(toToken), nextPageToken: page.nextPageToken };
  },
});

const specOf = (spec: MintRequest | TokenSpec) => {
  const { allow, client, subject, sealedCredential, dpopJkt: jkt } = spec;
  return { allow, client, subject, sealedCredential, jkt, ttlMs: durationMs(spec.ttl) };
};

const toMinted = ({ token, row }: Minted) => ({
  token,
  jti: row.jti,
  expireTime: toTime(row.expiresAt),
  allow: [...row.allow],
});

const targetOf = ({ target }: RevokeRequest): RevokeTarget => {
  switch (target.case) {
    case 'jti':
      return { kind: 'jti', jti: target.value };
    case 'token':
      return { kind: 'token', token: target.value };
    case 'cutOff': {
      const { service, client, subject, caller, credentialId } = target.value;
      const mintedBefore = timeMs(target.value.mintedBefore, 'cut_off.minted_before');
      return { kind: 'cut_off', cutOff: { service, client, subject, caller, credentialId, mintedBefore } };
    }
    case undefined:
      throw new DaypassError('invalid_argument', 'must say what to revoke', { field: 'target' });
    default:
      return target satisfies never;
  }
};

const toToken = (row: TokenPage['rows'][number]) => ({
  jti: row.jti,
  service: row.service,
  client: row.client,
  subject: row.subject,
  caller: row.caller,
  allow: [...row.allow],
  createTime: toTime(row.createdAt),
  expireTime: toTime(row.expiresAt),
  revokeTime: toTime(row.revokedAt),
  credentialId: row.credentialId ?? '',
  dpopJkt: row.jkt ?? '',
  parents: [...row.parents],
  actors: [...row.actors],
});
