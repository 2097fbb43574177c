// Authorization: a `Grant` is the proof that a request lies within its token's rules and within its seal's.
import { DaypassError } from '@daypass/core/errors';
import { matchRules, smallestRule } from '@daypass/core/rule-match';
import { checkSealTime, type OpenedSeal } from '@daypass/core/seal';
import type { VerifiedClaims } from '@daypass/core/token';
import type { ActiveSnapshot } from './active.ts';
import type { ActiveService } from './active-service.ts';
import type { VerifiedToken } from './authenticate.ts';
import { type Bound, bindCredential } from './bound.ts';
import type { Injection } from './injection.ts';
import type { Route } from './route.ts';
import type { Seals } from './seals.ts';

declare const granted: unique symbol;

/** A request that may go upstream, with the credential that it may use. Only this file makes one. */
export type Grant = {
  readonly route: Route;
  readonly service: ActiveService;
  readonly claims: VerifiedClaims | undefined;
  /** The rule that allows it; empty for an anonymous service. */
  readonly rule: string;
  /** Empty when none is put on. */
  readonly credentialId: string;
  readonly injection: Injection | undefined;
  readonly [granted]: true;
};

/** The step. */
export type Authorizer = {
  /** Throws the code of the first thing that does not allow the request. */
  authorize(route: Route, token: VerifiedToken | undefined, method: string): Promise<Grant>;
};

/** Returns the step. */
export function createAuthorizer(deps: { readonly seals: Seals; readonly nowMs: () => number }): Authorizer {
  return {
    async authorize(route, token, method) {
      const service = checkService(route, token);
      if (token === undefined) return grant(route, service, undefined, '', undefined);
      checkClient(service, token.claims);
      const rule = checkScope(route, service, token, method);
      const bound = await boundOf(route.snapshot, service, token, deps.seals);
      if (bound.seal !== undefined) checkSeal(bound.seal, service, route, method, deps.nowMs() / 1000);
      return grant(route, service, token.claims, rule, bound);
    },
  };
}

function checkService({ service, snapshot }: Route, token: VerifiedToken | undefined): ActiveService {
  if (token === undefined && service?.config.anonymous === true) return service;
  if (token === undefined) throw new DaypassError('token_missing', 'A token is needed');
  if (service === undefined) throw new DaypassError('service_unknown', 'There is no such service');
  if (token.claims.service !== service.config.name || token.claims.aud !== snapshot.fleet)
    throw new DaypassError('service_wrong', 'The token is for another service');
  return service;
}

function checkClient({ config }: ActiveService, claims: VerifiedClaims): void {
  if (config.clients !== null && !config.clients.includes(claims.client_id))
    throw new DaypassError('client_refused', 'The service is closed to this client');
}

function checkScope({ target }: Route, service: ActiveService, token: VerifiedToken, method: string): string {
  const rule = matchRules(token.session.rules, method, target.path, (name) => service.scopes.get(name));
  if (rule !== undefined) return rule;
  const neededRule = smallestRule(method, target.path);
  throw new DaypassError('scope_refused', 'No rule of the token allows this request', { neededRule });
}

// A seal speaks of the paths that the upstream sees: another base path must not widen it.
function checkSeal(seal: OpenedSeal, { config }: ActiveService, { target }: Route, method: string, now: number): void {
  checkSealTime(seal, now);
  if (matchRules(seal.rules, method, config.base_path + target.path) === undefined)
    throw new DaypassError('seal_scope_refused', 'The sealed credential does not allow this request');
}

async function boundOf(
  snapshot: ActiveSnapshot,
  service: ActiveService,
  { session, claims }: VerifiedToken,
  seals: Seals,
): Promise<Bound> {
  const before = session.bound;
  if (before?.snapshot === snapshot && before.service === service) return before;
  const bound = await bindCredential(snapshot, service, claims, seals);
  session.bound = bound;
  return bound;
}

const grant = (
  route: Route,
  service: ActiveService,
  claims: VerifiedClaims | undefined,
  rule: string,
  bound: Bound | undefined,
): Grant =>
  ({
    route,
    service,
    claims,
    rule,
    credentialId: bound?.seal?.id ?? '',
    injection: bound?.injection,
  }) as Grant;
