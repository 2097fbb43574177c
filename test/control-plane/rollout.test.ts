// The wait for nodes: its receipt is right, and a large fleet that reports at once is not looked at once for each of its nodes.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createRollouts } from '../../control-plane/domain/rollout.ts';
import type { NodeRow } from '../../control-plane/store/interface.ts';

const snapshots = { at: async () => undefined };
const published = { pool: 'default', version: 7, digest: 'ab'.repeat(32) };

const nodeRow = (name: string): NodeRow =>
  ({ name, version: 6, digest: '', leaseExpiresAt: Number.MAX_SAFE_INTEGER, nackVersion: 0, nackCode: '' }) as NodeRow;

test.each([
  1, 3, 200,
])('of %i nodes that report one after the other each is waited for, and few looks see them all', async (count) => {
  const rows = Array.from({ length: count }, (_, i) => nodeRow(`node-${i}`));
  let looks = 0;
  const nodes = {
    ofPool: async () => {
      looks += 1;
      return [...rows];
    },
  };
  const rollouts = createRollouts({ nodes, snapshots, now: Date.now });
  const waiting = rollouts.wait([published], 5000, new AbortController().signal);
  for (const [at, row] of rows.entries()) {
    await nextTurn();
    rows[at] = { ...row, version: 7, digest: published.digest };
    rollouts.reported.notify();
  }
  const { acknowledged, missing } = await waiting;
  expect([acknowledged.length, missing.length]).toEqual([count, 0]);
  expect(looks).toBeLessThan(30);
});

test('the end of the wait is kept to, whoever reports meanwhile', async () => {
  const rows = Array.from({ length: 60 }, (_, i) => nodeRow(`node-${i}`));
  const rollouts = createRollouts({ nodes: { ofPool: async () => rows }, snapshots, now: Date.now });
  const beating = setInterval(rollouts.reported.notify, 1);
  const { missing, waitedMs } = await rollouts.wait([published], 60, new AbortController().signal);
  clearInterval(beating);
  expect([missing.length, waitedMs >= 59]).toEqual([60, true]);
});

test('changes that wait at the same time read the nodes together, however many there are', async () => {
  let reads = 0;
  const ofPool = async () => {
    reads += 1;
    await new Promise((resolve) => setImmediate(resolve));
    return [];
  };
  const rollouts = createRollouts({ nodes: { ofPool }, snapshots: { at: async () => undefined }, now: Date.now });
  const published = [{ pool: 'default', version: 1, digest: '', nodes: undefined }];
  const { signal } = new AbortController();
  await Promise.all(Array.from({ length: 50 }, () => rollouts.wait(published, 5000, signal)));
  expect(reads).toBe(2);
});
