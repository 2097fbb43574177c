// Authorization: a `Grant` is the proof that a request lies within its token's rules and within its seal's.
import { DaypassError } from '@daypass/core/errors';
import { readContentHeaders, readJsonBody } from '@daypass/core/request-body';
import { RequestDetails } from '@daypass/core/request-details';
import { matchRules, needsBody, type ScopeLookup, smallestRule } from '@daypass/core/rule-match';
import { checkSealTime, type OpenedSeal } from '@daypass/core/seal';
import type { VerifiedClaims } from '@daypass/core/token';
import type { ActiveService } from './active-service.ts';
import type { Session, VerifiedToken } from './authenticate.ts';
import { type Bound, bindCredential } from './bound.ts';
import { forwardedQuery, forwardedValues } from './forwarded.ts';
import type { HeldBody } from './held-body.ts';
import type { Injection } from './injection.ts';
import type { Route } from './route.ts';
import type { Seals } from './seals.ts';
import { type Head, hasBody } from './wire.ts';

declare const granted: unique symbol;

/** A request that may go upstream, with the credential that it may use. Only this file makes one. */
export type Grant = {
  readonly route: Route;
  readonly service: ActiveService;
  readonly claims: VerifiedClaims | undefined;
  /** Of the token. */
  readonly session: Session | undefined;
  /** The rule that allows it; empty for an anonymous service. */
  readonly rule: string;
  /** Empty when none is put on. */
  readonly credentialId: string;
  readonly injection: Injection | undefined;
  /** The whole body that the rules have seen, and which is sent as it is; undefined if they saw none. */
  readonly body: Uint8Array | undefined;
  readonly [granted]: true;
};

/** The rules cannot decide before they have the whole body. */
export const BODY_NEEDED = Symbol('the body is needed');

/** What a request may do, or that this cannot be told yet. */
export type Decided = Grant | typeof BODY_NEEDED;

/** The step. */
export type Authorizer = {
  /**
   * Throws the code of the first thing that does not allow the request. Without its body, `BODY_NEEDED` if that is what
   * is missing. At once where the token's credential was opened before.
   */
  authorize(
    route: Route,
    token: VerifiedToken | undefined,
    head: Head,
    body: HeldBody | undefined,
  ): Decided | Promise<Decided>;
};

/** Returns the step. */
export function createAuthorizer(deps: { readonly seals: Seals; readonly nowMs: () => number }): Authorizer {
  return {
    authorize(route, token, head, body) {
      const service = checkService(route, token);
      const bytes = body?.bytes;
      if (token === undefined) return grant({ route, service, bytes });
      checkClient(service, token.claims);
      checkLifetime(service, token.claims);
      const asked = askOf(route, service, head, body);
      const rule = checkScope(asked, service, token);
      if (rule === undefined) return BODY_NEEDED;
      const { claims } = token;
      const use = (bound: Bound): Decided => {
        if (bound.seal !== undefined && !checkSeal(asked, bound.seal, service, deps.nowMs() / 1000)) return BODY_NEEDED;
        return grant({ route, service, token, rule, bound, bytes });
      };
      const { session } = token;
      // A token has one service, and a snapshot one of that name.
      if (session.bound?.digest === route.snapshot.digest) return use(session.bound);
      return bindCredential(route.snapshot, service, claims, deps.seals, session.bound).then((bound) => {
        session.bound = bound;
        return use(bound);
      });
    },
  };
}

// A token for one service learns nothing of the others: one that is not there is refused like one that is.
function checkService({ service, snapshot, prefix }: Route, token: VerifiedToken | undefined): ActiveService {
  if (token === undefined && service?.config.anonymous === true) return service;
  if (token === undefined) throw new DaypassError('token_missing', 'A token is needed');
  const isOwn = prefix === '' || prefix === `/s/${token.claims.service}`;
  if (service === undefined && isOwn) throw new DaypassError('service_unknown', 'There is no such service');
  if (token.claims.service !== service?.config.name || token.claims.aud !== snapshot.fleet)
    throw new DaypassError('service_wrong', 'The token is for another service');
  return service;
}

