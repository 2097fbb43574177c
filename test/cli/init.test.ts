// `daypass init`: what it makes, what it leaves alone, and what it refuses.
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isApiKey } from '@daypass/core/api-key';
import { decodeBase64url } from '@daypass/core/base64url';
import { controlPaths, dataPaths, rootPaths } from '@daypass/core/home';
import { verifySignedKey } from '@daypass/core/key';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { daypass, jsonLines } from './fake-io.ts';

let folder: string;
let home: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-init-'));
  home = join(folder, 'home');
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const init = (...args: readonly string[]) => daypass(['init', '--home', home, ...args]);

const contents = async (): Promise<Readonly<Record<string, string>>> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return Object.fromEntries(await Promise.all(files.map(async (file) => [file, await readFile(file, 'utf8')])));
};

test('folders are closed to others, and so is every file', async () => {
  expect((await init()).code).toBe(0);
  const entries = await readdir(home, { recursive: true, withFileTypes: true });
  for (const entry of entries) {
    const { mode } = await stat(join(entry.parentPath, entry.name));
    expect((mode & 0o777).toString(8), entry.name).toBe(entry.isDirectory() ? '700' : '600');
  }
  expect(entries.length).toBeGreaterThan(15);
});

test('the fleet root vouches for the keys of both planes, and the admin key is an API key', async () => {
  await init('--fleet', 'urn:example:fleet');
  const json = async (path: string) => JSON.parse(await readFile(path, 'utf8'));
  const control = controlPaths(home);
  const { fleet, root } = await json(control.fleet);
  expect(fleet).toBe('urn:example:fleet');
  expect(await readFile(dataPaths(home).fleet, 'utf8')).toBe(await readFile(control.fleet, 'utf8'));
  const expected = { root, fleet, pool: 'default', now: Date.now() / 1000 };
  const signed = ({ statement, signature }: Record<string, string>) => ({
    statement: decodeBase64url(statement ?? ''),
    signature: decodeBase64url(signature ?? ''),
  });
  const snapshot = await json(control.snapshotKeyStatement);
  await verifySignedKey(signed(snapshot.default), { ...expected, use: 'snapshot' });
  const sealing = await json(control.sealingKeys);
  const { kid } = await verifySignedKey(signed(sealing.default[0]), { ...expected, use: 'seal' });
  expect(await readdir(dataPaths(home).sealing)).toEqual([`${kid}.jwk`]);
  expect(isApiKey((await readFile(control.adminKey, 'utf8')).trim())).toBe(true);
  expect(await json(rootPaths(home).publicKey)).toEqual(root);
});

test('two homes share no key', async () => {
  await init();
  const one = await contents();
  const other = await daypass(['init', '--home', join(folder, 'other'), '--json']);
  expect(other.code).toBe(0);
  const all = Object.values(await contents()).filter((text) => text.includes('"d"'));
  expect(new Set(all).size).toBe(2 * Object.values(one).filter((text) => text.includes('"d"')).length);
});

test('a second init says that the home is whole and changes nothing', async () => {
  await init();
  const before = await contents();
  const { code, out } = await init();
  expect(code).toBe(0);
  expect(out).toContain('whole already');
  expect(await contents()).toEqual(before);
  expect(jsonLines((await init('--json')).out)).toEqual([{ home, made: false, apart: [] }]);
});

test('a home without one of its files is refused naming the file, and nothing is made', async () => {
  await init();
  const needed = [
    ...['root/fleet-root.pub.jwk', 'control/fleet.json', 'control/token-key.jwk', 'control/snapshot-key.jwk'],
    ...['control/snapshot-key.json', 'control/sealing-keys.json', 'control/nodes.json', 'control/admin.json'],
    ...['data/fleet.json', 'data/node.json', 'data/node.jwk'],
  ];
  for (const file of needed) {
    await rename(join(home, file), join(folder, 'aside'));
    const before = await contents();
    const { code, out, err } = await init('--json');
    expect([code, out], file).toEqual([1, '']);
    const error = jsonLines(err)[0]?.error as Record<string, unknown>;
    expect([error.code, error.field]).toEqual(['failed_precondition', join(home, file)]);
    expect(await contents()).toEqual(before);
    await rename(join(folder, 'aside'), join(home, file));
  }
  await rm(dataPaths(home).sealing, { recursive: true });
  expect((await init()).code).toBe(1);
});

test("the fleet root's private key and the admin key may be kept elsewhere", async () => {
  await init();
  await rm(rootPaths(home).key);
  await rm(controlPaths(home).adminKey);
  const { code, err } = await init();
  expect(code).toBe(0);
  expect(err).toContain('fleet-root.jwk');
  expect(err).toContain('admin.key');
});

test('a database without keys is a part of a home, not an empty place', async () => {
  await mkdir(controlPaths(home).folder, { recursive: true });
  await writeFile(controlPaths(home).database, 'kept');
  expect((await init()).code).toBe(1);
  expect(await readFile(controlPaths(home).database, 'utf8')).toBe('kept');
});

test('the three parts can lie in folders of their own, such as fresh volumes', async () => {
  const at = (name: string) => join(folder, name);
  await mkdir(at('control'), { mode: 0o755 });
  const args = ['--root-dir', at('safe'), '--control-dir', at('control'), '--data-dir', at('data')];
  expect((await init(...args)).code).toBe(0);
  expect((await readdir(at('safe'))).sort()).toEqual(['fleet-root.jwk', 'fleet-root.pub.jwk']);
  expect(((await stat(at('control'))).mode & 0o777).toString(8)).toBe('700');
  expect(await readdir(join(at('data'), 'sealing'))).toHaveLength(1);
  expect((await init(...args)).out).toContain('whole already');
});

test.skipIf(process.getuid?.() === 0)('a place that cannot be written is refused naming it', async () => {
  await chmod(folder, 0o500);
  const { code, err } = await init('--json');
  await chmod(folder, 0o700);
  expect(code).toBe(1);
  expect((jsonLines(err)[0]?.error as Record<string, unknown>).field).toContain(home);
});

test('a home that is a file is refused naming it, and the file stays', async () => {
  await writeFile(home, 'a file');
  const { code, err } = await init('--json');
  expect(code).toBe(1);
  expect(err).toContain(home);
  expect(await readFile(home, 'utf8')).toBe('a file');
});
