// Tokens that are held and renewed: bounded, one mint at a time for a scope, renewed before they end.
import { DaypassError } from '@daypass/core/errors';
import { readToken, readUnverifiedClaims } from '@daypass/core/token';

/** What a token is for, and the API key of the caller whose it is: one caller is never handed another's token. */
export type TokenRequest = { readonly service: string; readonly allow: readonly string[]; readonly apiKey: string };

/** Mints one token; the signal ends it. */
export type Mint = (request: TokenRequest, signal: AbortSignal) => Promise<string>;

/** Tokens by what they are for. */
export type TokenCache = {
  /** A token that is good for now: a held one, else a fresh one. Throws what the mint threw. */
  get(request: TokenRequest): Promise<string>;
  /** Forgets a token that was refused; a newer one for the same stays. */
  drop(request: TokenRequest, token: string): void;
  /** Forgets all and ends mints that are under way. */
  close(): void;
};

type Held = {
  readonly token: string;
  /** Milliseconds. */
  readonly expiresAt: number;
  renewAt: number;
};

/** Most tokens held; the one used longest ago goes first. */
const MAX_HELD = 256;
/** Most mints at a time; more callers wait. */
const MAX_MINTS = 32;
/** A token is renewed after this part of its life, give or take `JITTER`, so that many clients do not renew together. */
const RENEW_AT = 0.8;
const JITTER = 0.05;
/** A token is not used in its last moments: the request may take as long to arrive. */
const LAST_MOMENTS = 0.02;
/** While a token is still good, a renewal that fails is tried again this much later. */
const RENEW_RETRY_MS = 5000;

/** `now` in milliseconds; `random` from 0 to 1. */
export function createTokenCache(deps: {
  readonly mint: Mint;
  readonly now: () => number;
  readonly random: () => number;
}): TokenCache {
  const { now } = deps;
  const ended = new AbortController();
  const held = new Map<string, Held>();
  const mints = new Map<string, Promise<string>>();

  const hold = (key: string, token: string, mintedAt: number): void => {
    const lifeMs = lifeSeconds(token) * 1000;
    const renewAfter = lifeMs * (RENEW_AT + JITTER * (2 * deps.random() - 1));
    held.delete(key);
    held.set(key, { token, expiresAt: mintedAt + lifeMs * (1 - LAST_MOMENTS), renewAt: mintedAt + renewAfter });
    const [oldest] = held.keys();
    if (held.size > MAX_HELD && oldest !== undefined) held.delete(oldest);
  };

  const mintAndHold = async (key: string, request: TokenRequest): Promise<string> => {
    try {
      // Counted from before the mint: the token may have been signed at any time since.
      const mintedAt = now();
      const token = await deps.mint(request, ended.signal);
      if (!ended.signal.aborted) hold(key, token, mintedAt);
      return token;
    } finally {
      mints.delete(key);
    }
  };

  const startMint = (key: string, request: TokenRequest): Promise<string> => {
    const mint = mints.get(key) ?? mintAndHold(key, request);
    mints.set(key, mint);
    return mint;
  };

  /** In the background, while the held token is still good. */
  const renew = (key: string, entry: Held, request: TokenRequest): void => {
    if (mints.has(key) || mints.size >= MAX_MINTS) return;
    entry.renewAt = now() + RENEW_RETRY_MS;
    startMint(key, request).catch(() => undefined);
  };

  const fresh = async (key: string, request: TokenRequest): Promise<string> => {
    while (!mints.has(key) && mints.size >= MAX_MINTS) await Promise.race([...mints.values()].map(settled));
    // Another caller may have minted it while this one waited.
    const entry = held.get(key);
    return entry !== undefined && now() < entry.expiresAt ? entry.token : await startMint(key, request);
  };

  return {
    async get(request) {
      if (ended.signal.aborted) throw new DaypassError('failed_precondition', 'This Daypass is closed');
      const key = keyOf(request);
      const entry = held.get(key);
      if (entry === undefined || now() >= entry.expiresAt) return await fresh(key, request);
      // The map's order is that of use.
      held.delete(key);
      held.set(key, entry);
      if (now() >= entry.renewAt) renew(key, entry, request);
      return entry.token;
    },
    drop(request, token) {
      const key = keyOf(request);
      if (held.get(key)?.token === token) held.delete(key);
    },
    close() {
      ended.abort(new DaypassError('failed_precondition', 'This Daypass is closed'));
      held.clear();
    },
  };
}

const keyOf = ({ service, allow, apiKey }: TokenRequest): string =>
  JSON.stringify([apiKey, service, [...new Set(allow)].toSorted()]);

/** By the token's own times, so that this machine's clock need not be right. */
function lifeSeconds(token: string): number {
  const { iat, exp } = readUnverifiedClaims(readToken(token));
  return exp - iat;
}

const settled = (promise: Promise<unknown>): Promise<void> =>
  promise.then(
    () => undefined,
    () => undefined,
  );
