// What mutants of authorization showed to be untested in one process: whose service it is, for whom, for how long.

import { compileRules } from '@daypass/core/rule-match';
import { parseRules } from '@daypass/core/rule-parse';
import type { ServiceConfig } from '@daypass/core/service';
import { parseTarget } from '@daypass/core/target';
import { expect, test } from 'vitest';
import type { ActiveSnapshot } from '../../data-plane/active.ts';
import { type ActiveService, prepareService } from '../../data-plane/active-service.ts';
import type { VerifiedToken } from '../../data-plane/authenticate.ts';
import { BODY_NEEDED, createAuthorizer } from '../../data-plane/authorize.ts';
import type { HeldBody } from '../../data-plane/held-body.ts';
import type { Route } from '../../data-plane/route.ts';
import type { Seals } from '../../data-plane/seals.ts';
import type { Head } from '../../data-plane/wire.ts';
import { claims, codeOf, FLEET } from '../core/fixture.ts';
import { serviceConfig } from '../data-plane/service-config.ts';

const configOf = (change: Partial<ServiceConfig>): ServiceConfig =>
  serviceConfig({
    name: 'github',
    origin: 'https://api.github.com',
    place: null,
    encoded_slashes: false,
    max_ttl_seconds: 1000,
    ...change,
  });
const serviceOf = (change: Partial<ServiceConfig> = {}): ActiveService =>
  prepareService(configOf(change), undefined, new Map());

const seals = {} as unknown as Seals;
const authorizer = createAuthorizer({ seals, nowMs: () => claims.iat * 1000 });

type Asked = {
  readonly service?: ActiveService | undefined;
  readonly prefix?: string;
  readonly fleet?: string;
  readonly digest?: string;
  readonly token?: VerifiedToken | undefined;
  readonly head?: Partial<Head>;
  readonly body?: string;
};

const tokenOf = (change: object = {}, rules: readonly string[] = ['GET /a']): VerifiedToken =>
  ({
    claims: { ...claims, ...change },
    session: { rules: compileRules(parseRules(rules)), bound: undefined },
  }) as unknown as VerifiedToken;

const ask = async (asked: Asked) => {
  const { prefix = '/s/github', fleet = FLEET, digest = 'd', head = {}, body } = asked;
  const service = 'service' in asked ? asked.service : serviceOf();
  const token = 'token' in asked ? asked.token : tokenOf();
  const snapshot = { fleet, digest, pool: 'default', isCutOff: () => false } as unknown as ActiveSnapshot;
  const route = { service, prefix, snapshot, target: parseTarget('/a') } as unknown as Route;
  const whole = { method: 'GET', fields: [], hopNames: new Set(), chunked: false, contentLength: undefined, ...head };
  const held = body === undefined ? undefined : ({ bytes: new TextEncoder().encode(body) } as unknown as HeldBody);
  return authorizer.authorize(route, token, whole as unknown as Head, held);
};

const parent = (client_id: string) => ({ jti: 'p', client_id, sub: 's', iat: claims.iat, status: claims.status });
const anonymous = serviceOf({ anonymous: true });

