// What verified tokens have in common is kept once, and nothing of them is changed by it.

import { createHash } from 'node:crypto';
import type { ServiceConfig } from '@daypass/core/service';
import type { VerifiedClaims } from '@daypass/core/token';
import { describe, expect, test, vi } from 'vitest';
import type { ActiveSnapshot } from '../../data-plane/active.ts';
import { type FieldRules, prepareService } from '../../data-plane/active-service.ts';
import { bindCredential } from '../../data-plane/bound.ts';
import { createTokenKeeper } from '../../data-plane/kept-token.ts';
import { DEFAULT_LIMITS } from '../../data-plane/limits.ts';
import type { Opened } from '../../data-plane/seals.ts';
import { createUpstreams } from '../../data-plane/upstreams.ts';
import { serviceConfig } from './service-config.ts';

const claimsOf = (change: Partial<VerifiedClaims> = {}): VerifiedClaims =>
  ({
    iss: 'https://control.example',
    aud: 'urn:fleet',
    sub: 'octo-bot',
    client_id: 'octo-bot',
    caller: 'ci',
    jti: 'one',
    iat: 1_700_000_000.25,
    nbf: 1_700_000_000,
    exp: 1_700_000_900,
    service: 'api',
    allowed: ['GET /a/{b}', 'POST /c'],
    scope_version: 1,
    status: { status_list: { idx: 7, uri: 'https://control.example/statuslists/0' } },
    ...change,
  }) as unknown as VerifiedClaims;

describe('a kept token', () => {
  test('says what it said', () => {
    const { keep } = createTokenKeeper();
    const parents = [{ jti: 'p', client_id: 'c', sub: 's', iat: 1, status: claimsOf().status }];
    for (const claims of [claimsOf(), claimsOf({ jti: 'two' }), claimsOf({ parents, act: { sub: 'x' } })])
      expect(keep(claims).claims).toEqual(claims);
  });
  test('shares its rules with those that have the same, and with no others', () => {
    const { keep } = createTokenKeeper();
    const first = keep(claimsOf());
    expect(keep(claimsOf({ jti: 'two', sub: 'other' })).rules).toBe(first.rules);
    for (const allowed of [['POST /c', 'GET /a/{b}'], ['GET /a/{b}'], ['GET /a/{b}', 'POST /c', 'POST /c']])
      expect(keep(claimsOf({ allowed })).rules).not.toBe(first.rules);
  });
  test.each(['\ud800', '\udc00x', 'é', '\u{1f600}'])('keeps %j as it is', (sub) => {
    const { keep } = createTokenKeeper();
    expect(keep(claimsOf({ sub })).claims.sub).toBe(sub);
    expect(keep(claimsOf({ sub: '\ufffd' })).claims.sub).toBe('\ufffd');
    expect(keep(claimsOf({ sub })).claims.sub).toBe(sub);
  });
  test('with a rule that cannot be read is refused, each time', () => {
    const { keep } = createTokenKeeper();
    for (let turn = 0; turn < 2; turn += 1)
      expect(() => keep(claimsOf({ allowed: ['GET no'] }))).toThrow(
        expect.objectContaining({ code: 'token_malformed' }),
      );
  });
  test('is charged for rules that nobody kept before, for many rules, and for a credential of its own', () => {
    const { keep } = createTokenKeeper();
    const many = Array.from({ length: 100 }, (_, at) => `GET /many/${at}`);
    const [fresh, again] = [keep(claimsOf()).bytes, keep(claimsOf()).bytes];
    expect(fresh).toBe(again + 2048);
    expect(keep(claimsOf({ allowed: many })).bytes).toBe(again + 100 * 1024);
    expect(keep(claimsOf({ allowed: many })).bytes).toBe(again + 92 * 1024);
    expect(keep(claimsOf({ credential: 'sealed' })).bytes).toBe(again + 8192);
  });
});

const ORIGIN = 'http://127.0.0.1:9';
const configOf = (change: Partial<ServiceConfig> = {}): ServiceConfig =>
  serviceConfig({ name: 'api', origin: ORIGIN, ...change });

