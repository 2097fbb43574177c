// sealFor seals only to a key that chains to a trusted root.

import type { MessageInitShape } from '@bufbuild/protobuf';
import { importEd25519, importX25519, type KeyStatement, signKeyStatement } from '@daypass/core/key';
import { openSeal } from '@daypass/core/seal';
import {
  ALL_REQUESTS,
  ANY_CALLER,
  createClients,
  createDaypass,
  fingerprint,
  type SealRequest,
  sealFor,
} from '@daypass/sdk';
import type { GetSealingKeysResponseSchema } from '@daypass/sdk/gen/daypass/v1/key_pb';
import { type GetSealingKeysResponse, KeyService } from '@daypass/sdk/gen/daypass/v1/key_pb';
import { expect, test } from 'vitest';
import { FLEET, otherKey, issuerKey as root, sealingKey } from '../core/fixture.ts';
import { CONTROL, fetchTo, thrownBy } from './fixture.ts';

const inAYear = Math.floor(Date.now() / 1000) + 31_536_000;
const statement: KeyStatement = {
  v: 1,
  fleet: FLEET,
  pool: 'default',
  use: 'seal',
  kid: sealingKey.kid,
  jwk: sealingKey.publicJwk,
  not_after: inAYear,
};
const signedBy = async (key: typeof root, change: Partial<KeyStatement> = {}) =>
  signKeyStatement({ ...statement, ...change }, await importEd25519(key.privateJwk, 'sign'));

const honest = { fleet: FLEET, root: JSON.stringify(root.publicJwk), keys: [await signedBy(root)] };
type Served = MessageInitShape<typeof GetSealingKeysResponseSchema>;
const servedBy = (served: Served): typeof fetch =>
  fetchTo((router) => {
    router.service(KeyService, { getSealingKeys: () => served as GetSealingKeysResponse });
  });
const request = (served: Served): SealRequest => ({
  clients: createClients({ baseUrl: CONTROL, fetch: servedBy(served) }),
  root: root.publicJwk,
  service: 'github',
  secret: 'ghp_canary',
  upstream: 'https://api.github.com',
  place: { kind: 'bearer' },
  rules: [ALL_REQUESTS],
  callers: [ANY_CALLER],
  lifetimeSeconds: 3600,
});
const keys = new Map([[sealingKey.kid, await importX25519(sealingKey.privateJwk, 'open')]]);

test('a credential is sealed to the key that the root signed', async () => {
  const sealed = await sealFor(request(honest));
  const opened = await openSeal(sealed.sealed, keys);
  expect(opened).toMatchObject({
    id: sealed.id,
    fleet: FLEET,
    pool: 'default',
    service: 'github',
    callers: ['*'],
    ruleTexts: ['* /**'],
  });
  expect(opened.secret.reveal()).toBe('ghp_canary');
  expect(sealed.kid).toBe(sealingKey.kid);
  expect(opened.exp - opened.nbf).toBe(3660);
  expect(sealed.expiresAt.getTime()).toBe(opened.exp * 1000);
});

test('the rules of a seal stand below the base path, so that another base path cannot widen them', async () => {
  const change = { upstream: 'https://git.example/api/v3/', rules: ['GET /user', ALL_REQUESTS] };
  const opened = await openSeal((await sealFor({ ...request(honest), ...change })).sealed, keys);
  expect(opened).toMatchObject({ origins: ['https://git.example'], ruleTexts: ['GET /api/v3/user', '* /api/v3/**'] });
});

test('each seal has an id of its own', async () => {
  const [a, b] = await Promise.all([sealFor(request(honest)), sealFor(request(honest))]);
  expect(a.id).not.toBe(b.id);
  expect(a.id).toMatch(/^[0-9a-f]{32}$/);
});

test('the first key that the root vouches for is used', async () => {
  const served = {
    ...honest,
    keys: [await signedBy(otherKey), await signedBy(root, { not_after: 1 }), ...honest.keys],
  };
  expect((await sealFor(request(served))).kid).toBe(sealingKey.kid);
});

test.each([
  ['is signed by another root', { ...honest, keys: [await signedBy(otherKey)] }],
  [
    'is signed by another root that is shown as the root',
    { ...honest, root: JSON.stringify(otherKey.publicJwk), keys: [await signedBy(otherKey)] },
  ],
  ['has ended', { ...honest, keys: [await signedBy(root, { not_after: 1 })] }],
  ['is of another pool', { ...honest, keys: [await signedBy(root, { pool: 'eu' })] }],
  ['is of another fleet', { ...honest, fleet: 'urn:daypass:fleet:B' }],
  ['is for snapshots', { ...honest, keys: [await signedBy(root, { use: 'snapshot', jwk: otherKey.publicJwk })] }],
  ['is not there', { ...honest, keys: [] }],
])('nothing is sealed to a key that %s', async (_what, served) => {
  expect(await thrownBy(() => sealFor(request(served)))).toMatchObject({ code: 'key_untrusted' });
});

test('without a root nothing is sealed', async () => {
  const { root: _, ...rest } = request(honest);
  expect(await thrownBy(() => sealFor(rest))).toMatchObject({ code: 'key_untrusted' });
});

test('a root may be trusted at first use, by its fingerprint', async () => {
  const { root: _, ...rest } = request(honest);
  const shown: string[] = [];
  const trustOnFirstUse = (text: string): boolean => shown.push(text) > 1;
  expect(await thrownBy(() => sealFor({ ...rest, trustOnFirstUse }))).toMatchObject({ code: 'key_untrusted' });
  expect((await sealFor({ ...rest, trustOnFirstUse })).kid).toBe(sealingKey.kid);
  expect(shown).toEqual([await fingerprint(root.publicJwk), await fingerprint(root.publicJwk)]);
});

test.each([
  [{ secret: 'a\r\nb' }, 'invalid_argument'],
  [{ upstream: 'api.github.com' }, 'invalid_argument'],
  [{ upstream: 'ftp://api.github.com' }, 'invalid_argument'],
  [{ upstream: 'https://user@api.github.com' }, 'invalid_argument'],
  [{ rules: ['scope:triage'] }, 'invalid_rule'],
  [{ lifetimeSeconds: 0 }, 'invalid_argument'],
  [{ lifetimeSeconds: Number.NaN }, 'invalid_argument'],
  [{ carrier: 'token', secret: 'x'.repeat(1500) }, 'invalid_argument'],
] as const)('what cannot be sealed is refused: %j', async (change, code) => {
  expect(await thrownBy(() => sealFor({ ...request(honest), ...change }))).toMatchObject({ code });
});

test('a Daypass seals with its own clients and root', async () => {
  const { clients: _, root: pinned, ...rest } = request(honest);
  const daypass = createDaypass({
    controlPlane: CONTROL,
    dataPlane: CONTROL,
    apiKey: 'k',
    fetch: servedBy(honest),
    root: pinned,
  });
  expect((await daypass.seal(rest)).kid).toBe(sealingKey.kid);
  const other = createDaypass({
    controlPlane: CONTROL,
    dataPlane: CONTROL,
    apiKey: 'k',
    fetch: servedBy(honest),
    root: otherKey.publicJwk,
  });
  expect(await thrownBy(() => other.seal(rest))).toMatchObject({ code: 'key_untrusted' });
});
