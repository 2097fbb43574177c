// What an upstream writes is never taken for a refusal of Daypass, and one caller never gets another's token.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DaypassError } from '@daypass/core/errors';
import { createDaypass, type DaypassOptions } from '@daypass/sdk';
import { refusalOf } from '@daypass/sdk/errors';
import { expect, test } from 'vitest';
import { problemOf } from '../../data-plane/refusal.ts';
import { CONTROL, createDataPlane, createMinter, fetchTo, refuse, thrownBy } from './fixture.ts';

const setUp = async (answer: Parameters<typeof createDataPlane>[0], options: Partial<DaypassOptions> = {}) => {
  const minter = createMinter();
  const plane = await createDataPlane(answer);
  const daypass = createDaypass({
    ...{ controlPlane: CONTROL, dataPlane: plane.url, apiKey: 'dpk_key', fetch: fetchTo(minter.routes) },
    ...options,
  });
  return { minter, plane, daypass, [Symbol.asyncDispose]: () => plane[Symbol.asyncDispose]() };
};

/** A refusal in Daypass's own words, as an upstream could copy it: the data plane takes the header off. */
const copied = (code: 'token_revoked' | 'scope_refused') => {
  const { status, fields, body } = problemOf(new DaypassError(code, 'x', { neededRule: '* /**' }), 'decision-1');
  const at = fields.indexOf('daypass-refusal');
  expect(at).toBeGreaterThan(0);
  return { status, fields: [...fields.slice(0, at), ...fields.slice(at + 2)], body };
};

test.each([
  'token_revoked',
  'scope_refused',
] as const)('a problem spoofed by the upstream is its answer: %s', async (code) => {
  const { status, fields, body } = copied(code);
  await using at = await setUp((_, response) => void response.writeHead(status, [...fields]).end(body));
  const response = await at.daypass.fetch('github', '/a');
  expect([response.status, await response.text()]).toEqual([status, body.toString()]);
  // No token is dropped, nothing is sent twice.
  expect([at.plane.seen.length, at.minter.asked.length]).toEqual([1, 1]);
});

test('a challenge spoofed by the upstream in an answer to HEAD is its answer', async () => {
  const { status, fields } = copied('scope_refused');
  await using at = await setUp((_, response) => void response.writeHead(status, [...fields]).end());
  expect((await at.daypass.fetch('github', '/a', { method: 'HEAD' })).status).toBe(status);
});

test('a refusal spoofed at the end of a redirect to somebody else is not one', async () => {
  const problem = problemOf(new DaypassError('scope_refused', 'x', { neededRule: '* /**' }), 'decision-1');
  const evil = createServer(
    (_, response) => void response.writeHead(problem.status, [...problem.fields]).end(problem.body),
  );
  await new Promise<void>((resolve) => evil.listen(0, '127.0.0.1', resolve));
  const { port } = evil.address() as AddressInfo;
  await using at = await setUp(
    (_, response) => void response.writeHead(302, { location: `http://127.0.0.1:${port}/` }).end(),
  );
  const response = await at.daypass.fetch('github', '/a');
  expect([response.status, response.redirected]).toEqual([403, true]);
  evil.closeAllConnections();
  await new Promise((resolve) => evil.close(resolve));
});

test.each([
  ['without a length', { 'daypass-refusal': 'rate_limited' }, 'rate_limited'],
  ['too long to read', { 'daypass-refusal': 'rate_limited', 'content-length': '99999' }, 'rate_limited'],
  ['of a code from the future', { 'daypass-refusal': 'made_up', 'content-length': '1' }, 'unavailable'],
])('a refusal %s is one all the same', async (_, headers, code) => {
  const response = new Response('x', { status: 429, headers });
  expect(await refusalOf(response, 'http://data.test')).toMatchObject({ code, status: 429, decisionId: '' });
});

test('an answer below 400 is never a refusal', async () => {
  const response = new Response('x', { headers: { 'daypass-refusal': 'rate_limited' } });
  expect(await refusalOf(response, 'http://data.test')).toBeUndefined();
});

test('the token of one API key is not used with another', async () => {
  let key = 'dpk_alice';
  await using at = await setUp((_, response) => void response.end('ok'), { apiKey: () => key, allow: ['GET /**'] });
  const alice = await at.daypass.token('github', ['GET /a']);
  await at.daypass.fetch('github', '/a');
  key = 'dpk_bob';
  expect(await at.daypass.token('github', ['GET /a'])).not.toBe(alice);
  await at.daypass.fetch('github', '/a');
  expect(at.minter.authorizations).toEqual(['alice', 'alice', 'bob', 'bob'].map((name) => `Bearer dpk_${name}`));
  const [first, second] = at.plane.seen.map(({ headers }) => headers.authorization);
  expect(first).not.toBe(second);
});

test('a refused token is dropped for its own API key alone', async () => {
  let key = 'dpk_alice';
  await using at = await setUp(
    (_, response, count) =>
      count === 3 ? refuse(response, new DaypassError('token_revoked', 'Revoked')) : void response.end('ok'),
    { apiKey: () => key, allow: ['GET /**'] },
  );
  await at.daypass.fetch('github', '/a');
  key = 'dpk_bob';
  await at.daypass.fetch('github', '/a');
  await at.daypass.fetch('github', '/a');
  key = 'dpk_alice';
  await at.daypass.fetch('github', '/a');
  expect(at.minter.authorizations).toEqual(['alice', 'bob', 'bob'].map((name) => `Bearer dpk_${name}`));
});

test('an API key that cannot be had ends the request', async () => {
  const apiKey = () => Promise.reject(new Error('no key'));
  await using at = await setUp((_, response) => void response.end('ok'), { apiKey });
  expect(await thrownBy(() => at.daypass.fetch('github', '/a'))).toMatchObject({ message: 'no key' });
  expect(at.plane.seen).toEqual([]);
});
