// The process: ready line, signals, exit codes, and one clear line for everything that can be wrong at the start.
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Home, makeHome, until } from './fixture.ts';

const MAIN = join(import.meta.dirname, '../../control-plane/main.ts');

let home: Home;
const children = new Set<ChildProcess>();
beforeEach(async () => {
  home = await makeHome();
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children.clear();
  await home.remove();
});

const start = (env: Readonly<Record<string, string>> = {}) => {
  const all = { PATH: process.env.PATH ?? '', DAYPASS_HOME: home.path, DAYPASS_CONTROL_LISTEN: '127.0.0.1:0', ...env };
  const child = spawn(process.execPath, [MAIN], { env: all, stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    out += chunk;
  });
  const err = text(child.stderr);
  const ended = once(child, 'exit').then(async ([code]) => ({ code, err: await err }));
  return { child, ready: () => until(() => (out.includes('\n') ? out : undefined)), ended };
};

test('it says on one line where it listens, and logs in JSON alone', async () => {
  const { child, ready, ended } = start();
  const line = JSON.parse(await ready()) as { listen: string };
  expect(line).toEqual({ ready: true, plane: 'control', listen: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) });
  expect((await fetch(`${line.listen}/healthz`)).status).toBe(200);
  child.kill('SIGTERM');
  const { code, err } = await ended;
  expect(code).toBe(0);
  for (const logged of err.trim().split('\n'))
    expect(JSON.parse(logged)).toMatchObject({ time: expect.any(String), level: 'info' });
  expect(err).not.toContain(home.adminKey);
});

test.each([
  'SIGINT',
  'SIGTERM',
] as const)('a first %s drains and ends with 0, also with a connection open', async (signal) => {
  const { child, ready, ended } = start();
  const { listen } = JSON.parse(await ready()) as { listen: string };
  await (await fetch(`${listen}/healthz`)).text();
  child.kill(signal);
  expect((await ended).code).toBe(0);
});

test('a parent hears of it over its channel, and it ends when the parent is gone', async () => {
  const env = { ...process.env, DAYPASS_HOME: home.path, DAYPASS_CONTROL_LISTEN: '127.0.0.1:0' };
  const child = fork(MAIN, { env, silent: true, execArgv: [] });
  children.add(child);
  const [message] = await once(child, 'message');
  expect(message).toMatchObject({ ready: true, plane: 'control' });
  child.disconnect();
  const [code] = await once(child, 'exit');
  expect(code).toBe(0);
});

test('wrong settings are all named, each with its variable, and end with 2', async () => {
  const { ended } = start({
    DAYPASS_CONTROL_LISTEN: '0.0.0.0:8480',
    DAYPASS_LEASE: '30s',
    DAYPASS_ALLOW_UPSTREAM_RANGES: '10.0.0.0/99',
    DAYPASS_CONTROL_TLS_CERT: 'x',
    DAYPASS_DATABASE_URL: 'mysql:x',
    DAYPASS_ISSUER: 'nonsense',
    DAYPASS_LOG_LEVEL: 'loud',
  });
  const { code, err } = await ended;
  expect(code).toBe(2);
  const named = err
    .trim()
    .split('\n')
    .map((line) => line.split(':')[0]);
  expect(named.sort()).toEqual([
    'DAYPASS_ALLOW_UPSTREAM_RANGES',
    'DAYPASS_CONTROL_LISTEN',
    'DAYPASS_CONTROL_TLS_KEY',
    'DAYPASS_DATABASE_URL',
    'DAYPASS_ISSUER',
    'DAYPASS_LEASE',
    'DAYPASS_LOG_LEVEL',
  ]);
});

test('a home that is not there ends with 2 and says what makes it', async () => {
  const { code, err } = await start({ DAYPASS_HOME: join(home.path, 'nowhere') }).ended;
  expect(code).toBe(2);
  expect(err).toContain('daypass init');
  expect(err).not.toContain('    at ');
});

const FILES: Readonly<Record<string, readonly [file: string, content: string, named: string]>> = {
  'a fleet that is no JSON': ['fleet.json', '{', 'fleet.json'],
  'a fleet without a root': ['fleet.json', '{"v":1,"fleet":"urn:daypass:fleet:AAAAAAAAAAAAAAAAAAAAAA"}', 'root'],
  'a member twice': ['admin.json', '{"v":1,"v":1}', 'admin.json'],
  'an unknown member': ['admin.json', '{"v":1,"key":"x"}', 'key'],
  'a hash that is none': ['admin.json', '{"v":1,"key_hash":"x"}', 'key_hash'],
  'a token key that is public': ['token-key.jwk', '{"kty":"OKP","crv":"Ed25519","x":"AAAA"}', 'token-key.jwk'],
  'a node without a pool': ['nodes.json', '{"v":1,"nodes":[{"name":"a"}]}', 'nodes[0]'],
  'a snapshot key of nobody': [
    'snapshot-key.json',
    '{"default":{"statement":"e30","signature":"AA"}}',
    'snapshot-key.json',
  ],
  'a sealing key of nobody': [
    'sealing-keys.json',
    '{"default":[{"statement":"e30","signature":"AA"}]}',
    'sealing-keys.json',
  ],
};
test.each(Object.entries(FILES))('%s ends with 2, naming file and member', async (_name, [file, content, named]) => {
  await writeFile(join(home.path, 'control', file), content);
  const { code, err } = await start().ended;
  expect(code).toBe(2);
  expect(err).toContain(file);
  expect(err).toContain(named);
  expect(err).not.toContain('    at ');
});

test('a key of another fleet is refused', async () => {
  const stranger = await makeHome();
  try {
    const file = 'control/sealing-keys.json';
    await writeFile(join(home.path, file), await readFile(join(stranger.path, file)));
    const { code, err } = await start().ended;
    expect([code, err.includes('sealing-keys.json')]).toEqual([2, true]);
  } finally {
    await stranger.remove();
  }
});

test('an unreadable home ends with 2', async () => {
  const folder = join(home.path, 'control');
  // A file where the folder should be is unreadable for every user, also for one that may read everything.
  await rm(folder, { recursive: true });
  await writeFile(folder, '');
  const { code, err } = await start().ended;
  expect([code, err.includes(folder)]).toEqual([2, true]);
});

test('the control plane starts with root/ and data/ out of its reach', async () => {
  for (const name of ['root', 'data']) await writeFile(join(home.path, name), 'not a folder');
  await chmod(join(home.path, 'root'), 0);
  const { child, ready, ended } = start();
  await ready();
  child.kill('SIGTERM');
  expect((await ended).code).toBe(0);
});

test('a taken port ends with 1 and names the address', async () => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  const address = other.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const { code, err } = await start({ DAYPASS_CONTROL_LISTEN: `127.0.0.1:${port}` }).ended;
  expect(code).toBe(1);
  expect(err.trim().split('\n').at(-1)).toBe(
    `DAYPASS_CONTROL_LISTEN: cannot listen at 127.0.0.1:${port}: the address is in use`,
  );
  other.close();
});

test('a corrupt database ends with 1, names the file and leaves it as it was', async () => {
  const file = join(home.path, 'control', 'daypass.db');
  const rubbish = 'this is no database '.repeat(500);
  await writeFile(file, rubbish);
  const { code, err } = await start().ended;
  expect([code, err.includes(file), err.includes('    at ')]).toEqual([1, true, false]);
  expect(await readFile(file, 'utf8')).toBe(rubbish);
});
