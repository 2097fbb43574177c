// Bound tokens through a running fleet: minted by the command and by the SDK, proved by somebody else's code and our own.
import { createDaypass } from '@daypass/sdk';
import * as panva from 'dpop';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

let fleet: Fleet;
let upstream: Upstream;

beforeAll(async () => {
  upstream = await startUpstream((seen, response) => json(response, 200, { target: seen.target }));
  fleet = await startFleet();
  await register(fleet, 'orders', upstream.origin, 'real-credential');
});

afterAll(async () => {
  await fleet?.stop();
  await upstream?.close();
});

const codeOf = async (response: Response): Promise<unknown> => {
  const { code } = (await response.json()) as { code?: unknown };
  return code ?? response.status;
};

test('a token of `daypass mint --dpop-jkt` is worth nothing without proofs by that key', async () => {
  const pair = await panva.generateKeyPair('ES256');
  const jkt = await panva.calculateThumbprint(pair.publicKey);
  const token = await fleet.must(['mint', '--service', 'orders', '--allow', 'GET /orders/{id}', '--dpop-jkt', jkt]);
  const url = `${fleet.dataUrl}/s/orders/orders/7`;
  const get = (headers: Record<string, string>) => fetch(url, { headers });
  expect(await codeOf(await get({ authorization: `Bearer ${token}` }))).toBe('token_scheme_wrong');
  const authorization = `DPoP ${token}`;
  expect(await codeOf(await get({ authorization }))).toBe('proof_missing');
  const dpop = await panva.generateProof(pair, url, 'GET', undefined, token);
  expect(await codeOf(await get({ authorization, dpop }))).toBe(200);
  expect(await codeOf(await get({ authorization, dpop }))).toBe('proof_replayed');
  const other = await panva.generateProof(await panva.generateKeyPair('ES256'), url, 'GET', undefined, token);
  expect(await codeOf(await get({ authorization, dpop: other }))).toBe('proof_invalid');
  expect(upstream.seen.map(({ target, headers }) => [target, headers.authorization, headers.dpop])).toEqual([
    ['/orders/7', 'Bearer real-credential', undefined],
  ]);
});

test('the SDK does it by itself', async () => {
  const daypass = createDaypass({
    controlPlane: fleet.controlUrl,
    dataPlane: fleet.dataUrl,
    apiKey: fleet.adminKey,
    dpop: true,
    client: 'bound',
  });
  for (const id of [1, 2, 3])
    expect((await daypass.fetch('orders', `/orders/${id}`, { allow: ['GET /orders/*'] })).status).toBe(200);
  const { tokens } = await daypass.clients.tokens.list({ client: 'bound' });
  expect(tokens.map(({ dpopJkt }) => dpopJkt.length)).toEqual([43]);
  daypass.close();
});
