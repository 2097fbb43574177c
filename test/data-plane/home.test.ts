// The data plane's home: read whole, or one clear line for each file that is wrong.
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readDataHome } from '../../data-plane/home.ts';
import { lockFolder } from '../../data-plane/home-lock.ts';
import { freshFolder, memoryLog } from './audit/records.ts';
import { freshHome, node, paths, root, sealing, sealingPath, write } from './fresh-home.ts';
import { FLEET } from './snapshot/fleet.ts';

async function problemsOf(home: string): Promise<string> {
  const error = await readDataHome(home, memoryLog().log).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: 'config_invalid' });
  return error instanceof Error ? error.message : '';
}

test('a whole home is read', async () => {
  const { log, lines } = memoryLog();
  const home = await readDataHome(freshHome(), log);
  expect(home).toMatchObject({ fleet: FLEET, node: 'node-1', pool: 'default', root: { x: root.publicJwk.x } });
  expect([...home.unsealKeys.keys()]).toEqual([sealing.kid]);
  expect(lines).toEqual([]);
});

test.each<[string, string, unknown, string]>([
  ['is not JSON', paths.fleet, '{"v":1', ''],
  ['has another version', paths.fleet, { v: 2, fleet: FLEET, root: root.publicJwk }, '"v"'],
  ['has an unknown member', paths.fleet, { v: 1, fleet: FLEET, root: root.publicJwk, extra: 1 }, 'extra'],
  ['has no fleet', paths.fleet, { v: 1, root: root.publicJwk }, 'fleet'],
  ['has a private root', paths.fleet, { v: 1, fleet: FLEET, root: root.privateJwk }, 'root'],
  ['has a wrong name', paths.node, { v: 1, name: 'Node 1', pool: 'default' }, '"name"'],
  ['has no pool', paths.node, { v: 1, name: 'node-1' }, 'pool'],
  ['is a public key', paths.key, node.publicJwk, 'd is missing'],
  ['is a key of another curve', paths.key, sealing.privateJwk, ''],
  ['has halves that do not fit', paths.key, { ...node.privateJwk, d: 'AAAA' }, '"d"'],
  ['is a key of another curve', sealingPath, node.privateJwk, ''],
  ['is empty', sealingPath, '', ''],
])('a file that %s (%s) is named, with the member', async (_name, path, content, member) => {
  const home = freshHome();
  write(home, path, content);
  const message = await problemsOf(home);
  expect(message.split('\n')).toHaveLength(1);
  expect(message).toContain(join(home, path));
  expect(message).toContain(member);
  expect(message).not.toContain(node.privateJwk.d);
  expect(message).not.toContain(sealing.privateJwk.d);
});

test('all files that are wrong are named at once', async () => {
  const home = freshHome();
  for (const path of Object.values(paths)) rmSync(join(home, path));
  rmSync(join(home, 'data/sealing'), { recursive: true });
  const message = await problemsOf(home);
  expect(message.split('\n')).toHaveLength(4);
  expect(message).toContain('daypass init');
});

test('a home that is not there is one clear message', async () => {
  expect(await problemsOf(join(freshFolder(), 'nowhere'))).toContain('daypass init');
});

test('a private key that others can read is warned about', async () => {
  const home = freshHome();
  chmodSync(join(home, paths.key), 0o644);
  const { log, lines } = memoryLog();
  await readDataHome(home, log);
  expect(lines).toMatchObject([{ level: 'warn', file: join(home, paths.key) }]);
});

test('a folder is held by one process', async () => {
  const folder = freshFolder();
  const lock = await lockFolder(folder);
  await expect(lockFolder(folder)).rejects.toMatchObject({ code: 'config_invalid' });
  await lock[Symbol.asyncDispose]();
  const again = await lockFolder(folder);
  await again[Symbol.asyncDispose]();
});

test('what a killed process left locks nothing', async () => {
  const folder = freshFolder();
  writeFileSync(join(folder, 'lock.sock'), '');
  const lock = await lockFolder(folder);
  await expect(lockFolder(folder)).rejects.toMatchObject({ code: 'config_invalid' });
  await lock[Symbol.asyncDispose]();
});

test('a folder whose path is too long for a socket is locked, too', async () => {
  const folder = join(freshFolder(), 'x'.repeat(120));
  const lock = await lockFolder(folder);
  await expect(lockFolder(folder)).rejects.toMatchObject({ code: 'config_invalid' });
  await lock[Symbol.asyncDispose]();
});