describe('two services', () => {
  const cases: readonly [string, Partial<ServiceConfig>, { pool: boolean; fields: boolean }][] = [
    ['alike but for their names', { name: 'other' }, { pool: true, fields: true }],
    ['with other base paths', { name: 'other', base_path: '/v2' }, { pool: true, fields: true }],
    ['at two origins', { name: 'other', origin: 'http://127.0.0.1:10' }, { pool: false, fields: true }],
    ['with other times to connect', { name: 'other', connect_timeout_ms: 1 }, { pool: false, fields: true }],
    ['of which one may be insecure', { name: 'other', insecure_upstream: true }, { pool: false, fields: true }],
    ['of which one takes no credential', { name: 'other', place: null }, { pool: false, fields: false }],
    ['with other fields set', { name: 'other', set_headers: { 'x-a': '1' } }, { pool: false, fields: false }],
    ['with other fields dropped', { name: 'other', drop_headers: ['x-a'] }, { pool: true, fields: false }],
    ['with other query keys dropped', { name: 'other', drop_query: ['a'] }, { pool: true, fields: false }],
    ['with other places for tokens', { name: 'other', token_in: [{ kind: 'token' }] }, { pool: true, fields: false }],
  ];
  test.each(cases)('%s share what is the same for both, and nothing else', (_name, change, shared) => {
    const known = new Map<string, FieldRules>();
    const [one, two] = [configOf(), configOf(change)].map((config) =>
      prepareService(config, undefined, new Map(), known),
    );
    if (one === undefined || two === undefined) throw new Error('there are two');
    expect(one.dropsField === two.dropsField).toBe(shared.fields);
    const upstreams = createUpstreams({
      policy: { checkAddress: () => undefined, checkUrl: () => undefined, isAllowedRange: () => true },
      resolve: () => undefined,
      limits: DEFAULT_LIMITS,
    });
    const snapshot = {
      version: 1,
      services: new Map([
        ['api', one],
        ['other', two],
      ]),
    } as unknown as ActiveSnapshot;
    expect(upstreams.poolOf(snapshot, one) === upstreams.poolOf(snapshot, two)).toBe(shared.pool);
    upstreams.destroy();
  });
});

describe('a credential', () => {
  const digestOf = (text: string) => createHash('sha256').update(text).digest('hex');
  const snapshotOf = (version: number) =>
    ({
      digest: digestOf(String(version)),
      fleet: 'f',
      pool: 'default',
      isCutOff: () => false,
    }) as unknown as ActiveSnapshot;
  const openedFor = (service: string): Opened =>
    ({
      seal: {
        fleet: 'f',
        pool: 'default',
        service,
        origins: [ORIGIN],
        place: { kind: 'bearer' },
        callers: ['ci'],
        id: 'a',
      },
      injection: () => ({}),
    }) as unknown as Opened;
  const withCredential = (sealed: string) => prepareService(configOf(), { id: 'a', sealed }, new Map());

  test('that a snapshot leaves as it was is not opened again, but bound again', async () => {
    const open = vi.fn(async () => openedFor('api'));
    const before = await bindCredential(snapshotOf(1), withCredential('one'), claimsOf(), { open }, undefined);
    const after = await bindCredential(snapshotOf(2), withCredential('one'), claimsOf(), { open }, before);
    expect([open.mock.calls.length, after.digest, after.injection === undefined]).toEqual([1, digestOf('2'), false]);
    const stranger = bindCredential(
      snapshotOf(3),
      withCredential('one'),
      claimsOf({ caller: 'other' }),
      { open },
      after,
    );
    await expect(stranger).rejects.toMatchObject({ code: 'seal_caller_wrong' });
  });
  test('that a snapshot replaces is opened', async () => {
    const open = vi.fn(async () => openedFor('api'));
    const before = await bindCredential(snapshotOf(1), withCredential('one'), claimsOf(), { open }, undefined);
    await bindCredential(snapshotOf(2), withCredential('two'), claimsOf(), { open }, before);
    expect(open.mock.calls).toEqual([['one'], ['two']]);
  });
  test('that a snapshot takes away is not put on', async () => {
    const open = vi.fn(async () => openedFor('api'));
    const before = await bindCredential(snapshotOf(1), withCredential('one'), claimsOf(), { open }, undefined);
    const none = prepareService(configOf({ place: null }), undefined, new Map());
    const after = await bindCredential(snapshotOf(2), none, claimsOf(), { open }, before);
    expect([after.seal, after.injection]).toEqual([undefined, undefined]);
    const missing = prepareService(configOf(), undefined, new Map());
    await expect(bindCredential(snapshotOf(2), missing, claimsOf(), { open }, before)).rejects.toMatchObject({
      code: 'credential_missing',
    });
  });
});
