// Revocation over all of a node: warm caches of several workers, connections that are kept, tokens that were exchanged, streams.
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../kit/deadline.ts';
import { claim, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

/** So many connections reach every worker, or nearly always do. */
const CONNECTIONS = 12;

let fleet: Fleet;
let upstream: Upstream;
let botKey: string;
const agents = Array.from({ length: CONNECTIONS }, () => new Agent({ keepAlive: true, maxSockets: 1 }));

beforeAll(async () => {
  upstream = await startUpstream((seen, response) => {
    if (seen.target !== '/events') return json(response, 200, {});
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.write('data: one\n\n');
  });
  fleet = await startFleet({ env: { DAYPASS_WORKERS: '3' } });
  for (const name of ['orders', 'other']) await register(fleet, name, upstream.origin, 'real-credential');
  const caller = { name: 'bot', services: ['orders', 'other'] };
  botKey = String((await must('CallerService/Create', { caller })).apiKey);
});

afterAll(async () => {
  for (const agent of agents) agent.destroy();
  await fleet?.stop();
  await upstream?.close();
});

async function must(method: string, message: unknown, key?: string): Promise<Record<string, unknown>> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const { status, body } = await fleet.rpc(method, message, headers);
  if (status !== 200) throw new Error(`${method} answered ${status}: ${JSON.stringify(body)}`);
  return body;
}

type Asked = { readonly service?: string; readonly client?: string; readonly subject?: string; readonly key?: string };

const mint = async ({ service = 'orders', key, ...more }: Asked): Promise<string> =>
  String((await must('TokenService/Mint', { service, allow: ['GET /**'], ...more }, key)).token);
const exchange = async (subjectToken: string, client: string): Promise<string> =>
  String((await must('TokenService/Exchange', { subjectToken, allow: ['GET /a', 'GET /events'], client })).token);

/** A token, one that was exchanged from it, and one from that, each under a label of its own. */
async function family(asked: Asked): Promise<readonly [string, string, string]> {
  const first = await mint(asked);
  const second = await exchange(first, 'second');
  return [first, second, await exchange(second, 'third')];
}

/** A request on a connection that is kept: its status. */
const ask = (agent: Agent, token: string): Promise<number> =>
  new Promise((resolve, reject) => {
    const service = String(claim(token, 'service'));
    const { hostname, port } = new URL(fleet.dataUrl);
    const headers = { authorization: `Bearer ${token}` };
    request({ agent, hostname, port, path: `/s/${service}/a`, headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    })
      .on('error', reject)
      .end();
  });

/** The statuses that tokens get, each on every connection. */
const statuses = (tokens: readonly string[]): Promise<readonly (readonly number[])[]> =>
  Promise.all(
    agents.map(async (agent) => {
      const all: number[] = [];
      for (const token of tokens) all.push(await ask(agent, token));
      return all;
    }),
  );

const everywhere = (...all: readonly number[]) => Array.from({ length: CONNECTIONS }, () => all);

const credentialOf = async (name: string): Promise<string> => {
  const service = (await must('ServiceRegistry/Get', { name })) as { service?: { credentialId?: string } };
  return String(service.service?.credentialId);
};

type Target = Readonly<Record<string, unknown>>;

/** What is revoked, of whose tokens, and who is spared. */
const KINDS: readonly (readonly [string, Asked, Asked, (hit: string) => Promise<Target> | Target])[] = [
  ['its id', {}, {}, (hit) => ({ jti: claim(hit, 'jti') })],
  ['its text', {}, {}, (hit) => ({ token: hit })],
  ['client', { client: 'lost-1' }, { client: 'lost' }, () => ({ cutOff: { client: 'lost-1' } })],
  ['subject', { subject: 'ann' }, { subject: 'anna' }, () => ({ cutOff: { subject: 'ann' } })],
  ['service', {}, { service: 'other' }, () => ({ cutOff: { service: 'orders' } })],
  ['caller', { key: 'bot' }, {}, () => ({ cutOff: { caller: 'bot' } })],
  ['credential id', {}, { service: 'other' }, async () => ({ cutOff: { credentialId: await credentialOf('orders') } })],
  [
    'client and subject',
    { client: 'lost-2', subject: 'me' },
    { client: 'lost-2', subject: 'you' },
    () => ({ cutOff: { client: 'lost-2', subject: 'me' } }),
  ],
  [
    'client and caller, the same label of another caller',
    { client: 'lost-3', key: 'bot' },
    { client: 'lost-3' },
    () => ({ cutOff: { client: 'lost-3', caller: 'bot' } }),
  ],
];

