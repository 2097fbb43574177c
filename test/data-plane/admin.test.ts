// The admin port: three paths for reading, and nothing else.
import { createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { type AdminServer, createAdminServer, type Readiness } from '../../data-plane/admin.ts';

const loopback = { host: '127.0.0.1', port: 0 };

async function start(readiness: Readiness = { reason: undefined, snapshotVersion: 7 }) {
  const admin: AdminServer = createAdminServer({
    version: '0.1.0',
    readiness: () => readiness,
    metrics: async () => 'daypass_snapshot_version 7\n',
  });
  onTestFinished(admin.close);
  const { port } = await admin.listen(loopback);
  return { port, get: (path: string, method = 'GET') => fetch(`http://127.0.0.1:${port}${path}`, { method }) };
}

test('healthz is OK, with the version', async () => {
  const { get } = await start();
  const answer = await get('/healthz');
  expect([answer.status, await answer.text(), answer.headers.get('daypass-version')]).toEqual([200, 'OK', '0.1.0']);
});

test('readyz names the version of the snapshot', async () => {
  const { get } = await start();
  const answer = await get('/readyz');
  expect(answer.status).toBe(200);
  expect(await answer.json()).toEqual({ ready: true, version: '0.1.0', snapshot_version: 7 });
});

test.each([
  'snapshot_missing',
  'snapshot_expired',
  'audit_unavailable',
  'draining',
] as const)('readyz is 503 with the reason %s', async (reason) => {
  const { get } = await start({ reason, snapshotVersion: 0 });
  const answer = await get('/readyz');
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ ready: false, reason });
});

test('metrics are Prometheus text', async () => {
  const { get } = await start();
  const answer = await get('/metrics');
  expect(answer.headers.get('content-type')).toContain('version=0.0.4');
  expect(await answer.text()).toContain('daypass_snapshot_version 7');
});

test('HEAD has the head of GET and no body', async () => {
  const { get } = await start();
  const answer = await get('/metrics', 'HEAD');
  expect([answer.status, await answer.text()]).toEqual([200, '']);
  expect(Number(answer.headers.get('content-length'))).toBeGreaterThan(0);
});

test.each([
  ['/', 'GET', 404],
  ['/healthz/', 'GET', 404],
  ['/healthz?x=1', 'GET', 404],
  ['/s/github/repos', 'GET', 404],
  ['/healthz', 'POST', 405],
  ['/metrics', 'DELETE', 405],
  ['/readyz', 'OPTIONS', 405],
])('%s by %s is %i', async (path, method, status) => {
  const { get } = await start();
  expect((await get(path, method)).status).toBe(status);
});

test('a port that is taken is one clear error', async () => {
  const { port } = await start();
  const other = createAdminServer({
    version: '',
    readiness: () => ({ reason: undefined, snapshotVersion: 0 }),
    metrics: async () => '',
  });
  const listening = other.listen({ host: '127.0.0.1', port });
  await expect(listening).rejects.toMatchObject({ code: 'unavailable', message: `Port ${port} on 127.0.0.1 is taken` });
});

test('closing ends connections that are idle', async () => {
  const admin = createAdminServer({
    version: '',
    readiness: () => ({ reason: undefined, snapshotVersion: 0 }),
    metrics: async () => '',
  });
  const { port } = await admin.listen(loopback);
  await (await fetch(`http://127.0.0.1:${port}/healthz`)).text();
  await admin.close();
  const free = createServer();
  await new Promise<void>((resolve) => free.listen(port, '127.0.0.1', resolve));
  expect(free.listening).toBe(true);
  await new Promise((resolve) => free.close(resolve));
});
