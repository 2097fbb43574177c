// The SDK's DPoP against a real data plane: bound tokens, a proof a request, nonces, redirects, and bodies that come once.

import { createDaypass, type DaypassOptions, type DpopKeyPair } from '@daypass/sdk';
import { TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { describe, expect, test } from 'vitest';
import { createDpop } from '../../sdk/dpop.ts';
import { type Content, type Fixture, type FixtureOptions, startFixture } from '../data-plane/fixture.ts';
import { type Recorder, startRecorder } from '../data-plane/recorder.ts';
import { CONTROL, fetchTo, thrownBy } from './fixture.ts';

const ALLOW = ['* /**'];

type At = {
  readonly data: Fixture;
  readonly upstream: Recorder;
  readonly content: Content;
  readonly daypass: ReturnType<typeof createDaypass>;
  /** What was sent to the data plane, in order. */
  readonly sent: readonly Request[];
  readonly jkts: readonly string[];
};

async function withDaypass(
  work: (at: At) => Promise<void>,
  options: Partial<FixtureOptions> = {},
  given: Partial<DaypassOptions> = {},
): Promise<void> {
  using upstream = await startRecorder();
  const content = { services: [{ name: 'api', origin: upstream.origin, secret: 'S3CRET' }] };
  await using data = await startFixture({ ...content, ...options });
  const jkts: string[] = [];
  const sent: Request[] = [];
  const control = fetchTo((router) => {
    router.service(TokenService, {
      async mint({ allow, dpopJkt }) {
        jkts.push(dpopJkt);
        return { token: await data.mint({ allowed: allow, ...(dpopJkt === '' ? {} : { cnf: { jkt: dpopJkt } }) }) };
      },
    });
  });
  const send: typeof fetch = async (input, init) => {
    if (!String(input).startsWith(CONTROL)) sent.push(new Request(String(input), { headers: init?.headers ?? {} }));
    return await control(input, init);
  };
  const all = { controlPlane: CONTROL, dataPlane: data.url, apiKey: 'k', allow: ALLOW, dpop: true, fetch: send };
  await work({ data, upstream, content, daypass: createDaypass({ ...all, ...given }), sent, jkts });
}

const statuses = async (at: At, count: number): Promise<readonly number[]> => {
  const all: number[] = [];
  for (let n = 0; n < count; n += 1) all.push((await at.daypass.fetch('api', `/a?n=${n}`)).status);
  return all;
};

const claimsIn = (proof: string): { nonce?: string; iat?: number; htu?: string } =>
  JSON.parse(Buffer.from(proof.split('.')[1] ?? '', 'base64url').toString());

const stream = () => ({ method: 'POST', body: new Blob(['once']).stream(), duplex: 'half' }) as const;

test('each request has a proof of its own, and the token is bound to the key', () =>
  withDaypass(async (at) => {
    expect(await statuses(at, 3)).toEqual([200, 200, 200]);
    expect(at.jkts).toHaveLength(1);
    expect(at.jkts[0]).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(at.sent.every(({ headers }) => headers.get('authorization')?.startsWith('DPoP eyJ'))).toBe(true);
    expect(new Set(at.sent.map(({ headers }) => headers.get('dpop'))).size).toBe(3);
  }));

test('without dpop nothing of it is sent', () =>
  withDaypass(
    async (at) => {
      expect(await statuses(at, 1)).toEqual([200]);
      expect(at.jkts).toEqual(['']);
      expect(at.sent[0]?.headers.has('dpop')).toBe(false);
      expect(await thrownBy(() => at.daypass.proof('GET', at.data.url, 't'))).toMatchObject({
        code: 'failed_precondition',
      });
    },
    {},
    { dpop: false },
  ));

describe('a key pair of one’s own', () => {
  test.each(['ES256', 'Ed25519'] as const)('may be of %s', async (alg) => {
    const algorithm = alg === 'ES256' ? { name: 'ECDSA', namedCurve: 'P-256' } : { name: alg };
    const dpop = (await crypto.subtle.generateKey(algorithm, false, ['sign', 'verify'])) as DpopKeyPair;
    await withDaypass(async (at) => expect(await statuses(at, 2)).toEqual([200, 200]), {}, { dpop });
  });

  test.each([
    ['another curve', { name: 'ECDSA', namedCurve: 'P-384' }, ['sign', 'verify']],
    ['another kind', { name: 'ECDH', namedCurve: 'P-256' }, ['deriveBits']],
  ] as const)('of %s is refused', async (_what, algorithm, usages) => {
    const dpop = (await crypto.subtle.generateKey(algorithm, false, [...usages])) as DpopKeyPair;
    const make = () => createDaypass({ controlPlane: CONTROL, dataPlane: CONTROL, apiKey: 'k', dpop });
    expect(await thrownBy(make)).toMatchObject({ code: 'invalid_argument', field: 'dpop' });
  });
});

describe('where a nonce is wanted', () => {
  const two = { nodes: 2 };

  test('it is learnt from the first refusal and used from then on', () =>
    withDaypass(async (at) => {
      expect(await statuses(at, 3)).toEqual([200, 200, 200]);
      expect(at.sent).toHaveLength(4);
      expect(at.jkts).toHaveLength(1);
    }, two));

  test('a new one is taken from an answer in time', () =>
    withDaypass(async (at) => {
      at.data.clock.nowMs = Math.ceil(at.data.clock.nowMs / 150_000) * 150_000 - 1_000;
      expect(await statuses(at, 2)).toEqual([200, 200]);
      at.data.clock.nowMs += 2_000;
      expect(await statuses(at, 2)).toEqual([200, 200]);
      expect(at.sent).toHaveLength(5);
      const nonces = at.sent.map(({ headers }) => claimsIn(headers.get('dpop') ?? '').nonce);
      expect([nonces[0], new Set(nonces.slice(1, 4)).size, nonces[4] === nonces[3]]).toEqual([undefined, 1, false]);
    }, two));

  test('a body that can be sent again is, and a stream is sent once, after a nonce was asked for', () =>
    withDaypass(async (at) => {
      expect((await at.daypass.fetch('api', '/a', stream())).status).toBe(200);
      expect(at.upstream.requests().map(({ method, body }) => [method, body])).toEqual([['POST', 'once']]);
      expect(at.sent.map(({ headers }) => headers.has('dpop'))).toEqual([false, true]);
      expect((await at.daypass.fetch('api', '/a', { method: 'POST', body: 'text' })).status).toBe(200);
      expect((await at.daypass.fetch('api', '/a', stream())).status).toBe(200);
      expect(at.sent).toHaveLength(4);
    }, two));

  test('a stream whose nonce is refused all the same is not sent again, and the next request goes through', () =>
    withDaypass(async (at) => {
      expect(await statuses(at, 1)).toEqual([200]);
      await at.data.server.close();
      await using again = await startFixture({ ...at.content, ...two, port: at.data.port });
      const refused = await thrownBy(() => at.daypass.fetch('api', '/a', stream()));
      expect(refused).toMatchObject({ code: 'proof_nonce_required' });
      expect(again.audit.decisions).toEqual([]);
      expect((await at.daypass.fetch('api', '/a', stream())).status).toBe(200);
    }, two));

  test('proofs for clients of one’s own hold it', () =>
    withDaypass(async (at) => {
      expect(await statuses(at, 1)).toEqual([200]);
      const token = await at.daypass.token('api', ALLOW);
      const url = `${at.data.url}/s/api/b?q=1`;
      const dpop = await at.daypass.proof('GET', url, token);
      expect((await fetch(url, { headers: { authorization: `DPoP ${token}`, dpop } })).status).toBe(200);
    }, two));
});

test('a control plane that does not bind the token is not trusted with one', () =>
  withDaypass(
    async ({ daypass }) => {
      expect(await thrownBy(() => daypass.fetch('api', '/a'))).toMatchObject({ code: 'failed_precondition' });
    },
    {},
    {
      fetch: fetchTo((router) => {
        router.service(TokenService, {
          mint: async () => {
            await using other = await startFixture({ services: [] });
            return { token: await other.mint() };
          },
        });
      }),
    },
  ));

describe('a redirect', () => {
  const to = (status: number, location: string) =>
    `HTTP/1.1 ${status} Moved\r\nContent-Length: 0\r\nLocation: ${location}\r\n\r\n`;

  test('within the data plane is followed with a new proof', () =>
    withDaypass(async (at) => {
      at.upstream.script(to(302, '/b'));
      const response = await at.daypass.fetch('api', '/a');
      expect([response.status, new URL(response.url).pathname]).toEqual([200, '/s/api/b']);
    }));

  test('to elsewhere, of another method, or one that is not to be followed is returned', () =>
    withDaypass(async (at) => {
      at.upstream.script(to(302, 'https://elsewhere.example/b'));
      expect((await at.daypass.fetch('api', '/a')).status).toBe(302);
      at.upstream.script(to(307, '/b'));
      expect((await at.daypass.fetch('api', '/a', { method: 'POST', body: 'x' })).status).toBe(307);
      at.upstream.script(to(302, '/b'));
      expect((await at.daypass.fetch('api', '/a', { redirect: 'manual' })).status).toBe(302);
      expect(at.sent).toHaveLength(3);
    }));

  test('without an end comes to one', () =>
    withDaypass(async (at) => {
      for (let n = 0; n < 9; n += 1) at.upstream.script(to(302, '/a'));
      expect((await at.daypass.fetch('api', '/a')).status).toBe(302);
      expect(at.sent).toHaveLength(6);
    }));
});

test('a token that was revoked is replaced, bound to the same key', () =>
  withDaypass(async (at) => {
    expect(await statuses(at, 1)).toEqual([200]);
    const minted_before = Date.now() / 1000;
    await at.data.publish({ ...at.content, cutoffs: [{ minted_before }] });
    at.data.clock.nowMs += 2_000;
    expect(await statuses(at, 1)).toEqual([200]);
    expect([at.jkts.length, new Set(at.jkts).size]).toEqual([2, 1]);
  }));

test('a path with an encoded slash is sent when it is said to be meant', () =>
  withDaypass(async (at) => {
    await at.data.publish({ services: at.content.services.map((one) => ({ ...one, encoded_slashes: true })) });
    expect(await thrownBy(() => at.daypass.fetch('api', '/p/a%2Fb'))).toMatchObject({ code: 'target_ambiguous' });
    expect((await at.daypass.fetch('api', '/p/a%2Fb', { encodedSlashes: true })).status).toBe(200);
    expect(at.upstream.requests().at(-1)?.target).toBe('/p/a%2Fb');
  }));

test('proofs go by the clock of who signs the tokens', async () => {
  const dpop = createDpop(true, () => 5_000_000);
  dpop.syncClock(1_800_000_000);
  expect(claimsIn(await dpop.proof('GET', 'https://a.example/b?c', 't'))).toMatchObject({
    iat: 1_800_000_000,
    htu: 'https://a.example/b',
  });
});

test('a nonce is not taken from another origin, and not lost to an answer without one', async () => {
  const dpop = createDpop(true, () => 0);
  const answer = (nonce: string, url: string) =>
    Object.defineProperty(new Response(null, { headers: nonce === '' ? {} : { 'dpop-nonce': nonce } }), 'url', {
      value: url,
    });
  const nonce = async () => claimsIn(await dpop.proof('GET', 'https://a.example/', 't')).nonce;
  dpop.learn('https://a.example', answer('theirs', 'https://b.example/'));
  expect([await nonce(), dpop.isUnsure('https://a.example')]).toEqual([undefined, true]);
  dpop.learn('https://a.example', answer('n1', 'https://a.example/x'));
  dpop.learn('https://a.example', answer('', 'https://a.example/x'));
  expect([await nonce(), dpop.isUnsure('https://a.example')]).toEqual(['n1', false]);
});