const keyed = ({ key, ...asked }: Asked): Asked => (key === undefined ? asked : { ...asked, key: botKey });

test.each(
  KINDS,
)('revoking by %s ends the token and what came of it at every worker, and nothing else', async (...row) => {
  const [, hit, spared, targetOf] = row;
  const lost = await family(keyed(hit));
  const kept = await mint(keyed(spared));
  expect(await statuses([...lost, kept])).toEqual(everywhere(200, 200, 200, 200));
  const { rollout } = await must('TokenService/Revoke', await targetOf(lost[0]));
  expect((rollout as { missing?: unknown }).missing).toBeUndefined();
  expect(await statuses([...lost, kept])).toEqual(everywhere(401, 401, 401, 200));
});

test('a cut-off of what was minted before ends that, and nothing that was minted after', async () => {
  const before = await mint({ client: 'timed' });
  const mintedBefore = new Date(Number(claim(before, 'iat')) * 1000).toISOString();
  await until('a later millisecond', () => Date.now() > Number(claim(before, 'iat')) * 1000 + 1);
  const after = await mint({ client: 'timed' });
  await must('TokenService/Revoke', { cutOff: { client: 'timed', mintedBefore } });
  expect(await statuses([before, after])).toEqual(everywhere(401, 200));
});

test('revoking in the middle of a family ends what came after, and spares what came before', async () => {
  const [first, second, third] = await family({});
  expect(await statuses([first, second, third])).toEqual(everywhere(200, 200, 200));
  await must('TokenService/Revoke', { jti: claim(second, 'jti') });
  expect(await statuses([first, second, third])).toEqual(everywhere(200, 401, 401));
});

test('a named scope that is emptied ends what it allowed, at every worker', async () => {
  const setScope = (rules: readonly string[]) =>
    must('ServiceRegistry/SetScope', { service: 'orders', scope: 'reads', rules: { rules } });
  await setScope(['GET /a']);
  const token = String((await must('TokenService/Mint', { service: 'orders', allow: ['scope:reads'] })).token);
  expect(await statuses([token])).toEqual(everywhere(200));
  await setScope(['GET /b']);
  expect(await statuses([token])).toEqual(everywhere(403));
});

/** Opens a stream of events; whether it has ended. */
async function openStream(token: string): Promise<{ readonly isOver: () => boolean }> {
  const { hostname, port } = new URL(fleet.dataUrl);
  const socket = connect(Number(port), hostname).on('error', () => undefined);
  let got = '';
  let isOver = false;
  socket.on('data', (bytes) => (got += bytes.toString('latin1'))).on('close', () => (isOver = true));
  const service = String(claim(token, 'service'));
  socket.write(`GET /s/${service}/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n\r\n`);
  await until('the stream has begun', () => got.includes('data: one'));
  return { isOver: () => isOver };
}

test.each<[string, (lost: string) => readonly [string, unknown]]>([
  ['its token is revoked', (lost) => ['TokenService/Revoke', { jti: claim(lost, 'jti') }]],
  ['its client is cut off', () => ['TokenService/Revoke', { cutOff: { client: 'streaming' } }]],
  ['its service is deleted', () => ['ServiceRegistry/Delete', { name: 'passing' }]],
])('streams at every worker have ended when the call that ends them returns: %s', async (_name, callOf) => {
  await register(fleet, 'passing', upstream.origin, 'real-credential').catch(() => undefined);
  const [lost, kept] = [await mint({ service: 'passing', client: 'streaming' }), await mint({ client: 'kept' })];
  const ending = await Promise.all(Array.from({ length: CONNECTIONS }, () => openStream(lost)));
  const going = await openStream(kept);
  await must(...callOf(lost));
  // The node has destroyed them; that reaches this process as soon as its loop turns.
  await until('they have ended', () => ending.every(({ isOver }) => isOver()), 250);
  expect(going.isOver()).toBe(false);
});
