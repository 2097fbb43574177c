// DPoP end to end: a bound token is worth nothing without its key, and each proof is good once.
import { once } from 'node:events';
import { request } from 'node:http';
import * as panva from 'dpop';
import { describe, expect, test } from 'vitest';
import { clientKey, proofOf } from '../kit/dpop.ts';
import { bound, challengeOf, proofFor, prove, seen, withApi } from './proving.ts';
import { ask, codeIn, fieldOf } from './recorder.ts';

test('a bound token goes through with a proof, and neither reaches the upstream', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint(bound);
    const answer = await prove(data, token, proofFor(data, token), { target: '/public/a?x=1' });
    expect(seen(answer)).toBe(200);
    expect(fieldOf(answer.head, 'dpop-nonce')).toBeUndefined();
    const [forwarded] = upstream.requests();
    expect(forwarded?.target).toBe('/public/a?x=1');
    expect(forwarded?.fields.map(([name]) => name)).not.toContain('dpop');
    expect(upstream.octets()).not.toContain(token.split('.')[2]);
  }));

test('over a named service, the proof is for the URL that the client sees', () =>
  withApi(async (data) => {
    const token = await data.mint(bound);
    const target = '/s/api/public/a';
    expect(seen(await prove(data, token, proofFor(data, token, { target }), { target }))).toBe(200);
    expect(seen(await prove(data, token, proofFor(data, token), { target }))).toBe('proof_invalid');
  }));

test('behind a public URL, the proof is for that one', () =>
  withApi(
    async (data) => {
      const token = await data.mint(bound);
      expect(seen(await prove(data, token, proofFor(data, token)))).toBe('proof_invalid');
      const change = { claims: { htu: 'https://pass.example/public/a' } };
      expect(seen(await prove(data, token, proofFor(data, token, {}, change)))).toBe(200);
    },
    { publicUrl: 'https://pass.example:443' },
  ));

test('the Host field does not decide which URL a proof is for', () =>
  withApi(async (data) => {
    const token = await data.mint(bound);
    const change = { claims: { htu: 'http://proxy.test/public/a' } };
    expect(seen(await prove(data, token, proofFor(data, token, {}, change)))).toBe('proof_invalid');
  }));

test('proofs of the npm package dpop are taken', () =>
  withApi(async (data) => {
    for (const alg of ['ES256', 'Ed25519'] as const) {
      const pair = await panva.generateKeyPair(alg);
      const token = await data.mint({ cnf: { jkt: await panva.calculateThumbprint(pair.publicKey) } });
      const proof = await panva.generateProof(pair, `${data.url}/public/a`, 'GET', undefined, token);
      expect(seen(await prove(data, token, proof))).toBe(200);
    }
  }));

describe('CLM-21 a bound token without its proof', () => {
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;
  const places: readonly [string, (token: string, proof: string) => readonly string[], string][] = [
    ['as Bearer', (token) => [`Authorization: Bearer ${token}`], 'token_scheme_wrong'],
    [
      'as Bearer beside a good proof',
      (token, proof) => [`Authorization: Bearer ${token}`, `DPoP: ${proof}`],
      'token_scheme_wrong',
    ],
    ['as token', (token, proof) => [`Authorization: token ${token}`, `DPoP: ${proof}`], 'token_scheme_wrong'],
    ['as Basic', (token, proof) => [`Authorization: ${basic(`${token}:x`)}`, `DPoP: ${proof}`], 'token_scheme_wrong'],
    ['in a header', (token, proof) => [`Private-Token: ${token}`, `DPoP: ${proof}`], 'token_scheme_wrong'],
    ['as DPoP without one', (token) => [`Authorization: DPoP ${token}`], 'proof_missing'],
    ['as DPoP with an empty one', (token) => [`Authorization: DPoP ${token}`, 'DPoP:'], 'proof_invalid'],
    [
      'as DPoP with two',
      (token, proof) => [`Authorization: DPoP ${token}`, `DPoP: ${proof}`, 'DPoP: x'],
      'proof_invalid',
    ],
    [
      'as DPoP with the same twice',
      (token, proof) => [`Authorization: DPoP ${token}`, `DPoP: ${proof}`, `dpop: ${proof}`],
      'proof_invalid',
    ],
    [
      'as DPoP with one under a name like it',
      (token, proof) => [`Authorization: DPoP ${token}`, `D_PoP: ${proof}`],
      'proof_missing',
    ],
  ];
  test.each(places)('%s is refused with 401 and a DPoP challenge', (_name, fields, code) =>
    withApi(async (data, upstream) => {
      const token = await data.mint(bound);
      const answer = await ask(data.port, '/public/a', { fields: fields(token, proofFor(data, token)) });
      expect([answer.status, codeIn(answer)]).toEqual([401, code]);
      expect(challengeOf(answer)).toMatch(
        /^DPoP realm="daypass", algs="ES256 Ed25519", error="invalid_(token|dpop_proof)"/,
      );
      expect(upstream.octets()).toBe('');
    }));
});

