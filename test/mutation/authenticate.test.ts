// What mutants of authentication showed to be untested: how many signatures are checked at once, and who pays for them.
import { importEd25519 } from '@daypass/core/key';
import type { VerificationKey } from '@daypass/core/token';
import { beforeEach, expect, test } from 'vitest';
import type { ActiveSnapshot } from '../../data-plane/active.ts';
import { createAuthenticator, type Presenting } from '../../data-plane/authenticate.ts';
import { type Bucket, fullBucket } from '../../data-plane/bucket.ts';
import { connectionFailures, type DataLimits, DEFAULT_LIMITS } from '../../data-plane/limits.ts';
import { createMetrics } from '../../data-plane/metrics.ts';
import type { Prover } from '../../data-plane/proof.ts';
import type { Route } from '../../data-plane/route.ts';
import { createLimitMemory, openSharedLimits } from '../../data-plane/shared/limits.ts';
import type { Head } from '../../data-plane/wire.ts';
import { claims, codeOf, FLEET, forge, ISSUER, issuerKey, NOW, otherKey } from '../core/fixture.ts';

const imported = await importEd25519(issuerKey.publicJwk, 'verify');
let checked = 0;
const key: VerificationKey = {
  alg: 'Ed25519',
  issuer: ISSUER,
  get key() {
    checked += 1;
    return imported;
  },
};
beforeEach(() => {
  checked = 0;
});

let made = 0;
const snapshotOf = (change: object = {}): ActiveSnapshot => {
  made += 1;
  return {
    digest: `snapshot ${made}`,
    fleet: FLEET,
    keys: new Map([[issuerKey.kid, key]]),
    keyPrints: new Map([[issuerKey.kid, 'print']]),
    isRevoked: () => false,
    isCutOff: () => false,
    ...change,
  } as unknown as ActiveSnapshot;
};

const header = { alg: 'Ed25519', typ: 'at+jwt', kid: issuerKey.kid };
const good = (jti: string): string => forge(header, { ...claims, jti });
const bad = (jti: string): string => forge(header, { ...claims, jti }, otherKey);

/** An authenticator with a clock that stands, and the ways to ask it. */
function standing(limits: Partial<DataLimits> = {}) {
  const all = { ...DEFAULT_LIMITS, ...limits };
  const clock = { ms: NOW * 1000 };
  const metrics = createMetrics();
  const prover = {} as unknown as Prover;
  const nowMs = () => clock.ms;
  const { failures: total } = openSharedLimits(createLimitMemory(all, clock.ms), 0, all, nowMs);
  const authenticator = createAuthenticator({ limits: all, nowMs, metrics, prover, failures: total });
  const connection = (): Bucket => fullBucket(connectionFailures(all), clock.ms);
  const ask = (text: string, failures: Bucket = connection(), snapshot = snapshotOf()) => {
    const presenting: Presenting = { connection: { failures } };
    const head = { authorization: `Bearer ${text}`, fields: [], memo: {} } as unknown as Head;
    return codeOf(() =>
      authenticator.authenticate({ service: undefined, snapshot } as unknown as Route, head, presenting),
    );
  };
  return { ask, clock, connection, metrics };
}

test('one token is verified once for all that present it at the same time, and once for those after', async () => {
  const { ask, metrics } = standing({ maxVerifying: 1 });
  const token = good('a');
  const snapshot = snapshotOf();
  const codes = await Promise.all([1, 2, 3].map(() => ask(token, undefined, snapshot)));
  expect([...codes, await ask(token, undefined, snapshot)]).toEqual(['nothing', 'nothing', 'nothing', 'nothing']);
  expect(checked).toBe(1);
  const lines = metrics.render().split('\n');
  expect(lines).toContain('daypass_token_lookups_total{result="miss"} 3');
  expect(lines).toContain('daypass_token_lookups_total{result="hit"} 1');
});

test('under another snapshot it is verified again', async () => {
  const { ask } = standing();
  const token = good('a');
  const other = snapshotOf({ fleet: 'urn:daypass:fleet:other' });
  expect(await Promise.all([ask(token), ask(token, undefined, other)])).toEqual(['nothing', 'token_audience_wrong']);
  expect(checked).toBe(2);
});

