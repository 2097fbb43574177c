// Every kind of key is rotated and retired under traffic without one failed request, and what was retired is refused.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readToken } from '@daypass/core/token';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { daypass, jsonLines, type Result } from '../cli/fake-io.ts';
import { until } from '../kit/deadline.ts';
import { mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

let fleet: Fleet;
let upstream: Upstream;
let traffic: Traffic;

beforeAll(async () => {
  upstream = await startUpstream((seen, response) => json(response, 200, { credential: seen.headers.authorization }));
  fleet = await startFleet();
  await register(fleet, 'orders', upstream.origin, 'real-credential');
  traffic = startTraffic();
});

afterAll(async () => {
  await traffic?.stop();
  await fleet?.stop();
  await upstream?.close();
});

const ask = async (token: string, service = 'orders'): Promise<{ status: number; body: Record<string, unknown> }> => {
  const answer = await fetch(`${fleet.dataUrl}/s/${service}/a`, { headers: { authorization: `Bearer ${token}` } });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
};

type Traffic = { readonly failures: unknown[]; answered(): number; use(token: string): void; stop(): Promise<void> };

/** One token that is used without pause, and tokens that are minted and used at once. */
const startTraffic = (): Traffic => {
  const failures: unknown[] = [];
  let [answered, isRunning] = [0, true];
  let kept: string | undefined;
  const check = async (token: string): Promise<void> => {
    const answer = await ask(token);
    if (answer.status !== 200 || answer.body.credential !== 'Bearer real-credential') failures.push(answer);
    answered += 1;
  };
  const loop = async (work: () => Promise<void>): Promise<void> => {
    while (isRunning) await work().catch((error: unknown) => void failures.push(String(error)));
  };
  const running = [
    loop(async () => {
      kept ??= await mintOne();
      await check(kept);
    }),
    loop(async () => check(await mintOne())),
  ];
  return {
    failures,
    answered: () => answered,
    use: (token) => {
      kept = token;
    },
    stop: async () => {
      isRunning = false;
      await Promise.all(running);
    },
  };
};

const mintOne = async (): Promise<string> => {
  const { status, body } = await fleet.rpc('TokenService/Mint', { service: 'orders', allow: ['GET /a'] });
  if (status !== 200) throw new Error(`Mint answered ${status}: ${JSON.stringify(body)}`);
  return String(body.token);
};

const cli = (...args: readonly string[]): Promise<Result> => daypass(args, { env: fleet.env });
const must = async (...args: readonly string[]): Promise<readonly Record<string, unknown>[]> => {
  const { code, out, err } = await cli(...args, '--json');
  expect([code, err], args.join(' ')).toEqual([0, expect.any(String)]);
  return jsonLines(out);
};
const keys = (use: string): Promise<readonly Record<string, unknown>[]> =>
  must('keys', 'list').then((all) => all.filter((key) => key.use === `KEY_USE_${use}`));
const currentKey = async (use: string): Promise<unknown> =>
  (await keys(use)).find((key) => key.state === 'KEY_STATE_CURRENT')?.kid;
const rotate = async (...args: readonly string[]): Promise<string> => {
  const kid = String((await must('keys', 'rotate', ...args))[0]?.kid);
  // It would look by itself within seconds.
  if (args[0] !== 'token') process.kill(fleet.control.pid(), 'SIGHUP');
  return kid;
};

/** So many more requests were answered, none of them badly. */
const goesOn = async (more = 20): Promise<void> => {
  const before = traffic.answered();
  await until('traffic goes on', () => traffic.answered() >= before + more);
  expect(traffic.failures).toEqual([]);
};

test(
  'MNT-15 of a thousand tokens that are minted while their key is rotated, each is good',
  { timeout: 60_000 },
  async () => {
    const old = await currentKey('TOKEN');
    const tokens = [await mintOne()];
    const kid = await rotate('token');
    const kids = () => new Set(tokens.map((token) => readToken(token).kid));
    await until(
      'a thousand tokens of both keys',
      async () => {
        // A caller may have 32 calls under way.
        tokens.push(...(await Promise.all(Array.from({ length: 20 }, mintOne))));
        return tokens.length >= 1000 && kids().has(kid);
      },
      40_000,
    );
    expect([...kids()].sort()).toEqual([old, kid].sort());
    for (let at = 0; at < tokens.length; at += 50) {
      const answers = await Promise.all(tokens.slice(at, at + 50).map((token) => ask(token)));
      expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
    }
    await goesOn();
  },
);

test(
  'the key that signs cannot be retired, and the former one can while the new one is used',
  { timeout: 30_000 },
  async () => {
    const former = (await keys('TOKEN')).find((key) => key.state === 'KEY_STATE_FORMER');
    const kid = String(former?.kid);
    const token = await mintOne();
    traffic.use(token);
    const signing = await cli('keys', 'retire', readToken(token).kid);
    expect([signing.code, signing.err]).toEqual([1, expect.stringContaining('failed_precondition')]);
    await goesOn();
    await must('keys', 'retire', kid);
    expect((await keys('TOKEN')).find((key) => key.kid === kid)?.state).toBe('KEY_STATE_RETIRED');
    await goesOn();
  },
);

test('a token of the retired key is refused', { timeout: 30_000 }, async () => {
  const token = await mintOne();
  const old = readToken(token).kid;
  expect((await ask(token)).status).toBe(200);
  const kid = await rotate('token');
  await until('the new key signs', async () => readToken(await mintOne()).kid === kid, 20_000);
  traffic.use(await mintOne());
  await goesOn();
  await must('keys', 'retire', old);
  expect(await ask(token)).toMatchObject({ status: 401, body: { code: 'token_key_unknown' } });
  await goesOn();
});

test('a snapshot key is rotated, retired, and given up as compromised', { timeout: 30_000 }, async () => {
  const old = String(await currentKey('SNAPSHOT'));
  const second = await rotate('snapshot');
  await until('the second key signs', async () => (await currentKey('SNAPSHOT')) === second);
  await mint(fleet, 'orders', ['GET /a']);
  await goesOn();
  await must('keys', 'retire', old);
  process.kill(fleet.control.pid(), 'SIGHUP');
  await until('the first generation ends', async () => (await keys('SNAPSHOT'))[0]?.generation === '1');
  const third = await rotate('snapshot', '--compromised');
  await until('the third key signs', async () => (await currentKey('SNAPSHOT')) === third);
  expect((await keys('SNAPSHOT'))[0]?.generation).toBe('2');
  // A change waits until the node has acknowledged the snapshot that holds it.
  const [revoked] = await must('revoke', '--token', await mintOne());
  expect(revoked).toMatchObject({ rollout: { missing: [] } });
  await goesOn();
});

test(
  'a sealing key is rotated: credentials go on, are sealed anew by a data plane, and the old key is retired',
  { timeout: 60_000 },
  async () => {
    const old = String(await currentKey('SEAL'));
    const kid = await rotate('seal');
    await until('the new key is handed out', async () => (await currentKey('SEAL')) === kid);
    // It is used at once, whether or not the data plane has looked at its folder since.
    await register(fleet, 'fresh', upstream.origin, 'fresh-credential');
    const { body } = await fleet.rpc('TokenService/Mint', { service: 'fresh', allow: ['GET /a'] });
    expect((await ask(String(body.token), 'fresh')).body).toEqual({ credential: 'Bearer fresh-credential' });
    await goesOn();

    const needed = await cli('keys', 'retire', old);
    expect([needed.code, needed.err]).toEqual([1, expect.stringContaining('needed by orders')]);
    const file = join(fleet.home, 'resealed.json');
    expect(await must('credentials', 'reseal', '--pool', 'default', '--out', file)).toEqual([
      { service: 'fresh', result: 'current' },
      { service: 'orders', result: 'resealed' },
    ]);
    const written = await readFile(file, 'utf8');
    expect(written).not.toContain('real-credential');
    expect(await must('credentials', 'apply', file)).toEqual([{ service: 'orders', result: 'resealed' }]);
    expect(await must('credentials', 'apply', file)).toEqual([{ service: 'orders', result: 'current' }]);
    await goesOn();
    await must('keys', 'retire', old);
    expect((await keys('SEAL')).map((key) => [key.kid, key.state])).toEqual([
      [kid, 'KEY_STATE_CURRENT'],
      [old, 'KEY_STATE_RETIRED'],
    ]);
    await goesOn();

    const third = await rotate('seal');
    await until('the third key is handed out', async () => (await currentKey('SEAL')) === third);
    const results = await must('credentials', 'reseal');
    expect(results.map(({ result }) => result)).toEqual(['resealed', 'resealed']);
    await goesOn();
    expect(await readdir(join(fleet.home, 'data', 'sealing'))).toHaveLength(3);
  },
);
