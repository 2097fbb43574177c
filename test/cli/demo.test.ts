// The demo upstream: pages and labels in GitHub's manner, and its credential on every call.

import { Secret } from '@daypass/core/secret';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createDemoApi } from '../../cli/demo/api.ts';
import { listenLocal } from './listen-local.ts';

const credential = new Secret('demo-credential-canary');
const server = createDemoApi(credential);
let url: string;

beforeAll(async () => {
  url = await listenLocal(server);
});

afterAll(() => server.close());

const call = (path: string, init: RequestInit = {}, authorization = `Bearer ${credential.reveal()}`) =>
  fetch(url + path, { ...init, headers: { authorization } });

test.each([
  undefined,
  '',
  'Bearer wrong',
  'bearer demo-credential-canary',
  'demo-credential-canary',
])('the credential %j is refused', async (authorization) => {
  const response = await fetch(`${url}/user`, authorization === undefined ? {} : { headers: { authorization } });
  expect([response.status, await response.json()]).toEqual([401, { message: 'Bad credentials' }]);
});

test('issues come in pages that link to each other', async () => {
  const numbers: number[] = [];
  let next: string | undefined = '/repos/acme/site/issues';
  for (let page = 1; next !== undefined; page += 1) {
    const response: Response = await call(next);
    numbers.push(...((await response.json()) as { number: number }[]).map((issue) => issue.number));
    next = /<([^>]+)>; rel="next"/.exec(response.headers.get('link') ?? '')?.[1]?.slice(url.length);
    expect(page).toBeLessThanOrEqual(3);
  }
  expect(numbers).toEqual(Array.from({ length: 75 }, (_, index) => index + 1));
});

test.each([
  ['?per_page=2', 2],
  ['?per_page=1000', 75],
  ['?per_page=0', 30],
  ['?per_page=x&page=-1', 30],
  ['?page=99', 0],
])('the page %s has %i issues', async (query, count) => {
  expect(await (await call(`/repos/acme/site/issues${query}`)).json()).toHaveLength(count);
});

test('labels are added once each, and taken off', async () => {
  const labels = '/repos/acme/site/issues/7/labels';
  const add = { method: 'POST', body: JSON.stringify({ labels: ['bug', 'triage', 'bug'] }) };
  expect(await (await call(labels, add)).json()).toEqual([{ name: 'bug' }, { name: 'triage' }]);
  expect(await (await call(labels)).json()).toEqual([{ name: 'bug' }, { name: 'triage' }]);
  expect(await (await call(`${labels}/bug`, { method: 'DELETE' })).json()).toEqual([{ name: 'triage' }]);
  expect(await (await call('/repos/acme/site/issues/7')).json()).toMatchObject({
    number: 7,
    labels: [{ name: 'triage' }],
  });
});

test.each([
  ['POST', '/repos/acme/site/issues/7/labels', '{"labels":[1]}', 422],
  ['POST', '/repos/acme/site/issues/7/labels', '{', 400],
  ['POST', '/repos/acme/site/issues/7/labels', 'x'.repeat(70_000), 413],
  ['GET', '/repos/acme/site/issues/76', undefined, 404],
  ['DELETE', '/repos/acme/site/issues/7', undefined, 404],
  ['GET', '/nowhere', undefined, 404],
])('%s %s is answered as it should be', async (method, path, body, status) => {
  expect((await call(path, body === undefined ? { method } : { method, body })).status).toBe(status);
});

test('the echo says that a credential came, and never which', async () => {
  const text = await (await call('/echo/a?b=c', { method: 'POST', body: 'abc' })).text();
  expect(JSON.parse(text)).toEqual({ method: 'POST', path: '/echo/a', query: '?b=c', bytes: 3, credential_seen: true });
  expect(text).not.toContain('canary');
});
