// `daypass keys rotate` and `retire` on the files of a home: all or nothing, and what the planes then read.
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { controlPaths, dataPaths, keyFile, rootPaths } from '@daypass/core/home';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ControlHome, readControlHome } from '../../control-plane/home.ts';
import { createLog } from '../../control-plane/log.ts';
import { readDataHome } from '../../data-plane/home.ts';
import { daypass, jsonLines } from './fake-io.ts';

const log = createLog('error', () => undefined);
let folder: string;
let home: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-keys-'));
  home = join(folder, 'home');
  expect((await daypass(['init', '--home', home])).code).toBe(0);
});

afterEach(() => rm(folder, { recursive: true, force: true }));

const keys = (...args: readonly string[]) => daypass(['keys', ...args, '--home', home]);
const rotated = async (...args: readonly string[]): Promise<Record<string, unknown>> => {
  const { code, out, err } = await keys('rotate', ...args, '--json');
  expect(err).toBe('');
  expect(code).toBe(0);
  return jsonLines(out)[0] ?? {};
};
const readHome = (): Promise<ControlHome> => readControlHome(home, log);
const filesOf = async (): Promise<readonly string[]> =>
  (await readdir(home, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();

test('a token key is added beside the one that is there', async () => {
  const before = await readHome();
  const { kid } = await rotated('token');
  const after = await readHome();
  expect(after.tokenKeys.map((key) => key.kid)).toEqual([before.tokenKeys[0]?.kid, kid]);
  const { mode } = await stat(keyFile(controlPaths(home).tokenKeys, String(kid)));
  expect(mode & 0o777).toBe(0o600);
  expect((await stat(controlPaths(home).tokenKeys)).mode & 0o777).toBe(0o700);
  expect((await daypass(['init', '--home', home])).out).toContain('whole already');
});

test('a snapshot key takes the place of the one before, which stays until it is retired', async () => {
  const before = (await readHome()).snapshotSigners.get('default');
  const { kid } = await rotated('snapshot');
  expect((await readHome()).snapshotSigners.get('default')).toMatchObject({ kid, generation: 0 });
  const retired = await keys('retire', String(before?.kid), '--json');
  expect(jsonLines(retired.out)[0]).toMatchObject({ kid: before?.kid, generation: 1, pools: ['default'] });
  expect((await readHome()).snapshotSigners.get('default')).toMatchObject({ kid, generation: 1 });
  const signing = await keys('retire', String(kid));
  expect([signing.code, signing.err]).toEqual([1, expect.stringContaining('rotate it first')]);
});

test('the successor of a compromised snapshot key is of the next generation, every time', async () => {
  await rotated('snapshot', '--compromised');
  const { kid, generation } = await rotated('snapshot', '--compromised');
  expect(generation).toBe(2);
  const file = JSON.parse(await readFile(controlPaths(home).snapshotKeyStatement, 'utf8'));
  expect(file.default).toHaveLength(1);
  expect((await readHome()).snapshotSigners.get('default')).toMatchObject({ kid, generation: 2 });
});

test('a sealing key comes first in its pool, its private half lies with the data plane, and the old one stays', async () => {
  const before = [...(await readDataHome(home, log)).unsealKeys.keys()];
  const { kid } = await rotated('seal');
  const sealing = (await readHome()).sealingKeys.get('default') ?? [];
  expect(sealing.map(({ verified }) => verified.kid)).toEqual([kid, ...before]);
  expect([...(await readDataHome(home, log)).unsealKeys.keys()].sort()).toEqual([kid, ...before].sort());
});

test('a pool is made by name only, and each has keys of its own', async () => {
  expect((await keys('rotate', 'snapshot', '--pool', 'eu')).err).toContain('--new-pool');
  const [snapshot, seal] = [
    await rotated('snapshot', '--pool', 'eu', '--new-pool'),
    await rotated('seal', '--pool', 'eu', '--new-pool'),
  ];
  const { snapshotSigners, sealingKeys } = await readHome();
  expect(snapshotSigners.get('eu')?.kid).toBe(snapshot.kid);
  expect(snapshotSigners.get('default')?.kid).not.toBe(snapshot.kid);
  expect(sealingKeys.get('eu')?.map(({ verified }) => verified.kid)).toEqual([seal.kid]);
  expect((await keys('rotate', 'seal')).err).toContain('say which');
});

test('parts that lie elsewhere are found by their flags', async () => {
  const [root, data] = [join(folder, 'root'), join(folder, 'data')];
  await rename(rootPaths(home).folder, root);
  await rename(dataPaths(home).folder, data);
  const { kid, written } = await rotated('seal', '--root-dir', root, '--data-dir', data);
  expect(written).toEqual([join(data, 'sealing', `${kid}.jwk`), controlPaths(home).sealingKeys]);
});

const spoil: readonly (readonly [string, string, () => Promise<unknown>])[] = [
  ['without the root', 'snapshot', () => rm(rootPaths(home).key)],
  [
    'with the root of another fleet',
    'seal',
    async () => {
      expect((await daypass(['init', '--home', join(folder, 'other')])).code).toBe(0);
      await writeFile(rootPaths(home).key, await readFile(rootPaths(join(folder, 'other')).key));
    },
  ],
  ['while another command rotates', 'seal', () => writeFile(`${controlPaths(home).sealingKeys}.new`, '')],
  [
    'where a file cannot be written',
    'seal',
    async () => {
      await rm(dataPaths(home).sealing, { recursive: true });
      await writeFile(dataPaths(home).sealing, '');
    },
  ],
  ['where the list cannot be read', 'snapshot', () => writeFile(controlPaths(home).snapshotKeyStatement, '{')],
  [
    'where the list cannot be replaced',
    'snapshot',
    async () => {
      await rm(controlPaths(home).snapshotKeyStatement);
      await mkdir(controlPaths(home).snapshotKeyStatement);
    },
  ],
  ['without a control plane', 'token', () => rm(controlPaths(home).folder, { recursive: true })],
];

test.each(spoil)('%s nothing is written', async (_what, use, spoilt) => {
  await spoilt();
  const before = await filesOf();
  const { code, err } = await keys('rotate', use);
  expect([1, 2]).toContain(code);
  expect(err).not.toContain('"d"');
  expect(await filesOf()).toEqual(before);
});

test.each([
  ['token', '--pool', 'a'],
  ['seal', '--compromised'],
  ['snapshot', '--new-pool'],
  ['other'],
])('keys rotate %s %s is wrong usage', async (...args) => {
  expect((await keys('rotate', ...args)).code).toBe(2);
});
