// What keeps a plane from starting: one clear line that names the variable or the file, an exit code, nothing changed.
import { chmod, cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { filesBelow } from '../kit/canary.ts';
import { until } from '../kit/deadline.ts';
import { mint, register } from '../kit/operator.ts';
import { type Fleet, isReady, startFleet } from '../kit/planes.ts';
import { type Ended, type Launch, launch, run } from '../kit/process.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet({ start: [] });
});

afterAll(async () => {
  await fleet?.stop();
});

type Plane = 'control-plane' | 'data-plane';

/** Starts a plane that has to fail. */
const start = (plane: Plane, env: Readonly<Record<string, string>> = {}, more: Launch = {}): Promise<Ended> =>
  run(process.execPath, [join(root, plane, 'main.ts')], { ...more, env: { ...fleet.env, ...env } });

/** A copy of the fleet's home that a test may spoil. */
async function copyOfHome(): Promise<string> {
  const home = await mkdtemp(join(tmpdir(), 'daypass-home-'));
  await cp(fleet.home, home, { recursive: true });
  return home;
}

describe('settings', () => {
  const cases: readonly (readonly [plane: Plane, name: string, value: string])[] = [
    ['control-plane', 'DAYPASS_CONTROL_LISTEN', 'nowhere'],
    ['control-plane', 'DAYPASS_CONTROL_LISTEN', '127.0.0.1:99999'],
    ['control-plane', 'DAYPASS_CONTROL_LISTEN', '0.0.0.0:0'],
    ['control-plane', 'DAYPASS_LEASE', '5s'],
    ['control-plane', 'DAYPASS_LEASE', 'a while'],
    ['control-plane', 'DAYPASS_ALLOW_UPSTREAM_RANGES', '10.0.0.0/99'],
    ['control-plane', 'DAYPASS_DATABASE_URL', 'mysql://x'],
    ['control-plane', 'DAYPASS_CONTROL_TLS_CERT', '/nonexistent/cert.pem'],
    ['control-plane', 'DAYPASS_LOG_LEVEL', 'loud'],
    ['data-plane', 'DAYPASS_DATA_LISTEN', 'nowhere'],
    ['data-plane', 'DAYPASS_DATA_LISTEN', '0.0.0.0:0'],
    ['data-plane', 'DAYPASS_DATA_ADMIN_LISTEN', '127.0.0.1'],
    ['data-plane', 'DAYPASS_ALLOW_UPSTREAM_RANGES', 'all'],
    ['data-plane', 'DAYPASS_AUDIT_SPOOL_BYTES', 'much'],
    ['data-plane', 'DAYPASS_MAX_IN_FLIGHT', '-1'],
    ['data-plane', 'DAYPASS_CONTROL_URL', 'not a url'],
    ['data-plane', 'DAYPASS_DATA_PUBLIC_URL', 'ftp://x'],
  ];
  test.each(cases)('%s with %s=%s', async (plane, name, value) => {
    const ended = await start(plane, { [name]: value });
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(ended.stderr).toContain(name);
    expect(ended.stderr).not.toMatch(/^\s+at /m);
  });

  test('all that is wrong is said at once', async () => {
    const ended = await start('data-plane', {
      DAYPASS_DATA_LISTEN: 'x',
      DAYPASS_MAX_IN_FLIGHT: 'y',
      DAYPASS_LOG_LEVEL: 'z',
    });
    for (const name of ['DAYPASS_DATA_LISTEN', 'DAYPASS_MAX_IN_FLIGHT', 'DAYPASS_LOG_LEVEL'])
      expect(ended.stderr).toContain(name);
  });
});

