// A fetch through the data plane that mints, holds and renews its tokens by itself.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { DaypassError } from '@daypass/core/errors';
import type { PublicJwk } from '@daypass/core/key';
import { readToken, readUnverifiedClaims } from '@daypass/core/token';
import { bearer, type Clients, clientsOver, createTransport } from './client.ts';
import { createDpop, type Dpop, type DpopKeyPair } from './dpop.ts';
import { type RefusedError, refusalOf } from './errors.ts';
import { type Answer, exchangeProved } from './exchange.ts';
import { type BatchToken, type MintedToken, mintBatch } from './mint-batch.ts';
import { checkService, type DaypassInit, type Prepared, prepare, readBase } from './request.ts';
import { type Sealed, type SealRequest, sealFor } from './seal.ts';
import { createTokenCache, type TokenRequest } from './token-cache.ts';
import { withTypedErrors } from './typed-errors.ts';
import { unlessAborted } from './wait.ts';

export type { DpopKeyPair } from './dpop.ts';
export type { DaypassInit } from './request.ts';

/** How a Daypass reaches its planes, and what its tokens are like. */
export type DaypassOptions = {
  /** URL of the control plane. */
  readonly controlPlane: string | URL;
  /** URL of the data plane. */
  readonly dataPlane: string | URL;
  /** The caller's API key, or how to get it; asked for at every call, and a token is used only with the key it was minted by. */
  readonly apiKey: string | (() => Promise<string> | string);
  /** Rules of every token. Absent: each request has a token for the smallest rule that allows it. */
  readonly allow?: readonly string[] | undefined;
  /** Lifetime of the tokens; absent: 15 minutes. */
  readonly ttlSeconds?: number | undefined;
  /** Label of the client (`client_id`); absent: the caller's name. */
  readonly client?: string | undefined;
  /** Absent: the platform's own. */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /** The fleet root's public key: what `seal` trusts. */
  readonly root?: PublicJwk | undefined;
  /**
   * Binds the tokens to a key, so that they are worth nothing without it (DPoP, RFC 9449): `true` for a key that never
   * leaves this Daypass, or a key pair of your own. Absent: bearer tokens.
   */
  readonly dpop?: boolean | DpopKeyPair | undefined;
  /** Longest wait for the head of an answer through the data plane; absent: 10 minutes. */
  readonly headTimeoutMs?: number | undefined;
};

/** A caller's way to the APIs that it may use. */
export type Daypass = {
  /**
   * fetch, through the data plane: `path` starts with a slash and may have a query. An `Authorization` in `init` is
   * replaced by the token.
   *
   * Returns the upstream's response as it is, whatever its status. A refusal of Daypass itself is thrown, as a
   * RefusedError with `code`, `decisionId` and, for `scope_refused`, `neededRule`; a failed mint as a DaypassError.
   * A request whose token was refused (401, `token_*`) is sent once more with a fresh token, unless its body is a stream.
   * With `dpop` the same goes for a proof whose nonce was refused; ahead of a stream a nonce is asked for. Then redirects
   * are followed for GET and HEAD within the data plane only, and returned otherwise: each request needs its own proof.
   */
  fetch(service: string, path: string, init?: DaypassInit): Promise<Response>;
  /**
   * A token for an API client of your own; it is held and renewed like those of `fetch`, so ask again for each use. With
   * `dpop` it is presented as `Authorization: DPoP <token>`, and each request has a `DPoP` field with a `proof` of its own.
   */
  token(service: string, allow: readonly string[]): Promise<string>;
  /**
   * The value of the `DPoP` field for one request of an API client of your own, with the nonce that this Daypass last
   * saw. Throws `failed_precondition` without `dpop`.
   */
  proof(method: string, url: string | URL, token: string): Promise<string>;
  /**
   * Mints 1 to 100 tokens of a service to hand out, all or none; they are not held, and bound to no key but their own
   * `dpopJkt`. The field of a refusal names the token: `tokens[3].allow[0]`.
   */
  mintBatch(service: string, tokens: readonly BatchToken[], signal?: AbortSignal): Promise<readonly MintedToken[]>;
  /** Seals a credential to the data planes; see `sealFor`. */
  seal(request: Omit<SealRequest, 'clients'>): Promise<Sealed>;
  /** Clients of the control plane; their calls throw DaypassError. */
  readonly clients: Clients;
  /** Forgets all tokens and ends mints under way; later calls throw `failed_precondition`. Requests go on. */
  close(): void;
};

const DEFAULT_HEAD_TIMEOUT_MS = 10 * 60 * 1000;

