// Snapshot keys and pools that come while the control plane runs, and files of before that are put back.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { controlPaths, rootPaths } from '@daypass/core/home';
import { verifyKeyChain } from '@daypass/core/key';
import { expect, test } from 'vitest';
import { type Asked, rotateSeal, rotateSnapshot } from '../../cli/rotation.ts';
import { type Running, startControl } from './fixture.ts';

const upstream = 'https://api.example.com';
const NOW = { seconds: 0n };

/** A running control plane, and its home with the root that `daypass keys` needs. */
const start = async (): Promise<Running> => {
  const control = await startControl();
  const { folder, key } = rootPaths(control.home.path);
  await mkdir(folder);
  await writeFile(key, JSON.stringify(control.home.root.privateJwk), { mode: 0o600 });
  return control;
};

const rotate = async (control: Running, asked: Partial<Asked> & { readonly compromised?: boolean }) => {
  const { kid } = await rotateSnapshot({ home: control.home.path }, { nowSeconds: Date.now() / 1000, ...asked });
  await control.app.reload();
  return kid;
};

/** The key that signed the newest snapshot, and its generation. */
const signedBy = async (control: Running) => {
  const { snapshot } = await control.asNode('node-1').snapshots.get({});
  if (snapshot?.key === undefined) throw new Error('there is no snapshot');
  const { kid, generation = 0 } = await verifyKeyChain(snapshot.key, control.home.root.publicJwk);
  return { kid, generation };
};

test('a new snapshot key signs at once, for each pool, and the audit says so', async () => {
  await using control = await start();
  const kid = await rotate(control, {});
  expect(await signedBy(control)).toEqual({ kid, generation: 0 });
  const { events } = await control.admin.audit.query({ filter: { kind: 2 }, pageSize: 100 });
  const paths = events.filter(({ method }) => method === 'KeyService/Rotate').map(({ path }) => path);
  expect(paths.sort()).toEqual([`pools/default/keys/${kid}`, `pools/other/keys/${kid}`]);
  await control.app.reload();
  expect((await control.admin.audit.query({ filter: { kind: 2 }, pageSize: 100 })).events).toHaveLength(events.length);
});

test('files of a generation that has ended are not taken back: the newer key goes on signing', async () => {
  await using control = await start();
  const file = controlPaths(control.home.path).snapshotKeyStatement;
  const before = await readFile(file, 'utf8');
  const kid = await rotate(control, { compromised: true });
  expect(await signedBy(control)).toEqual({ kid, generation: 1 });
  await writeFile(file, before);
  await control.app.reload();
  expect(control.logged.join('')).toContain('the keys of before stay');
  await control.admin.services.create({ service: { name: 'api', upstream }, wait: NOW });
  expect(await signedBy(control)).toEqual({ kid, generation: 1 });
});

test('a pool that is made while the control plane runs has snapshots and takes services', async () => {
  await using control = await start();
  const folders = { home: control.home.path };
  await rotateSeal(folders, { pool: 'eu', newPool: true, nowSeconds: Date.now() / 1000 });
  await rotate(control, { pool: 'eu', newPool: true });
  await control.admin.services.create({ service: { name: 'api', upstream, pool: 'eu' }, wait: NOW });
  expect((await control.admin.keys.getSealingKeys({ pool: 'eu' })).keys).toHaveLength(1);
  const { keys } = await control.admin.keys.list({});
  expect(new Set(keys.map(({ pool }) => pool))).toEqual(new Set(['', 'default', 'other', 'eu']));
});

test('a home that lacks a pool of before is not taken', async () => {
  await using control = await start();
  const file = controlPaths(control.home.path).snapshotKeyStatement;
  const { default: only } = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
  await writeFile(file, JSON.stringify({ default: only }));
  await control.app.reload();
  expect(control.logged.join('')).toContain('has no snapshot key');
  await control.admin.services.create({ service: { name: 'api', upstream, pool: 'other' }, wait: NOW });
});
