// DPoP over several nodes and under load: nonces, and floods of proofs good and bad.
import { describe, expect, test } from 'vitest';
import { type ClientKey, clientKey, proofOf } from '../kit/dpop.ts';
import type { Fixture, FixtureOptions } from './fixture.ts';
import { bound, challengeOf, key, nonceOf, proofFor, prove, seen, withApi } from './proving.ts';
import { ask, codeIn, parseAnswers, talk } from './recorder.ts';

describe('a nonce', () => {
  const two = { nodes: 2 };
  const withNonce = (data: Fixture, token: string, nonce: string) => proofFor(data, token, {}, { claims: { nonce } });

  test.each<[string, Partial<FixtureOptions>]>([
    ['the pool has two nodes', two],
    ['the snapshot does not say how many', { nodes: null }],
    ['it is always wanted', { dpopNonce: 'always' }],
  ])('is asked for where %s, and is good then', (_name, options) =>
    withApi(async (data, upstream) => {
      const token = await data.mint(bound);
      const first = await prove(data, token, proofFor(data, token));
      expect([first.status, codeIn(first)]).toEqual([401, 'proof_nonce_required']);
      expect(challengeOf(first)).toMatch(/^DPoP .*error="use_dpop_nonce"/);
      expect(upstream.octets()).toBe('');
      const nonce = nonceOf(first);
      expect(nonce).toMatch(/^[A-Za-z0-9_-]{24}$/);
      const proof = withNonce(data, token, nonce);
      const answer = await prove(data, token, proof);
      expect([seen(answer), nonceOf(answer)]).toEqual([200, '']);
      expect(seen(await prove(data, token, proof))).toBe('proof_replayed');
    }, options));

  test('comes with the refusal of a missing proof, too', () =>
    withApi(async (data) => {
      const token = await data.mint(bound);
      const answer = await ask(data.port, '/public/a', { fields: [`Authorization: DPoP ${token}`] });
      expect(seen(await prove(data, token, withNonce(data, token, nonceOf(answer))))).toBe(200);
    }, two));

  test('that nobody gave is refused, even where none is needed', () =>
    withApi(async (data) => {
      const token = await data.mint(bound);
      const answer = await prove(data, token, withNonce(data, token, 'made-up'));
      expect(seen(answer)).toBe('proof_nonce_required');
      expect(seen(await prove(data, token, withNonce(data, token, nonceOf(answer))))).toBe(200);
    }));

  test('of one node is none of another: a proof cannot be used at both', () =>
    withApi(
      async (one) =>
        withApi(
          async (other) => {
            const token = await one.mint(bound);
            const proof = (nonce: string) => {
              const url = 'https://pass.example/public/a';
              return proofOf(key, { method: 'GET', url, token, now: one.clock.nowMs / 1000 }, { claims: { nonce } });
            };
            const used = proof(nonceOf(await prove(one, token, proof(''))));
            expect(seen(await prove(one, token, used))).toBe(200);
            const there = await prove(other, token, used);
            expect(seen(there)).toBe('proof_nonce_required');
            expect(seen(await prove(other, token, proof(nonceOf(there))))).toBe(200);
          },
          { ...two, publicUrl: 'https://pass.example' },
        ),
      { ...two, publicUrl: 'https://pass.example' },
    ));

  test('is replaced in time, by the answers of the upstream and by refusals, and then ends', () =>
    withApi(async (data, upstream) => {
      const token = await data.mint({ ...bound, exp: Date.now() / 1000 + 3600 });
      data.clock.nowMs = Math.ceil(data.clock.nowMs / 150_000) * 150_000;
      const first = nonceOf(await prove(data, token, proofFor(data, token)));
      data.clock.nowMs += 150_000;
      upstream.script('HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDPoP-Nonce: theirs\r\n\r\n');
      const answer = await prove(data, token, withNonce(data, token, first));
      const second = nonceOf(answer);
      expect(seen(answer)).toBe(200);
      expect([second === first, second.length, answer.head.match(/dpop-nonce/gi)?.length]).toEqual([false, 24, 1]);
      const secret = { target: '/secret' };
      const refused = await prove(data, token, proofFor(data, token, secret, { claims: { nonce: first } }), secret);
      expect([seen(refused), nonceOf(refused)]).toEqual(['scope_refused', second]);
      data.clock.nowMs += 150_000;
      expect(seen(await prove(data, token, withNonce(data, token, first)))).toBe('proof_nonce_required');
      expect(seen(await prove(data, token, withNonce(data, token, second)))).toBe(200);
    }, two));

  test('of the upstream never comes through', () =>
    withApi(async (data, upstream) => {
      upstream.script('HTTP/1.1 401 No\r\nContent-Length: 0\r\nDPoP-Nonce: theirs\r\n\r\n');
      const answer = await ask(data.port, '/public/a', { token: await data.mint() });
      expect([answer.status, nonceOf(answer)]).toEqual([401, '']);
    }));

  test('is asked for where a proof is older than the memory of the node', () =>
    withApi(async (data) => {
      const token = await data.mint(bound);
      const old = { claims: { iat: Math.floor(data.clock.nowMs / 1000) - 30 } };
      const answer = await prove(data, token, proofFor(data, token, {}, old));
      expect(seen(answer)).toBe('proof_nonce_required');
    }));
});

describe('floods', () => {
  const limits = { failureBurstPerConnection: 3, failuresPerSecondPerConnection: 0.001, proofsMax: 32 };
  const others = async (data: Fixture): Promise<[ClientKey, string]> => {
    const their = await clientKey();
    return [their, await data.mint({ cnf: { jkt: their.jkt }, caller: 'other' })];
  };

  test('of bad proofs are answered 429 on a connection and then for the token, and for no other token', () =>
    withApi(
      async (data) => {
        const token = await data.mint(bound);
        const foreign = await clientKey();
        const bad = () => proofFor(data, token, {}, { by: foreign });
        const line = () =>
          `GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: DPoP ${token}\r\nDPoP: ${bad()}\r\n\r\n`;
        const { octets } = await talk(data.port, [{ send: line() + line() + line() + line() }], 300);
        expect(parseAnswers(octets).map(codeIn)).toEqual([...Array(3).fill('proof_invalid'), 'rate_limited']);
        expect(seen(await prove(data, token, bad()))).toBe('rate_limited');
        const [their, theirs] = await others(data);
        const now = data.clock.nowMs / 1000;
        const good = proofOf(their, { method: 'GET', url: `${data.url}/public/a`, token: theirs, now });
        expect(seen(await prove(data, theirs, good))).toBe(200);
        expect(seen(await ask(data.port, '/public/a', { token: await data.mint() }))).toBe(200);
      },
      { limits },
    ));

  test('of good proofs use up the part of their token, not that of others, and room comes back', () =>
    withApi(
      async (data) => {
        const token = await data.mint(bound);
        const answers: unknown[] = [];
        for (let at = 0; at < 3; at += 1) answers.push(seen(await prove(data, token, proofFor(data, token))));
        expect(answers).toEqual([200, 200, 'rate_limited']);
        const second = await data.mint(bound);
        expect(seen(await prove(data, second, proofFor(data, second)))).toBe(200);
        expect(data.metrics.render()).toContain('daypass_proofs_remembered 3');
        data.clock.nowMs += 77_000;
        expect(seen(await prove(data, token, proofFor(data, token)))).toBe(200);
      },
      { limits },
    ));
});
