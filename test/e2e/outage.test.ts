// Either plane killed with -9 in the middle of traffic: no request fails for it, and the audit is complete after it.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../kit/deadline.ts';
import { events, mint, register } from '../kit/operator.ts';
import { type Fleet, isReady, startFleet } from '../kit/planes.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

let fleet: Fleet;
let upstream: Upstream;
let token: string;

beforeAll(async () => {
  upstream = await startUpstream((seen, response) => json(response, 200, { target: seen.target }));
  fleet = await startFleet({ env: { DAYPASS_SERVER_TIMING: '1' } });
  await register(fleet, 'orders', upstream.origin, 'real-credential');
  token = await mint(fleet, 'orders', ['GET /orders/{id}'], ['--client', 'steady']);
});

afterAll(async () => {
  await fleet?.stop();
  await upstream?.close();
});

/** One request: its status and its decision id, or how it failed. */
async function ask(id: number): Promise<{ readonly status: number; readonly decision: string }> {
  try {
    const answer = await fetch(`${fleet.dataUrl}/s/orders/orders/${id}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    await answer.arrayBuffer();
    const decision = /daypass;desc="([^"]+)"/.exec(answer.headers.get('server-timing') ?? '')?.[1] ?? 'none';
    return { status: answer.status, decision };
  } catch {
    return { status: 0, decision: 'none' };
  }
}

/** Four callers that ask one request after another until told to stop. */
function traffic(): {
  stop(): Promise<readonly { readonly status: number; readonly decision: string }[]>;
  done(): number;
} {
  const answers: { status: number; decision: string }[] = [];
  let going = true;
  const caller = async () => {
    while (going) answers.push(await ask(answers.length));
  };
  const callers = [caller(), caller(), caller(), caller()];
  return {
    done: () => answers.length,
    stop: async () => {
      going = false;
      await Promise.all(callers);
      return answers;
    },
  };
}

test('the control plane killed with -9 during traffic: no request fails, and the audit is complete and has nothing twice', async () => {
  const running = traffic();
  await until('some traffic', () => running.done() > 100);
  await fleet.control.kill9();
  const atKill = running.done();
  await until('traffic without a control plane', () => running.done() > atKill + 200);
  await fleet.control.start();
  const atStart = running.done();
  await until('traffic after it came back', () => running.done() > atStart + 100);
  const answers = await running.stop();

  expect(answers.filter((answer) => answer.status !== 200)).toEqual([]);
  const asked = answers.map((answer) => answer.decision).sort();
  expect(new Set(asked).size).toBe(asked.length);
  const audited = await until('every decision is in the audit', async () => {
    const found = (await events(fleet, { client: 'steady' })).filter((event) => event.outcome === 'OUTCOME_ALLOWED');
    return found.length >= asked.length && found.map((event) => event.decisionId).sort();
  });
  expect(audited).toEqual(asked);
});

test('the data plane killed with -9: what it answered is in the audit, and it serves again from disk without a control plane', async () => {
  const answers = [];
  for (let id = 0; id < 20; id += 1) answers.push(await ask(id));
  await fleet.control.kill9();
  for (let id = 20; id < 40; id += 1) answers.push(await ask(id));
  await fleet.data.kill9();
  await fleet.data.start();
  await until('it is ready from its last known good snapshot', () => isReady(fleet.adminUrl));
  for (let id = 40; id < 60; id += 1) answers.push(await ask(id));
  expect(answers.filter((answer) => answer.status !== 200)).toEqual([]);

  await fleet.control.start();
  const asked = new Set(answers.map((answer) => answer.decision));
  const found = await until('every decision is in the audit', async () => {
    const all = (await events(fleet, { client: 'steady' })).filter((event) => asked.has(event.decisionId));
    return all.length >= asked.size && all;
  });
  expect(found.map((event) => event.decisionId).sort()).toEqual([...asked].sort());
  expect(found.filter((event) => event.outcome !== 'OUTCOME_ALLOWED')).toEqual([]);
});

test('a data plane that never had a snapshot answers 503 with the reason, and heals by itself', async () => {
  const fresh = await startFleet({ start: ['data'] });
  try {
    const refused = await fetch(`${fresh.dataUrl}/s/orders/orders/1`);
    expect(refused.status).toBe(503);
    expect(await refused.json()).toMatchObject({ code: 'snapshot_missing' });
    expect(await isReady(fresh.adminUrl)).toBe(false);
    await fresh.control.start();
    await until('it has a snapshot', () => isReady(fresh.adminUrl), 20_000);
    const known = await fetch(`${fresh.dataUrl}/s/orders/orders/1`);
    expect(known.status).not.toBe(503);
  } finally {
    await fresh.stop();
  }
});
