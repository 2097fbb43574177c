// A change that some data planes get first, with traffic through all of them: real processes, real audit.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { daypass } from '../cli/fake-io.ts';
import { until } from '../kit/deadline.ts';
import { mint } from '../kit/operator.ts';
import { type Fleet, freePorts, isReady, startFleet } from '../kit/planes.ts';
import { launch, type Running } from '../kit/process.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

type Node = { readonly name: string; readonly url: string; readonly home: string; readonly plane: Running };

let fleet: Fleet;
let upstream: Upstream;
let others: readonly Node[] = [];

/** One more data plane of the fleet, with a home of its own. */
async function startNode(name: string): Promise<Node> {
  const home = await mkdtemp(join(tmpdir(), 'daypass-node-'));
  const token = await fleet.must(['node', 'token', '--name', name]);
  await fleet.must(['node', 'enroll', '--token', token], { env: { DAYPASS_HOME: home } });
  const ports = await freePorts();
  const env = {
    ...fleet.env,
    DAYPASS_HOME: home,
    DAYPASS_DATA_LISTEN: `127.0.0.1:${ports.data}`,
    DAYPASS_DATA_ADMIN_LISTEN: `127.0.0.1:${ports.admin}`,
  };
  const plane = launch(process.execPath, [join(root, 'data-plane', 'main.ts')], { env });
  await until(`${name} has a snapshot`, () => isReady(`http://127.0.0.1:${ports.admin}`), 20_000);
  return { name, url: `http://127.0.0.1:${ports.data}`, home, plane };
}

beforeAll(async () => {
  upstream = await startUpstream((seen, response) => json(response, 200, { target: seen.target }));
  fleet = await startFleet({ env: { DAYPASS_WORKERS: '1' } });
  const scope = ['--scope', 'read=GET /orders/{id}'];
  await fleet.must(['service', 'create', 'orders', '--upstream', upstream.origin, ...scope]);
  others = [await startNode('node-2'), await startNode('node-3')];
}, 120_000);

afterAll(async () => {
  for (const { plane, home } of others) {
    plane.kill('SIGTERM');
    await plane.ended;
    await rm(home, { recursive: true, force: true });
  }
  await fleet?.stop();
  await upstream?.close();
});

const urls = (): readonly string[] => [fleet.dataUrl, ...others.map(({ url }) => url)];

/** The command in this process: it is the planes that are real here. */
async function cli(...args: readonly string[]): Promise<string> {
  const { code, out, err } = await daypass(args, { env: fleet.env });
  expect([code, args, err]).toEqual([0, args, '']);
  return out;
}

/** A caller of one data plane that asks one request after another until told to stop. */
function traffic(url: string, token: string) {
  const statuses: number[] = [];
  let going = true;
  const caller = async () => {
    while (going) {
      const answer = await fetch(`${url}/s/orders/orders/1`, { headers: { authorization: `Bearer ${token}` } });
      await answer.arrayBuffer();
      statuses.push(answer.status);
    }
  };
  const running = caller();
  const stop = async () => {
    going = false;
    await running;
    return statuses;
  };
  return { statuses, stop };
}

type Status = { readonly ending: string; readonly why: string; readonly id: string };
const status = async (): Promise<Status> => JSON.parse(await cli('snapshot', 'status', '--json')) as Status;

test('a canary that refuses is taken back by itself, and traffic through the other data planes sees none of it', async () => {
  const token = await mint(fleet, 'orders', ['scope:read'], ['--ttl', '30m']);
  const [canary, ...stable] = urls().map((url) => traffic(url, token));
  if (canary === undefined) throw new Error('no data plane');
  await until('traffic everywhere', () => [canary, ...stable].every(({ statuses }) => statuses.length > 20));
  const narrower = ['service', 'scope', 'set', 'orders', 'read', '--rule', 'GET /elsewhere'];
  const said = await cli(...narrower, '--canary-nodes', 'node-1');
  expect(said).toMatch(/^A canary: scope:read of orders holds 1 rule\.\nSnapshot \d+, in force on node-1/);
  await until('the canary refuses', () => canary.statuses.includes(403));
  const ended = await until(
    'it is taken back',
    async () => {
      const now = await status();
      return now.ending !== '' && now;
    },
    20_000,
  );
  expect(ended).toMatchObject({ ending: 'taken_back', why: expect.stringMatching(/requests were refused or failed/) });
  await until('it allows again', () => canary.statuses.at(-1) === 200);
  const [first, ...rest] = await Promise.all([canary, ...stable].map(({ stop }) => stop()));
  expect(new Set(first)).toEqual(new Set([200, 403]));
  expect(rest.map((statuses) => [...new Set(statuses)])).toEqual([[200], [200]]);
  expect(await cli('snapshot', 'history', '--limit', '1')).toContain('ReleaseService/TakeBack');
}, 120_000);

test('a token revoked during a canary is refused by its data planes and by the others', async () => {
  const token = await mint(fleet, 'orders', ['scope:read'], ['--ttl', '30m']);
  await cli('service', 'update', 'orders', '--max-ttl', '2h', '--canary', '1');
  const ask = async (url: string) =>
    (await fetch(`${url}/s/orders/orders/1`, { headers: { authorization: `Bearer ${token}` } })).status;
  expect(await Promise.all(urls().map(ask))).toEqual([200, 200, 200]);
  const receipt = await cli('revoke', '--token', token);
  expect(receipt).toContain('node-1, node-2, node-3');
  expect(await Promise.all(urls().map(ask))).toEqual([401, 401, 401]);
  await cli('snapshot', 'promote');
  expect(JSON.parse(await cli('service', 'get', 'orders', '--json'))).toMatchObject({ maxTtl: '7200s' });
  expect(await status()).toMatchObject({ ending: 'promoted' });
}, 120_000);