// What is closed to a client is closed to all that came of its tokens.
function checkClient({ config: { clients } }: ActiveService, claims: VerifiedClaims): void {
  const isOpen = ({ client_id }: Pick<VerifiedClaims, 'client_id'>): boolean => clients?.includes(client_id) ?? true;
  if (!isOpen(claims) || claims.parents?.every(isOpen) === false)
    throw new DaypassError('client_refused', 'The service is closed to this client');
}

// Mint keeps to it, too: this is for a token that somebody else signed with its key, or from before it was made shorter.
function checkLifetime({ config }: ActiveService, { iat, nbf, exp }: VerifiedClaims): void {
  if (exp - Math.min(iat, nbf) > config.max_ttl_seconds + 1)
    throw new DaypassError('token_lifetime_refused', 'The token lives longer than its service allows');
}

/** What rules are asked, and whether a body could still change their answer. */
type Asked = {
  readonly method: string;
  readonly path: string;
  readonly details: RequestDetails;
  readonly isBodyToCome: boolean;
  /** Why rules cannot look into the body; empty if they can. */
  readonly problem: string;
};

function askOf({ target }: Route, service: ActiveService, head: Head, body: HeldBody | undefined): Asked {
  const details = new RequestDetails({
    query: forwardedQuery(service, target.query),
    header: forwardedValues(service, head),
  });
  const { method } = head;
  if (!hasBody(head)) return { method, path: target.path, details, isBodyToCome: false, problem: 'it has no body' };
  const content = { type: details.header('content-type'), encoding: details.header('content-encoding') };
  const reading = readContentHeaders(content);
  let problem = 'problem' in reading ? reading.problem : '';
  if ('mediaType' in reading && body !== undefined) {
    try {
      details.body = readJsonBody(reading.mediaType, body.bytes);
    } catch (error) {
      if (!(error instanceof DaypassError)) throw error;
      problem = 'its body is not strict JSON';
    }
  }
  return { method, path: target.path, details, isBodyToCome: body === undefined && problem === '', problem };
}

/** The rule that allows the request; undefined if its body is needed to tell. */
function checkScope(asked: Asked, service: ActiveService, token: VerifiedToken): string | undefined {
  const { method, path, details, isBodyToCome } = asked;
  const { rules } = token.session;
  const scopes: ScopeLookup = (name) => service.scopes.get(name);
  const rule = matchRules(rules, method, path, scopes, details);
  if (rule !== undefined) return rule;
  const isOpen = needsBody(rules, method, path, scopes, details);
  if (isOpen && isBodyToCome) return undefined;
  const why = isOpen && asked.problem !== '' ? `: ${asked.problem}` : '';
  throw new DaypassError('scope_refused', `No rule of the token allows this request${why}`, {
    neededRule: smallestRule(method, path),
  });
}

// False if the body is needed to tell. A seal speaks of the paths that the upstream sees: another base path must not widen it.
function checkSeal(asked: Asked, seal: OpenedSeal, { config }: ActiveService, now: number): boolean {
  checkSealTime(seal, now);
  const { method, details, isBodyToCome } = asked;
  const path = config.base_path + asked.path;
  if (matchRules(seal.rules, method, path, undefined, details) !== undefined) return true;
  if (isBodyToCome && needsBody(seal.rules, method, path, undefined, details)) return false;
  throw new DaypassError('seal_scope_refused', 'The sealed credential does not allow this request');
}

type Granted = {
  readonly route: Route;
  readonly service: ActiveService;
  readonly token?: VerifiedToken;
  readonly rule?: string;
  readonly bound?: Bound;
  readonly bytes: Uint8Array | undefined;
};

const grant = ({ route, service, token, rule = '', bound, bytes }: Granted): Grant =>
  ({
    route,
    service,
    claims: token?.claims,
    session: token?.session,
    rule,
    credentialId: bound?.seal?.id ?? '',
    injection: bound?.injection,
    body: bytes,
  }) as Grant;
