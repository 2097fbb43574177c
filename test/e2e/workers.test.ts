// A data plane of several workers: one node to whoever looks at it, however connections are spread over them.
import { once } from 'node:events';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../kit/deadline.ts';
import { clientKey, proofOf } from '../kit/dpop.ts';
import { claim, events, mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { exchange, requestText, statusOf } from '../kit/raw.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

let fleet: Fleet;
let upstream: Upstream;

beforeAll(async () => {
  upstream = await startUpstream((seen, response) => json(response, 200, { target: seen.target }));
  fleet = await startFleet({ env: { DAYPASS_WORKERS: '3', DAYPASS_AUDIT: 'strict' } });
  await register(fleet, 'orders', upstream.origin, 'real-credential');
});

afterAll(async () => {
  await fleet?.stop();
  await upstream?.close();
});

/** The statuses of requests that each have a connection of their own, so that all workers get some. */
async function statuses(count: number, path: string, headers: readonly string[]): Promise<readonly number[]> {
  const one = async () => statusOf(await exchange(fleet.dataUrl, requestText('GET', path, headers), 15_000));
  return await Promise.all(Array.from({ length: count }, one));
}

const countOf = (all: readonly number[], status: number): number => all.filter((one) => one === status).length;

test('a limit admits what it says over all connections', async () => {
  const limit = ['--credential', 'bearer', '--limit-per-service', '20/1h'];
  await register(fleet, 'limited', upstream.origin, 'real-credential', limit);
  const token = await mint(fleet, 'limited', ['GET /a']);
  const all = await statuses(60, '/s/limited/a', [`Authorization: Bearer ${token}`]);
  expect([countOf(all, 200), countOf(all, 429)]).toEqual([20, 40]);
});

test('a proof that one worker took is replayed at none', async () => {
  const key = await clientKey();
  const token = await mint(fleet, 'orders', ['GET /orders/*'], ['--dpop-jkt', key.jkt]);
  const url = `${fleet.dataUrl}/s/orders/orders/7`;
  const proof = proofOf(key, { method: 'GET', url, token, now: Date.now() / 1000 });
  const fields = [`Authorization: DPoP ${token}`, `DPoP: ${proof}`, `Host: ${new URL(url).host}`];
  const one = async () => {
    const lines = ['GET /s/orders/orders/7 HTTP/1.1', 'Connection: close', ...fields, '', ''];
    return statusOf(await exchange(fleet.dataUrl, lines.join('\r\n'), 15_000));
  };
  const all = await Promise.all(Array.from({ length: 24 }, one));
  expect([countOf(all, 200), countOf(all, 401)]).toEqual([1, 23]);
});

test('a revocation that was waited for holds in all workers', async () => {
  const token = await mint(fleet, 'orders', ['GET /orders/*']);
  const fields = [`Authorization: Bearer ${token}`];
  expect(countOf(await statuses(12, '/s/orders/orders/1', fields), 200)).toBe(12);
  await fleet.must(['revoke', '--jti', String(claim(token, 'jti'))]);
  expect(countOf(await statuses(24, '/s/orders/orders/1', fields), 401)).toBe(24);
});

test('metrics and audit are of all workers', async () => {
  const token = await mint(fleet, 'orders', ['GET /counted/*']);
  expect(countOf(await statuses(30, '/s/orders/counted/1', [`Authorization: Bearer ${token}`]), 200)).toBe(30);
  const text = await (await fetch(`${fleet.adminUrl}/metrics`)).text();
  const completed = [...text.matchAll(/^daypass_requests_total\{service="\w+",result="completed"\} (\d+)$/gm)];
  expect(completed.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(upstream.seen.length);
  expect(text).toMatch(/^daypass_workers 3$/m);
  const counted = () => events(fleet, { service: 'orders' });
  await until(
    'all are recorded',
    async () => (await counted()).filter(({ path }) => path === '/counted/1').length === 30,
  );
});

/** Asks one after the other on kept connections until told to stop; a new connection that is reset is tried again. */
async function askOn(token: string, state: { isOver: boolean }) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const { hostname, port } = new URL(fleet.dataUrl);
  const said = { answered: 0, wrong: [] as unknown[], reset: 0, closed: 0 };
  while (!state.isOver) {
    const headers = { authorization: `Bearer ${token}` };
    const asking = request({ agent, hostname, port, path: '/s/orders/orders/2', headers });
    await new Promise<void>((resolve) => {
      asking.on('response', (response) => {
        if (response.statusCode === 200) said.answered += 1;
        else said.wrong.push(response.statusCode);
        if (response.headers.connection === 'close') said.closed += 1;
        response.resume().on('end', resolve);
      });
      asking.on('error', (error) => {
        if (asking.reusedSocket) said.wrong.push(error);
        else said.reset += 1;
        resolve();
      });
      asking.end();
    });
  }
  agent.destroy();
  return said;
}

test('workers are replaced under load, and no request on a kept connection is lost', async () => {
  const token = await mint(fleet, 'orders', ['GET /orders/*']);
  const state = { isOver: false };
  const asking = Array.from({ length: 8 }, () => askOn(token, state));
  const rolled = () => fleet.data.logs().split('all workers have been replaced').length - 1;
  for (const round of [1, 2]) {
    process.kill(fleet.data.pid(), 'SIGHUP');
    await until('they are replaced', () => rolled() === round, 60_000);
  }
  state.isOver = true;
  const said = await Promise.all(asking);
  expect(said.flatMap(({ wrong }) => wrong)).toEqual([]);
  expect(said.every(({ answered }) => answered > 0)).toBe(true);
  expect(said.reduce((sum, { closed }) => sum + closed, 0)).toBeGreaterThan(0);
  expect(fleet.data.logs()).not.toContain('unexpectedly');
  const text = await (await fetch(`${fleet.adminUrl}/metrics`)).text();
  expect(text).toMatch(/^daypass_workers 3$/m);
}, 120_000);

test('a client that is idle while its worker is replaced is let go', async () => {
  const { hostname, port } = new URL(fleet.dataUrl);
  const sockets = Array.from({ length: 6 }, () =>
    connect(Number(port), hostname)
      .resume()
      .on('error', () => undefined),
  );
  const ended = sockets.map((socket) => new Promise((resolve) => socket.on('close', resolve)));
  const rolled = () => fleet.data.logs().split('all workers have been replaced').length - 1;
  const before = rolled();
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  process.kill(fleet.data.pid(), 'SIGHUP');
  await until('they are replaced', () => rolled() === before + 1, 60_000);
  expect(await Promise.all(ended)).toHaveLength(6);
}, 90_000);