describe('the home', () => {
  test.each([
    ['control-plane', 'control'],
    ['data-plane', 'data'],
  ] as const)('%s without one says to run init', async (plane, folder) => {
    const ended = await start(plane, { DAYPASS_HOME: join(fleet.home, 'nothing') });
    expect(ended.code).toBe(2);
    expect(ended.stderr).toContain(folder);
    expect(ended.stderr).toContain('init');
    await expect(readdir(join(fleet.home, 'nothing'))).rejects.toThrow('ENOENT');
  });

  test.each([
    ['control-plane', 'control/token-key.jwk'],
    ['control-plane', 'control/fleet.json'],
    ['control-plane', 'control/nodes.json'],
    ['data-plane', 'data/node.jwk'],
    ['data-plane', 'data/fleet.json'],
  ] as const)('%s with a damaged %s names it', async (plane, file) => {
    const home = await copyOfHome();
    try {
      await writeFile(join(home, file), '{"kty":');
      const ended = await start(plane, { DAYPASS_HOME: home });
      expect(ended.code).toBe(2);
      expect(ended.stderr).toContain(file);
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  });

  test.each([
    ['control-plane', 'control'],
    ['data-plane', 'data'],
  ] as const)('%s with an unreadable %s/ names it', async (plane, folder) => {
    const home = await copyOfHome();
    try {
      await chmod(join(home, folder), 0o000);
      const ended = await start(plane, { DAYPASS_HOME: home }, { powerless: true });
      expect(ended.code).toBe(2);
      expect(ended.stderr).toContain(join(home, folder));
      expect(ended.stderr).toMatch(/EACCES|permission/i);
    } finally {
      await chmod(join(home, folder), 0o700);
      await rm(home, { recursive: true, force: true });
    }
  });

  test('init on a home that is there keeps every key', async () => {
    const before = await filesBelow(fleet.home);
    const ended = await fleet.cli(['init']);
    expect(`${ended.stdout}${ended.stderr}`).toContain(fleet.home);
    const after = await filesBelow(fleet.home);
    expect(Object.keys(after).sort()).toEqual(Object.keys(before).sort());
    for (const [path, bytes] of Object.entries(before)) expect(after[path]).toEqual(bytes);
  });
});

describe('a port that is taken', () => {
  test.each([
    ['control-plane', 'DAYPASS_CONTROL_LISTEN'],
    ['data-plane', 'DAYPASS_DATA_LISTEN'],
    ['data-plane', 'DAYPASS_DATA_ADMIN_LISTEN'],
  ] as const)('%s names the address of %s', async (plane, name) => {
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
    const address = holder.address();
    const port = typeof address === 'object' ? address?.port : 0;
    try {
      const ended = await start(plane, { [name]: `127.0.0.1:${port}` });
      expect(ended).toMatchObject({ code: 1, stdout: '' });
      expect(ended.stderr).toContain(String(port));
      expect(ended.stderr).toContain('127.0.0.1');
    } finally {
      holder.close();
    }
  });
});

describe('the database', () => {
  test('a corrupt one is named and left as it is', async () => {
    const home = await copyOfHome();
    const path = join(home, 'control', 'daypass.db');
    try {
      await writeFile(path, 'this is not a database, and it is long enough to be looked at as one '.repeat(100));
      const before = await readFile(path);
      const ended = await start('control-plane', { DAYPASS_HOME: home });
      expect(ended).toMatchObject({ code: 1, stdout: '' });
      expect(ended.stderr).toContain('daypass.db');
      expect(await readFile(path)).toEqual(before);
    } finally {
      await rm(home, { recursive: true, force: true });
    }
  });

  test('one that another holds locked is named, and nothing is changed', async () => {
    const home = await copyOfHome();
    const path = join(home, 'control', 'daypass.db');
    const script = `const { DatabaseSync } = require('node:sqlite');
      const db = new DatabaseSync(${JSON.stringify(path)});
      db.exec('PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS held (x)');
      console.log('held');
      setInterval(() => {}, 1000);`;
    const holder = launch(process.execPath, ['-e', script]);
    try {
      await holder.line(/^held$/);
      const ended = await start('control-plane', { DAYPASS_HOME: home });
      expect(ended).toMatchObject({ code: 1, stdout: '' });
      expect(ended.stderr).toMatch(/locked/);
      expect(ended.stderr).toContain('daypass.db');
    } finally {
      holder.kill('SIGKILL');
      await holder.ended;
      await rm(home, { recursive: true, force: true });
    }
  });
});

describe('a snapshot on disk that is not what it was', () => {
  let serving: Fleet;
  let upstream: Upstream;
  let token: string;
  beforeAll(async () => {
    upstream = await startUpstream((_seen, response) => json(response, 200, {}));
    serving = await startFleet();
    await register(serving, 'orders', upstream.origin, 'real-credential');
    token = await mint(serving, 'orders', ['GET /a']);
    await serving.control.stop();
    await serving.data.stop();
  });
  afterAll(async () => {
    await serving?.stop();
    await upstream?.close();
  });
  const ask = () => fetch(`${serving.dataUrl}/s/orders/a`, { headers: { authorization: `Bearer ${token}` } });

  test.each([
    ['truncated', (bytes: Buffer) => bytes.subarray(0, Math.floor(bytes.length / 2))],
    [
      'altered',
      (bytes: Buffer) => Buffer.from(bytes.map((byte, index) => (index === bytes.length - 40 ? byte ^ 1 : byte))),
    ],
    ['empty', () => Buffer.alloc(0)],
  ])('%s: it is not served, and a control plane heals it', async (_name, spoil) => {
    const folder = join(serving.home, 'data', 'snapshot');
    const files = await filesBelow(folder);
    const largest = Object.entries(files).sort(([, a], [, b]) => b.length - a.length)[0];
    if (largest === undefined) throw new Error('there is no snapshot on disk');
    await writeFile(largest[0], spoil(Buffer.from(largest[1])));
    await serving.data.start();
    try {
      expect((await ask()).status).toBe(503);
      await serving.control.start();
      await until('it has a snapshot again', () => isReady(serving.adminUrl), 20_000);
      expect((await ask()).status).toBe(200);
    } finally {
      await serving.data.stop();
      await serving.control.stop();
    }
  });

  test('of another fleet: it is not served', async () => {
    const folder = join(serving.home, 'data', 'snapshot');
    const other = await startFleet();
    try {
      await rm(folder, { recursive: true });
      await cp(join(other.home, 'data', 'snapshot'), folder, { recursive: true });
      await serving.data.start();
      const refused = await ask();
      expect(refused.status).toBe(503);
      expect(await isReady(serving.adminUrl)).toBe(false);
      expect(serving.data.logs()).toMatch(/snapshot_(?:signature_invalid|fleet_wrong|[a-z_]+)|key_untrusted/);
    } finally {
      await serving.data.stop();
      await other.stop();
    }
  });
});
