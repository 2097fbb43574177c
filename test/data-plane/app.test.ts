// The whole data plane in this process against a control plane of the test's own, over real sockets.

import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { type AuditRecord, GENESIS, readChain } from '@daypass/core/audit';
import { verifyNodeAssertion } from '@daypass/core/node-auth';
import { AuditService } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { expect, onTestFinished, test } from 'vitest';
import { type DataPlane, startDataPlane } from '../../data-plane/app.ts';
import { linesOf } from '../../data-plane/audit/segment.ts';
import { parseConfig } from '../../data-plane/config.ts';
import { until } from '../kit/deadline.ts';
import { memoryLog } from './audit/records.ts';
import { freshHome, node } from './fresh-home.ts';
import { createFleet, digestOf, FLEET } from './snapshot/fleet.ts';

const fleet = await createFleet();
const snapshot = await fleet.snapshot(1);

/** Keeps every record once; can go away and come back on its port. */
async function startControl() {
  const stored: Uint8Array[] = [];
  const reports: bigint[] = [];
  const check = async (headers: Headers) => {
    const assertion = headers.get('authorization')?.replace(/^Bearer /, '') ?? '';
    const keyOf = async () => node.publicJwk;
    await verifyNodeAssertion(assertion, { fleet: FLEET, keyOf, now: Date.now() / 1000 });
  };
  const handler = connectNodeAdapter({
    routes(router) {
      router.service(SnapshotService, {
        async *watch(request, context) {
          await check(context.requestHeader);
          if (request.digest === digestOf(snapshot)) yield { event: { case: 'heartbeat', value: { version: 1n } } };
          else yield { event: { case: 'snapshot', value: snapshot } };
          await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
        },
        async report(request, context) {
          await check(context.requestHeader);
          reports.push(request.version);
          return {};
        },
      });
      router.service(AuditService, {
        async ingest({ firstSeq, lines }, context) {
          await check(context.requestHeader);
          const records = [...linesOf(lines)];
          for (const [index, record] of records.entries()) stored[Number(firstSeq) - 1 + index] ??= record;
          return { storedSeq: firstSeq + BigInt(records.length) - 1n };
        },
      });
    },
  });
  let server: Server | undefined;
  let port = 0;
  const start = async () => {
    const fresh = createServer(handler);
    await new Promise<void>((resolve) => fresh.listen(port, '127.0.0.1', resolve));
    const address = fresh.address();
    port = typeof address === 'object' && address !== null ? address.port : 0;
    server = fresh;
  };
  const stop = async () => {
    const ended = new Promise((resolve) => server?.close(resolve));
    server?.closeAllConnections();
    await ended;
  };
  await start();
  onTestFinished(stop);
  const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();
  const records = (): readonly AuditRecord[] =>
    readChain(stored, { node: 'node-1', firstSeq: 1, prev: GENESIS }, sha256).map(({ record }) => record);
  return { url: `http://127.0.0.1:${port}`, start, stop, reports, records };
}

async function startPlane(home: string, controlUrl: string): Promise<DataPlane> {
  const config = parseConfig({
    DAYPASS_HOME: home,
    DAYPASS_DATA_LISTEN: '127.0.0.1:0',
    DAYPASS_DATA_ADMIN_LISTEN: '127.0.0.1:0',
    DAYPASS_CONTROL_URL: controlUrl,
  });
  const plane = await startDataPlane(config, memoryLog().log);
  onTestFinished(plane.close);
  return plane;
}

const isReady = async ({ admin }: DataPlane) => (await fetch(`${admin}/readyz`)).status === 200;

test('it takes a snapshot, is ready, and says in metrics what it serves', async () => {
  const control = await startControl();
  const plane = await startPlane(freshHome(fleet.root), control.url);
  await until('it is ready', () => isReady(plane));
  await until('it reported', () => control.reports.at(-1) === 1n);
  const metrics = await (await fetch(`${plane.admin}/metrics`)).text();
  expect(metrics).toMatch(/^daypass_snapshot_version 1$/m);
  expect(metrics).toMatch(/^daypass_control_connected 1$/m);
  expect(metrics).toMatch(/^daypass_audit_accepting 1$/m);
});

test('a refusal is at the control plane within a second of its answer', async () => {
  const control = await startControl();
  const plane = await startPlane(freshHome(fleet.root), control.url);
  await until('it is ready', () => isReady(plane));
  const answer = await fetch(`${plane.listen}/s/github/repos`);
  const answered = performance.now();
  expect(answer.status).toBeGreaterThanOrEqual(400);
  const record = await until('it is recorded', () => control.records().at(-1));
  expect(performance.now() - answered).toBeLessThan(1_000);
  expect(record).toMatchObject({ kind: 'decision', result: 'refused', source: '127.0.0.0/24', count: 1 });
});

test('a control plane that goes and comes back has every record once', async () => {
  const control = await startControl();
  const home = freshHome(fleet.root);
  const plane = await startPlane(home, control.url);
  await until('it is ready', () => isReady(plane));
  let sent = 0;
  const ask = async () => {
    await (await fetch(`${plane.listen}/s/none-${sent++}/x`)).text();
  };
  for (const away of [false, true, false, true, false]) {
    if (away) await control.stop();
    for (let count = 0; count < 5; count++) await ask();
    if (away) await control.start();
  }
  const counted = () =>
    control.records().reduce((sum, record) => sum + (record.kind === 'decision' ? record.count : 0), 0);
  await until('every refusal is there', () => counted() === sent, 20_000);
  expect(counted()).toBe(25);
}, 30_000);

test('it starts without the control plane, from disk, and is ready', async () => {
  const control = await startControl();
  const home = freshHome(fleet.root);
  const first = await startPlane(home, control.url);
  await until('it is ready', () => isReady(first));
  await first.close();
  await control.stop();
  const second = await startPlane(home, control.url);
  expect(await isReady(second)).toBe(true);
  await control.start();
});

test('while it drains it is not ready, and takes no new connection', async () => {
  const control = await startControl();
  const plane = await startPlane(freshHome(fleet.root), control.url);
  await until('it is ready', () => isReady(plane));
  await plane.drain();
  expect(await (await fetch(`${plane.admin}/readyz`)).json()).toMatchObject({ reason: 'draining' });
  await expect(fetch(`${plane.listen}/s/github/x`)).rejects.toThrow();
});

test('restarts that are asked for while one goes on are one more', async () => {
  const control = await startControl();
  const plane = await startPlane(freshHome(fleet.root), control.url);
  const [first, second, third] = [plane.restart(), plane.restart(), plane.restart()];
  expect([first === second, second === third]).toEqual([false, true]);
  await Promise.all([first, second]);
  expect((await fetch(`${plane.listen}/s/github/repos`)).status).toBeGreaterThanOrEqual(400);
});