test('a verified token is none of another fleet that has the same key', async () => {
  const { ask } = standing();
  expect(await ask(good('a'))).toBe('nothing');
  expect(await ask(good('a'), undefined, snapshotOf({ fleet: 'urn:daypass:fleet:other' }))).toBe(
    'token_audience_wrong',
  );
});

test('a token of a key that is not active costs no signature and no budget', async () => {
  const { ask } = standing({ failureBurst: 1, failuresPerSecond: 0.001 });
  const none = snapshotOf({ keys: new Map() });
  for (const jti of ['a', 'b', 'c']) expect(await ask(good(jti), undefined, none)).toBe('token_key_unknown');
  expect(checked).toBe(0);
  expect(await ask(good('a'))).toBe('nothing');
});

test('a snapshot without the print of a key has not the key', async () => {
  const { ask } = standing();
  expect(await ask(good('a'), undefined, snapshotOf({ keyPrints: new Map() }))).toBe('token_key_unknown');
});

test('no more tokens than the limit are verified at once, and as many again when those are done', async () => {
  const { ask } = standing({ maxVerifying: 2 });
  const codes = await Promise.all(['a', 'b', 'c'].map((jti) => ask(good(jti))));
  expect(codes).toEqual(['nothing', 'nothing', 'overloaded']);
  expect(await Promise.all(['d', 'e'].map((jti) => ask(bad(jti))))).toEqual(Array(2).fill('token_signature_invalid'));
  expect(await Promise.all(['f', 'g'].map((jti) => ask(good(jti))))).toEqual(['nothing', 'nothing']);
});

test('good tokens cost a connection nothing, and bad ones end it for a while', async () => {
  const { ask, clock, connection } = standing({ failureBurstPerConnection: 2, failuresPerSecondPerConnection: 1 });
  const mine = connection();
  for (const jti of ['a', 'b', 'c', 'd']) expect(await ask(good(jti), mine)).toBe('nothing');
  for (const jti of ['a', 'b']) expect(await ask(bad(jti), mine)).toBe('token_signature_invalid');
  expect(await ask(bad('c'), mine)).toBe('rate_limited');
  expect(await ask(good('e'), mine)).toBe('rate_limited');
  expect(await ask(good('a'), mine)).toBe('nothing');
  expect(await ask(good('f'))).toBe('nothing');
  clock.ms += 1000;
  expect(await ask(good('e'), mine)).toBe('nothing');
});

test('bad tokens of all connections together end it for all, until a second has passed', async () => {
  const { ask, clock } = standing({ failureBurst: 2, failuresPerSecond: 1 });
  for (const jti of ['a', 'b', 'c', 'd']) expect(await ask(good(jti))).toBe('nothing');
  for (const jti of ['a', 'b']) expect(await ask(bad(jti))).toBe('token_signature_invalid');
  expect(await ask(bad('c'))).toBe('overloaded');
  clock.ms += 500;
  expect(await ask(good('e'))).toBe('overloaded');
  clock.ms += 500;
  expect(await ask(good('e'))).toBe('nothing');
});

test.each([
  { isRevoked: () => true },
  { isCutOff: () => true },
])('a verified token is looked up again in a new snapshot, and in each until it is clear', async (change) => {
  const { ask } = standing();
  expect(await ask(good('a'))).toBe('nothing');
  const revoking = snapshotOf(change);
  for (const _ of [1, 2]) expect(await ask(good('a'), undefined, revoking)).toBe('token_revoked');
  expect(await ask(good('a'))).toBe('nothing');
});

test('what a snapshot has cleared is not looked up in it again', async () => {
  let asked = 0;
  const snapshot = snapshotOf({
    isRevoked: () => {
      asked += 1;
      return false;
    },
  });
  const { ask } = standing();
  for (const _ of [1, 2, 3]) expect(await ask(good('a'), undefined, snapshot)).toBe('nothing');
  expect(asked).toBe(1);
});
