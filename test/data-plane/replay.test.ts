// The memory of used proofs: one use each, bounded, shared fairly, and not fooled by a clock that is set.

import type { VerifiedClaims } from '@daypass/core/token';
import { describe, expect, test } from 'vitest';
import type { ActiveSnapshot } from '../../data-plane/active.ts';
import { fullBucket } from '../../data-plane/bucket.ts';
import { connectionFailures, type DataLimits, DEFAULT_LIMITS } from '../../data-plane/limits.ts';
import { createNonces, type Nonces } from '../../data-plane/nonce.ts';
import { createProver } from '../../data-plane/proof.ts';
import { createReplays, type ProofUse } from '../../data-plane/replay.ts';
import { createLimitMemory, openSharedLimits } from '../../data-plane/shared/limits.ts';
import type { Head } from '../../data-plane/wire.ts';
import { type ClientKey, clientKey, proofOf } from '../kit/dpop.ts';

const START = 1_800_000_000_000;

function setUp(proofsMax = 64) {
  const clock = { nowMs: START };
  const { proofs } = sharedBy({ ...DEFAULT_LIMITS, proofsMax }, () => clock.nowMs);
  const replays = createReplays(proofs, proofsMax);
  let count = 0;
  const use = (token = 't1', caller = 'ci', change: Partial<ProofUse> = {}): ProofUse => {
    count += 1;
    return { jkt: 'key', jti: `proof ${count}`, iat: clock.nowMs / 1000, token: { jti: token, caller }, ...change };
  };
  return { clock, replays, use, size: proofs.size };
}

const sharedBy = (limits: DataLimits, nowMs: () => number) =>
  openSharedLimits(createLimitMemory(limits, nowMs()), 0, limits, nowMs);

const codeOf = (work: () => void): unknown => {
  try {
    work();
    return 'taken';
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
};

describe('a proof', () => {
  test('is taken once for a key, and looking does not take it', () => {
    const { replays, use } = setUp();
    const one = use();
    replays.check(one);
    replays.take(one);
    expect([codeOf(() => replays.check(one)), codeOf(() => replays.take(one))]).toEqual([
      'proof_replayed',
      'proof_replayed',
    ]);
    replays.take({ ...one, jkt: 'other' });
  });

  test('is remembered for as long as it is good, even one from the future', () => {
    const { clock, replays, use } = setUp();
    const one = use('t1', 'ci', { iat: START / 1000 + 5 });
    replays.take(one);
    clock.nowMs += 65_999;
    replays.take(use());
    expect(codeOf(() => replays.check(one))).toBe('proof_replayed');
  });

  test('that was forgotten stays used when the clock is set back', () => {
    const { clock, replays, use, size } = setUp();
    const one = use();
    replays.take(one);
    clock.nowMs += 3_600_000;
    replays.take(use());
    expect(size()).toBe(1);
    clock.nowMs -= 3_600_000;
    expect(codeOf(() => replays.check(one))).toBe('proof_replayed');
    clock.nowMs += 1_000;
    replays.take(use());
  });
});

describe('a full memory', () => {
  test('refuses a token that fills its part, a caller that fills its own, and at last everybody', () => {
    const { replays, use, size } = setUp();
    const fill = (token: string, caller: string) => {
      for (let at = 0; at < 100; at += 1) {
        const code = codeOf(() => replays.take(use(token, caller)));
        if (code !== 'taken') return [at, code];
      }
      return [];
    };
    expect(fill('a1', 'a')).toEqual([4, 'rate_limited']);
    for (const token of ['a2', 'a3', 'a4']) expect(fill(token, 'a')).toEqual([4, 'rate_limited']);
    expect(fill('a5', 'a')).toEqual([0, 'rate_limited']);
    for (const caller of ['b', 'c', 'd']) for (const at of [1, 2, 3, 4]) fill(`${caller}${at}`, caller);
    expect(size()).toBe(64);
    expect(fill('e1', 'e')).toEqual([0, 'overloaded']);
  });

  test('has room again when what it holds has ended', () => {
    const { clock, replays, use, size } = setUp();
    for (const caller of ['a', 'b', 'c', 'd'])
      for (let at = 0; at < 16; at += 1) replays.take(use(`${caller}${at >> 2}`, caller));
    expect(codeOf(() => replays.check(use('e1', 'e')))).toBe('overloaded');
    clock.nowMs += 76_000;
    replays.take(use('a0', 'a'));
    expect(size()).toBe(1);
  });

  test('gives back the room of a token that has stopped', () => {
    const { clock, replays, use, size } = setUp(DEFAULT_LIMITS.proofsMax);
    for (let at = 0; at < 32_768; at += 1) replays.take(use('t', 'ci'));
    expect(codeOf(() => replays.take(use('t', 'ci')))).toBe('rate_limited');
    clock.nowMs += 76_000;
    replays.take(use('t', 'ci'));
    expect(size()).toBe(1);
  });
});

describe('a nonce', () => {
  test('is good in its time, old in the next, then wrong, and wrong anywhere else', () => {
    const clock = { nowMs: Math.ceil(START / 150_000) * 150_000 };
    const [nonces, elsewhere] = [1, 2].map((key) => createNonces(Buffer.alloc(32, key), () => clock.nowMs)) as [
      Nonces,
      Nonces,
    ];
    const nonce = nonces.current();
    clock.nowMs += 149_999;
    expect([nonces.judge(nonce), elsewhere.judge(nonce), nonces.current()]).toEqual(['good', 'wrong', nonce]);
    clock.nowMs += 1;
    expect([nonces.judge(nonce), nonces.current() === nonce]).toEqual(['old', false]);
    clock.nowMs += 150_000;
    expect([nonces.judge(nonce), nonces.judge(''), nonces.judge('é'.repeat(12))]).toEqual(['wrong', 'wrong', 'wrong']);
  });
});

test('good proofs of one token that come all at once are all taken', async () => {
  const client = await clientKey();
  const now = () => START;
  const limits = { ...DEFAULT_LIMITS, failureBurstPerConnection: 3 };
  const publicUrl = () => 'http://a';
  const prover = createProver({ limits, shared: sharedBy(limits, now), nowMs: now, nonceRule: 'auto', publicUrl });
  const sender = prover.sender('token', client.jkt);
  const claims = { jti: 't', caller: 'ci' } as VerifiedClaims;
  const show = (by: ClientKey) => {
    const request = { method: 'GET', url: 'http://a/x', token: 'token', now: START / 1000 };
    const head = { method: 'GET', target: { path: '/x' }, proof: proofOf(client, request, { by }) } as Head;
    const connection = fullBucket(connectionFailures(limits), START);
    const snapshot = { poolNodes: 1 } as ActiveSnapshot;
    return prover.prove({ text: 'token', claims, sender }, head, snapshot, connection).then(
      () => 'taken',
      (error) => error.code,
    );
  };
  expect(new Set(await Promise.all(Array.from({ length: 60 }, () => show(client))))).toEqual(new Set(['taken']));
  const other = await clientKey();
  const bad = await Promise.all(Array.from({ length: 60 }, () => show(other)));
  expect(bad.filter((code) => code === 'proof_invalid')).toHaveLength(3);
  expect(bad.filter((code) => code === 'rate_limited')).toHaveLength(57);
});