test.each<readonly [string, Asked, string]>([
  ['a request within its rules', {}, 'nothing'],
  ['a request by its path alone', { prefix: '' }, 'nothing'],
  ['nobody, for an anonymous service', { service: anonymous, token: undefined }, 'nothing'],
  ['nobody', { token: undefined }, 'token_missing'],
  ['nobody, for no service', { service: undefined, token: undefined }, 'token_missing'],
  ['a token of an anonymous service, with a rule', { service: anonymous }, 'nothing'],
  ['a token whose own service is gone', { service: undefined }, 'service_unknown'],
  ['a token at the root, where there is no service', { service: undefined, prefix: '' }, 'service_unknown'],
  ['a token where another service is not', { service: undefined, prefix: '/s/gitlab' }, 'service_wrong'],
  [
    'a token where another service is',
    { service: serviceOf({ name: 'gitlab' }), prefix: '/s/gitlab' },
    'service_wrong',
  ],
  ['a token of another fleet', { fleet: 'urn:daypass:fleet:other' }, 'service_wrong'],
  ['a client that the service is open to', { service: serviceOf({ clients: ['octo-bot'] }) }, 'nothing'],
  ['a client that it is closed to', { service: serviceOf({ clients: ['other'] }) }, 'client_refused'],
  ['a client of a service that is closed to all', { service: serviceOf({ clients: [] }) }, 'client_refused'],
  [
    'a token that came of one of a client that it is closed to',
    {
      service: serviceOf({ clients: ['octo-bot'] }),
      token: tokenOf({ parents: [parent('octo-bot'), parent('closed')] }),
    },
    'client_refused',
  ],
  [
    'a token that came of some of clients that it is open to',
    { service: serviceOf({ clients: ['octo-bot'] }), token: tokenOf({ parents: [parent('octo-bot')] }) },
    'nothing',
  ],
  ['the longest life', { token: tokenOf({ exp: claims.iat + 1001 }) }, 'nothing'],
  ['a longer one', { token: tokenOf({ exp: claims.iat + 1001.5 }) }, 'token_lifetime_refused'],
  ['a longer one from nbf', { token: tokenOf({ nbf: claims.iat - 102 }) }, 'token_lifetime_refused'],
  [
    'a longer one from iat',
    { token: tokenOf({ nbf: claims.iat + 1, exp: claims.iat + 1002 }) },
    'token_lifetime_refused',
  ],
  ['another path', { token: tokenOf({}, ['GET /b']) }, 'scope_refused'],
])('%s', async (_who, asked, code) => {
  expect(await codeOf(() => ask(asked))).toBe(code);
});

const json = (length: number, ...more: string[]): Partial<Head> => ({
  method: 'POST',
  contentLength: length,
  fields: ['content-type', 'application/json', ...more],
});
const onBody = tokenOf({}, ['POST /a where body.x = 1']);

test('a rule on a body waits for the body, and decides on it', async () => {
  expect(await ask({ token: onBody, head: json(7) })).toBe(BODY_NEEDED);
  expect(await ask({ token: onBody, head: json(7), body: '{"x":1}' })).toMatchObject({
    rule: 'POST /a where body.x = 1',
  });
});

test.each<readonly [string, Asked, string]>([
  ['no body', { head: json(0) }, ': it has no body'],
  ['a body that is no JSON', { head: json(1), body: '{' }, ': its body is not strict JSON'],
  ['another media type', { head: { method: 'POST', contentLength: 7 } }, ': it has no Content-Type'],
  ['an encoding', { head: json(7, 'content-encoding', 'gzip') }, ': its Content-Encoding is not identity'],
  ['another body', { head: json(7), body: '{"x":2}' }, ''],
  ['another path', { token: tokenOf({}, ['POST /b where body.x = 1']), head: json(0) }, ''],
])('a rule on a body refuses %s, and says why', async (_what, asked, why) => {
  const refused = ask({ token: onBody, ...asked });
  await expect(refused).rejects.toMatchObject({
    code: 'scope_refused',
    message: `No rule of the token allows this request${why}`,
    neededRule: 'POST /a',
  });
});

test('what a token is bound to is found out once a snapshot', async () => {
  const token = tokenOf();
  await ask({ token });
  const first = token.session.bound;
  await ask({ token });
  expect(token.session.bound).toBe(first);
  await ask({ token, digest: 'other' });
  expect(token.session.bound).not.toBe(first);
});

test('a grant without a credential names none', async () => {
  expect(await ask({})).toMatchObject({ rule: 'GET /a', credentialId: '', injection: undefined });
  expect(await ask({ service: anonymous, token: undefined })).toMatchObject({ rule: '', credentialId: '' });
});
