// Receipts of changes: whom they name as having one.
import { expect, test } from 'vitest';
import { createRollouts } from '../../control-plane/domain/rollout.ts';
import { makeHome, startControl } from './fixture.ts';

const upstream = 'https://api.example.com';
const NO_WAIT = { wait: { seconds: 0n } };
const lease = () => ({ leaseExpiresAt: { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600) } });

test('a node with a higher version that this fleet did not publish has no change: its database was restored, or a key was stolen', async () => {
  const home = await makeHome({ 'node-1': 'default', 'node-2': 'default' });
  const control = await startControl({ home });
  const { services, releases, tokens } = control.admin;
  await services.create({ service: { name: 'github', upstream }, ...NO_WAIT });
  const { jti } = await tokens.mint({ service: 'github', allow: ['GET /a'] });

  const ahead = { version: 1000n, digest: 'ab'.repeat(32), ...lease() };
  await control.asNode('node-1').snapshots.report({ node: 'node-1', ...ahead });
  await tokens.revoke({ target: { case: 'jti', value: jti }, ...NO_WAIT });
  // One more change, so that what node-2 has is newer than what stands for the revocation, and published.
  const [revoked] = (await releases.listSnapshots({ pageSize: 1 })).snapshots;
  await services.create({ service: { name: 'other', upstream }, ...NO_WAIT });
  const [newest] = (await releases.listSnapshots({ pageSize: 1 })).snapshots;
  expect(newest?.version).toBe((revoked?.version ?? 0n) + 1n);
  const has = { version: newest?.version ?? 0n, digest: newest?.digest ?? '', ...lease() };
  await control.asNode('node-2').snapshots.report({ node: 'node-2', ...has });

  const { rollout } = await tokens.revoke({ target: { case: 'jti', value: jti }, ...NO_WAIT });
  expect(rollout?.acknowledged).toEqual(['node-2']);
  expect(rollout?.missing.map(({ node, version }) => [node, version])).toEqual([['node-1', 1000n]]);
  await control.app.close();
  await home.remove();
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