test('an unbound token under DPoP is refused, with a proof, too', () =>
  withApi(async (data) => {
    const token = await data.mint();
    const answer = await prove(data, token, proofFor(data, token));
    expect([answer.status, codeIn(answer)]).toEqual([401, 'token_scheme_wrong']);
    expect(challengeOf(answer)).toMatch(/^Bearer realm="daypass", error="invalid_token"/);
  }));

test('a DPoP field beside a bearer token is nobody’s, and is not forwarded', () =>
  withApi(async (data, upstream) => {
    const answer = await ask(data.port, '/public/a', { token: await data.mint(), fields: ['DPoP: garbage'] });
    expect(seen(answer)).toBe(200);
    expect(seen(await ask(data.port, '/s/open/x', { fields: ['Authorization: DPoP x', 'DPoP: garbage'] }))).toBe(200);
    expect(upstream.octets()).not.toContain('garbage');
  }));

test('one credential under DPoP and another elsewhere are ambiguous', () =>
  withApi(async (data) => {
    const token = await data.mint(bound);
    const answer = await prove(data, token, proofFor(data, token), { fields: [`Private-Token: ${await data.mint()}`] });
    expect([answer.status, codeIn(answer)]).toEqual([400, 'token_ambiguous']);
  }));

test('a scope refusal of a bound token challenges by DPoP', () =>
  withApi(async (data) => {
    const token = await data.mint(bound);
    const answer = await prove(data, token, proofFor(data, token, { target: '/secret' }), { target: '/secret' });
    expect([answer.status, codeIn(answer)]).toEqual([403, 'scope_refused']);
    expect(challengeOf(answer)).toMatch(/^DPoP .*error="insufficient_scope".*, scope="GET \/secret"$/);
  }));

describe('a proof that was used', () => {
  test('is refused the second time, whatever became of the first', () =>
    withApi(async (data, upstream) => {
      const token = await data.mint(bound);
      const proof = proofFor(data, token);
      expect(seen(await prove(data, token, proof))).toBe(200);
      const again = await prove(data, token, proof);
      expect([again.status, codeIn(again)]).toEqual([401, 'proof_replayed']);
      const refused = proofFor(data, token, { target: '/secret' });
      expect(seen(await prove(data, token, refused, { target: '/secret' }))).toBe('scope_refused');
      expect(seen(await prove(data, token, refused, { target: '/secret' }))).toBe('proof_replayed');
      expect(upstream.requests()).toHaveLength(1);
    }));

  test('is refused at the same time, too', () =>
    withApi(async (data, upstream) => {
      const token = await data.mint(bound);
      const proof = proofFor(data, token);
      const answers = await Promise.all(Array.from({ length: 8 }, () => prove(data, token, proof)));
      expect(answers.map(seen).toSorted()).toEqual([200, ...Array(7).fill('proof_replayed')]);
      expect(upstream.requests()).toHaveLength(1);
    }));

  test('blocks its id for another proof of the same key, and for no other key', () =>
    withApi(async (data) => {
      const claims = { jti: 'one' };
      const token = await data.mint(bound);
      expect(seen(await prove(data, token, proofFor(data, token, {}, { claims })))).toBe(200);
      data.clock.nowMs += 1000;
      expect(seen(await prove(data, token, proofFor(data, token, {}, { claims })))).toBe('proof_replayed');
      const other = await clientKey('Ed25519');
      const theirs = await data.mint({ cnf: { jkt: other.jkt } });
      const now = data.clock.nowMs / 1000;
      const proof = proofOf(other, { method: 'GET', url: `${data.url}/public/a`, token: theirs, now }, { claims });
      expect(seen(await prove(data, theirs, proof))).toBe(200);
    }));

  test('is too old when it is forgotten', () =>
    withApi(async (data) => {
      const token = await data.mint(bound);
      const proof = proofFor(data, token);
      expect(seen(await prove(data, token, proof))).toBe(200);
      data.clock.nowMs += 59_000;
      expect(seen(await prove(data, token, proof))).toBe('proof_replayed');
      data.clock.nowMs += 8_000;
      expect(seen(await prove(data, token, proof))).toBe('proof_invalid');
    }));
});

