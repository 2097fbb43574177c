// @daypass/sdk against a running fleet: it mints, holds, renews and seals by itself.
import { createDaypass, type Daypass, RefusedError } from '@daypass/sdk';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { events, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

let fleet: Fleet;
let upstream: Upstream;
let daypass: Daypass;

beforeAll(async () => {
  upstream = await startUpstream((seen, response) => json(response, 200, { target: seen.target }));
  fleet = await startFleet();
  await register(fleet, 'orders', upstream.origin, 'real-credential');
  daypass = createDaypass({
    controlPlane: fleet.controlUrl,
    dataPlane: fleet.dataUrl,
    apiKey: fleet.adminKey,
    allow: ['GET /orders/{id}'],
    client: 'sdk',
  });
});

afterAll(async () => {
  daypass?.close();
  await fleet?.stop();
  await upstream?.close();
});

const minted = async () => (await daypass.clients.tokens.list({ client: 'sdk' })).tokens;

test('fetch mints once for many requests, and the upstream gets the real credential', async () => {
  const answers = await Promise.all([1, 2, 3, 4].map((id) => daypass.fetch('orders', `/orders/${id}?full=1`)));
  expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200, 200]);
  expect(upstream.seen.map((seen) => seen.target).sort()).toEqual([1, 2, 3, 4].map((id) => `/orders/${id}?full=1`));
  expect(new Set(upstream.seen.map((seen) => seen.headers.authorization))).toEqual(new Set(['Bearer real-credential']));
  expect(await minted()).toHaveLength(1);
});

test('a token that was revoked is replaced without the caller noticing', async () => {
  const [token] = await minted();
  await daypass.clients.tokens.revoke({ target: { case: 'jti', value: token?.jti ?? '' } });
  expect((await daypass.fetch('orders', '/orders/9')).status).toBe(200);
  expect(await minted()).toHaveLength(2);
});

test('a refusal is an error with its code, the rule that was needed, and a decision that is in the audit', async () => {
  const refused = await daypass.fetch('orders', '/orders/9', { method: 'DELETE' }).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(RefusedError);
  expect(refused).toMatchObject({ code: 'scope_refused', neededRule: 'DELETE /orders/9', status: 403 });
  const decisionId = refused instanceof RefusedError ? refused.decisionId : '';
  await expect.poll(() => events(fleet, { decisionId }), { timeout: 5000 }).toHaveLength(1);
});

test('an unknown service is an error of the mint, with the field at fault', async () => {
  await expect(daypass.fetch('nowhere', '/orders/1')).rejects.toMatchObject({ code: 'not_found', field: 'service' });
});