/** Makes a Daypass. Throws `invalid_argument` naming the option. */
export function createDaypass(options: DaypassOptions): Daypass {
  const dataPlane = readBase(options.dataPlane, 'dataPlane');
  const send = options.fetch ?? globalThis.fetch.bind(globalThis);
  const apiKey = async (): Promise<string> =>
    typeof options.apiKey === 'string' ? options.apiKey : await options.apiKey();
  const clients = clientsOver(
    withTypedErrors(
      createTransport({
        baseUrl: readBase(options.controlPlane, 'controlPlane'),
        authorization: async () => bearer(await apiKey())(),
        fetch: send,
      }),
    ),
  );
  const dpop = options.dpop ? createDpop(options.dpop, Date.now) : undefined;
  const tokens = createTokenCache({ mint: minter(clients, options, dpop), now: Date.now, random: Math.random });
  const sendOnce = async (prepared: Prepared, fields: Readonly<Record<string, string>>): Promise<Answer> => {
    const headers = new Headers(prepared.init.headers);
    for (const [name, value] of Object.entries(fields)) headers.set(name, value);
    const response = await sendWithin(send, prepared, headers, options.headTimeoutMs ?? DEFAULT_HEAD_TIMEOUT_MS);
    dpop?.learn(dataPlane, response);
    return { response, refusal: await refusalOf(response, dataPlane) };
  };
  const exchange = async (prepared: Prepared, token: string): Promise<Answer> =>
    dpop === undefined
      ? await sendOnce(prepared, { authorization: `Bearer ${token}` })
      : await exchangeProved(dpop, dataPlane, prepared, token, sendOnce);
  return {
    clients,
    async fetch(service, path, init = {}) {
      const prepared = prepare(dataPlane, service, path, init, options.allow);
      const key = await unlessAborted(apiKey(), init.signal);
      const request: TokenRequest = { service, allow: prepared.allow, apiKey: key };
      const token = await unlessAborted(tokens.get(request), init.signal);
      const { response, refusal } = await exchange(prepared, token);
      if (refusal === undefined) return response;
      if (!isTokenRefusal(refusal)) throw refusal;
      tokens.drop(request, token);
      if (!prepared.replayable) throw refusal;
      const again = await exchange(prepared, await unlessAborted(tokens.get(request), init.signal));
      if (again.refusal !== undefined) throw again.refusal;
      return again.response;
    },
    async token(service, allow) {
      checkService(service);
      return await tokens.get({ service, allow, apiKey: await apiKey() });
    },
    async proof(method, url, token) {
      if (dpop === undefined) throw new DaypassError('failed_precondition', 'This Daypass was made without dpop');
      return await dpop.proof(method, String(url), token);
    },
    mintBatch: (service, asked, signal) => mintBatch(clients, service, asked, signal),
    seal: (request) => sealFor({ root: options.root, ...request, clients }),
    close: () => tokens.close(),
  };
}

/** A refused token may have been revoked or signed with a retired key: a fresh one may be good. */
const isTokenRefusal = ({ status, code }: RefusedError): boolean => status === 401 && code.startsWith('token_');

function minter(clients: Clients, { ttlSeconds, client }: DaypassOptions, dpop: Dpop | undefined) {
  if (ttlSeconds !== undefined && !(ttlSeconds >= 1 && Number.isFinite(ttlSeconds)))
    throw new DaypassError('invalid_argument', 'ttlSeconds must be at least 1', { field: 'ttlSeconds' });
  const ttl = ttlSeconds === undefined ? {} : { ttl: durationFromMs(Math.round(ttlSeconds * 1000)) };
  return async ({ service, allow, apiKey }: TokenRequest, signal: AbortSignal): Promise<string> => {
    const dpopJkt = (await dpop?.jkt()) ?? '';
    const { token } = await clients.tokens.mint(
      { service, allow: [...allow], client: client ?? '', dpopJkt, ...ttl },
      { signal, headers: { authorization: bearer(apiKey)() } },
    );
    if (dpop !== undefined) {
      const { cnf, iat } = readUnverifiedClaims(readToken(token));
      if (cnf?.jkt !== dpopJkt)
        throw new DaypassError('failed_precondition', 'The control plane did not bind the token to the key');
      dpop.syncClock(iat);
    }
    return token;
  };
}

/** The time ends with the head; a body may stream for as long as it likes. */
async function sendWithin(
  send: typeof fetch,
  { url, init }: Prepared,
  headers: Headers,
  headMs: number,
): Promise<Response> {
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(new DaypassError('unavailable', `The data plane did not answer within ${headMs} ms`));
  }, headMs);
  const signal = init.signal ? AbortSignal.any([late.signal, init.signal]) : late.signal;
  try {
    return await send(url, { ...init, headers, signal });
  } catch (error) {
    // What fetch rejects with is a platform's own; an abort keeps its reason.
    if (!(error instanceof TypeError)) throw error;
    throw new DaypassError('unavailable', 'The data plane cannot be reached', { cause: error });
  } finally {
    clearTimeout(timer);
  }
}