test('a proof that is not by the key does not use up the id of one that is', () =>
  withApi(async (data) => {
    const token = await data.mint(bound);
    const claims = { jti: 'mine' };
    const forged = proofFor(data, token, {}, { claims, by: await clientKey() });
    expect(seen(await prove(data, token, forged))).toBe('proof_invalid');
    expect(seen(await prove(data, token, proofFor(data, token, {}, { claims })))).toBe(200);
  }));

test('a token that is cached still wants a proof each time', () =>
  withApi(async (data) => {
    const token = await data.mint(bound);
    for (let at = 0; at < 3; at += 1) expect(seen(await prove(data, token, proofFor(data, token)))).toBe(200);
    expect(data.metrics.render()).toContain('daypass_token_lookups_total{result="hit"} 2');
    expect(seen(await ask(data.port, '/public/a', { fields: [`Authorization: DPoP ${token}`] }))).toBe('proof_missing');
    const foreign = proofFor(data, token, {}, { by: await clientKey() });
    expect(seen(await prove(data, token, foreign))).toBe('proof_invalid');
    expect(seen(await prove(data, token, proofFor(data, await data.mint(bound))))).toBe('proof_invalid');
  }));

describe('a request that is decided twice', () => {
  const where = ['POST /v1/items where body.a = 1'];
  const json = { method: 'POST', target: '/v1/items', fields: ['Content-Type: application/json'] };

  test('because a rule looks into its body needs one proof', () =>
    withApi(async (data, upstream) => {
      const token = await data.mint({ ...bound, allowed: where });
      const proof = proofFor(data, token, json);
      expect(seen(await prove(data, token, proof, { ...json, body: '{"a":1}' }))).toBe(200);
      expect(seen(await prove(data, token, proof, { ...json, body: '{"a":1}' }))).toBe('proof_replayed');
      expect(seen(await prove(data, token, proofFor(data, token, json), { ...json, body: '{"a":2}' }))).toBe(
        'scope_refused',
      );
      expect(upstream.requests()).toHaveLength(1);
    }));

  test('because it has a body that no rule looks into needs one proof', () =>
    withApi(async (data) => {
      const token = await data.mint(bound);
      expect(seen(await prove(data, token, proofFor(data, token, json), { ...json, body: '{"a":1}' }))).toBe(200);
    }));

  test('is refused if its token is revoked before its body is there', () =>
    withApi(async (data, upstream, content) => {
      const token = await data.mint({ ...bound, allowed: where });
      const headers = {
        authorization: `DPoP ${token}`,
        dpop: proofFor(data, token, json),
        'content-type': 'application/json',
        'content-length': 7,
        expect: '100-continue',
      };
      const going = request(`${data.url}/v1/items`, { method: 'POST', headers });
      going.flushHeaders();
      await once(going, 'continue');
      await data.publish({ ...content, revoked: [7] });
      going.end('{"a":1}');
      const [answer] = await once(going, 'response');
      expect(answer.statusCode).toBe(401);
      expect(upstream.requests()).toHaveLength(0);
    }));
});
