// Many tokens in one call, for whoever hands passes to others: all are minted, or none.
import { durationFromMs, timestampDate } from '@bufbuild/protobuf/wkt';
import { DaypassError } from '@daypass/core/errors';
import type { Clients } from './client.ts';
import { checkService } from './request.ts';

/** What one token of a batch is to be; what is absent is as at Mint. */
export type BatchToken = {
  /** Rules; at most 1,000 in all tokens of a batch. */
  readonly allow: readonly string[];
  /** At least 1. */
  readonly ttlSeconds?: number;
  readonly client?: string;
  readonly subject?: string;
  /** A sealed credential that the token carries. */
  readonly sealedCredential?: string;
  /** Thumbprint of the key that must prove each use (RFC 7638). */
  readonly dpopJkt?: string;
};

/** A minted token, and the rules that it has. */
export type MintedToken = {
  readonly token: string;
  readonly jti: string;
  readonly expiresAt: Date;
  readonly allow: readonly string[];
};

/**
 * Mints 1 to 100 tokens of a service in the order in which they are asked for. Throws what the clients throw; the field of
 * a refusal names the token: `tokens[3].allow[0]`.
 */
export async function mintBatch(
  { tokens: service }: Pick<Clients, 'tokens'>,
  name: string,
  asked: readonly BatchToken[],
  signal?: AbortSignal,
): Promise<readonly MintedToken[]> {
  checkService(name);
  const { tokens } = await service.mintBatch(
    { service: name, tokens: asked.map(specOf) },
    signal === undefined ? {} : { signal },
  );
  if (tokens.length !== asked.length) throw new DaypassError('internal', 'The control plane minted another number');
  return tokens.map(({ token, jti, expireTime, allow }) => {
    if (expireTime === undefined) throw new DaypassError('internal', 'The control plane minted a token without an end');
    return { token, jti, expiresAt: timestampDate(expireTime), allow };
  });
}

const specOf = ({ allow, ttlSeconds, ...texts }: BatchToken, index: number) => {
  if (ttlSeconds === undefined) return { ...texts, allow: [...allow] };
  if (ttlSeconds >= 1 && Number.isFinite(ttlSeconds)) {
    return { ...texts, allow: [...allow], ttl: durationFromMs(Math.round(ttlSeconds * 1000)) };
  }
  throw new DaypassError('invalid_argument', 'ttlSeconds must be at least 1', { field: `tokens[${index}].ttlSeconds` });
};
