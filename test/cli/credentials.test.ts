// `daypass credentials reseal` against a control plane that is honest, and against one that is not.
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeBase64url } from '@daypass/core/base64url';
import { controlPaths, dataPaths, sealingKeyPath } from '@daypass/core/home';
import { type GeneratedKey, generateSealingKey, generateSigningKey, signKeyStatement } from '@daypass/core/key';
import { readSealKid } from '@daypass/core/seal';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Home, makeHome, type Running, sealFor, startControl, until } from '../control-plane/fixture.ts';
import { daypass, jsonLines, type Result } from './fake-io.ts';

const ID = '0123456789abcdef0123456789abcdef';
let folder: string;
let home: Home;
let control: Running;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-credentials-'));
  home = await makeHome();
  control = await startControl({ home });
  await writeNode('node-1', 'default');
  for (const name of ['one', 'two']) await create(name);
});

afterEach(async () => {
  await control.app.close();
  await home.remove();
  await rm(folder, { recursive: true, force: true });
});

/** The data plane's part of a home, as that of an enrolled node. */
const writeNode = async (name: string, pool: string): Promise<void> => {
  const paths = dataPaths(folder);
  await mkdir(paths.sealing, { recursive: true });
  await writeFile(paths.fleet, JSON.stringify({ v: 1, fleet: home.fleet, root: home.root.publicJwk }));
  await writeFile(paths.node, JSON.stringify({ v: 1, name, pool }));
  await writeFile(paths.nodeKey, JSON.stringify(home.nodeKeys.get(name)?.privateJwk));
  await writeFile(sealingKeyPath(folder, home.sealing.kid), JSON.stringify(home.sealing.privateJwk));
};

const create = async (name: string, sealedFor = name): Promise<void> => {
  const sealedCredential = await sealFor(home, sealedFor);
  const service = { name, upstream: 'https://api.example.com', sealedCredential, credentialId: ID };
  await control.admin.services.create({ service: { ...service, place: { kind: 1 } }, wait: { seconds: 0n } });
};

/** Puts a key first in the control plane's list, signed by the root or by another. */
const addSealingKey = async (key: GeneratedKey, isHere = true): Promise<void> => {
  const file = controlPaths(home.path).sealingKeys;
  const lists = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown[]>;
  const { kid, publicJwk: jwk } = key;
  const statement = {
    v: 1,
    fleet: home.fleet,
    pool: 'default',
    use: 'seal',
    kid,
    jwk,
    not_after: 4_000_000_000,
  } as const;
  const signed = await signKeyStatement(statement, home.rootKey);
  const text = { statement: encodeBase64url(signed.statement), signature: encodeBase64url(signed.signature) };
  await writeFile(file, JSON.stringify({ ...lists, default: [text, ...(lists.default ?? [])] }));
  if (isHere) await writeFile(sealingKeyPath(folder, kid), JSON.stringify(key.privateJwk));
  await control.app.reload();
  await until(async () => (await control.admin.keys.getSealingKeys({})).keys.length === 2);
};

const run = (...args: readonly string[]): Promise<Result> =>
  daypass([...args, '--json', '--home', folder, '--control-url', control.url], {
    env: { DAYPASS_API_KEY: home.adminKey },
  });
const sealOf = async (name: string): Promise<string> =>
  (await control.admin.services.get({ name })).service?.sealedCredential ?? '';

test('each credential is handed back in the place of the one that it was made of', async () => {
  const key = await generateSealingKey();
  await addSealingKey(key);
  const { code, out, err } = await run('credentials', 'reseal');
  expect([code, jsonLines(out)]).toEqual([
    0,
    [
      { service: 'one', result: 'resealed' },
      { service: 'two', result: 'resealed' },
    ],
  ]);
  expect(out + err).not.toContain('canary-credential');
  expect([readSealKid(await sealOf('one')), readSealKid(await sealOf('two'))]).toEqual([key.kid, key.kid]);
  expect(jsonLines((await run('credentials', 'reseal')).out).map(({ result }) => result)).toEqual([
    'current',
    'current',
  ]);
});

test('a credential that was changed in between stays, and the command says so by its exit code', async () => {
  await addSealingKey(await generateSealingKey());
  const file = join(folder, 'resealed.json');
  expect((await run('credentials', 'reseal', '--out', file)).code).toBe(0);
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readFile(file, 'utf8')).not.toContain('canary-credential');
  const other = await sealFor(home, 'one');
  const { service } = await control.admin.services.get({ name: 'one' });
  await control.admin.services.update({
    service: { name: 'one', upstream: service?.upstream ?? '', sealedCredential: other, credentialId: ID },
    updateMask: { paths: ['sealed_credential'] },
  });
  const { code, out } = await run('credentials', 'apply', file);
  expect([code, jsonLines(out)]).toEqual([
    1,
    [
      { service: 'one', result: 'changed' },
      { service: 'two', result: 'resealed' },
    ],
  ]);
  expect(await sealOf('one')).toBe(other);
});

test('a control plane that hands over the credential of one service as that of another gets nothing for it', async () => {
  await create('evil', 'one');
  await addSealingKey(await generateSealingKey());
  const before = await sealOf('evil');
  const { code, out } = await run('credentials', 'reseal');
  expect([code, jsonLines(out)[0]]).toEqual([1, { service: 'evil', result: 'failed', code: 'seal_service_wrong' }]);
  expect(await sealOf('evil')).toBe(before);
});

test('nothing is sealed to a key whose private half is not here, nor under another root than the pinned one', async () => {
  await addSealingKey(await generateSealingKey(), false);
  const missing = await run('credentials', 'reseal');
  expect([missing.code, missing.err]).toEqual([1, expect.stringContaining('failed_precondition')]);
  const fleet = { v: 1, fleet: home.fleet, root: (await generateSigningKey()).publicJwk };
  await writeFile(dataPaths(folder).fleet, JSON.stringify(fleet));
  const foreign = await run('credentials', 'reseal');
  expect([foreign.code, foreign.err]).toEqual([1, expect.stringContaining('key_untrusted')]);
  expect(readSealKid(await sealOf('one'))).toBe(home.sealing.kid);
});

test('a data plane of another pool is refused, and so is a file that is none', async () => {
  expect((await run('credentials', 'reseal', '--pool', 'other')).code).toBe(2);
  const file = join(folder, 'other.json');
  await writeFile(file, '{"v":1,"credentials":[{"service":"one"}]}');
  expect((await run('credentials', 'apply', file)).err).toContain('config_invalid');
});

test('a data plane that has a change first seals anew what it was sent, as any other', async () => {
  for (const node of ['node-1', 'node-2']) {
    const lease = { leaseExpiresAt: { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600) } };
    await control.asNode(node).snapshots.report({ node, version: 1n, digest: 'ab'.repeat(32), ...lease });
  }
  await control.admin.services.update({
    service: { name: 'one', upstream: 'https://api.example.com', maxTtl: { seconds: 60n } },
    updateMask: { paths: ['max_ttl'] },
    canary: { nodes: ['node-1'] },
    wait: { seconds: 0n },
  });
  await addSealingKey(await generateSealingKey());
  const { code, err } = await run('credentials', 'reseal', '--out', join(folder, 'resealed.json'));
  expect([code, err]).toEqual([0, expect.stringContaining('2 credentials are in')]);
});
