// Held tokens are bounded, renewed before they end, and never used after.
import { createTokenCache, type Mint, type TokenRequest } from '@daypass/sdk/token-cache';
import { expect, test } from 'vitest';
import { thrownBy, tokenOf } from './fixture.ts';

const LIFE_MS = 900_000;
const request: TokenRequest = { service: 'github', allow: ['GET /a'], apiKey: 'dpk_1' };

function setUp(random = 0.5) {
  const state = { now: 1_000_000, mints: 0, failure: undefined as Error | undefined };
  const mint: Mint = async () => {
    state.mints += 1;
    if (state.failure !== undefined) throw state.failure;
    return await tokenOf(`t${state.mints}`);
  };
  const cache = createTokenCache({ mint, now: () => state.now, random: () => random });
  return { state, cache };
}

test('a token is held until about four fifths of its life, then renewed while it is still used', async () => {
  const { state, cache } = setUp();
  const first = await cache.get(request);
  state.now += LIFE_MS * 0.79;
  expect(await cache.get(request)).toBe(first);
  expect(state.mints).toBe(1);
  state.now += LIFE_MS * 0.02;
  expect(await cache.get(request)).toBe(first);
  expect(state.mints).toBe(2);
  await expect.poll(() => cache.get(request)).toBe(await tokenOf('t2'));
  expect(state.mints).toBe(2);
});

test.each([
  [0, 0.749, 0.751],
  [1, 0.849, 0.851],
])('with chance %d it is renewed between %d and %d of its life', async (random, before, after) => {
  const { state, cache } = setUp(random);
  await cache.get(request);
  const start = state.now;
  state.now = start + LIFE_MS * before;
  await cache.get(request);
  expect(state.mints).toBe(1);
  state.now = start + LIFE_MS * after;
  await cache.get(request);
  expect(state.mints).toBe(2);
});

test('a token that has ended is not used, even when no other can be had', async () => {
  const { state, cache } = setUp();
  await cache.get(request);
  state.now += LIFE_MS;
  state.failure = new Error('down');
  expect(await thrownBy(() => cache.get(request))).toBe(state.failure);
});

test('a renewal that fails leaves the token in use, and is tried again later', async () => {
  const { state, cache } = setUp();
  const first = await cache.get(request);
  state.failure = new Error('down');
  state.now += LIFE_MS * 0.82;
  expect(await cache.get(request)).toBe(first);
  expect(await cache.get(request)).toBe(first);
  await Promise.resolve();
  expect(await cache.get(request)).toBe(first);
  expect(state.mints).toBe(2);
  state.failure = undefined;
  state.now += 5001;
  expect(await cache.get(request)).toBe(first);
  await expect.poll(() => cache.get(request)).not.toBe(first);
});

test('a dropped token is replaced, and dropping it late does not drop its successor', async () => {
  const { state, cache } = setUp();
  const first = await cache.get(request);
  cache.drop(request, first);
  const second = await cache.get(request);
  expect(second).not.toBe(first);
  cache.drop(request, first);
  expect(await cache.get(request)).toBe(second);
  expect(state.mints).toBe(2);
});

test('at most 256 tokens are held, and the one used longest ago goes first', async () => {
  const { state, cache } = setUp();
  const of = (n: number): TokenRequest => ({ service: 'github', allow: [`GET /${n}`], apiKey: 'dpk_1' });
  for (let n = 0; n < 256; n += 1) await cache.get(of(n));
  await cache.get(of(0));
  await cache.get(of(256));
  expect(state.mints).toBe(257);
  await cache.get(of(0));
  expect(state.mints).toBe(257);
  await cache.get(of(1));
  expect(state.mints).toBe(258);
});

test('at most 32 mints run at a time, and the rest wait their turn', async () => {
  let running = 0;
  let most = 0;
  const mint: Mint = async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    return await tokenOf('t');
  };
  const cache = createTokenCache({ mint, now: () => 0, random: () => 0.5 });
  const all = Array.from({ length: 200 }, (_, n) =>
    cache.get({ service: 'github', allow: [`GET /${n}`], apiKey: 'dpk_1' }),
  );
  expect(await Promise.all(all)).toHaveLength(200);
  expect(most).toBe(32);
});

test('closing ends a mint that is under way', async () => {
  const mint: Mint = (_, signal) =>
    new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
    });
  const cache = createTokenCache({ mint, now: () => 0, random: () => 0.5 });
  const pending = thrownBy(() => cache.get(request));
  cache.close();
  expect(await pending).toMatchObject({ code: 'failed_precondition' });
});
