// The data plane as a process: what it says, how it ends, and how it refuses to start.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { within } from '../kit/deadline.ts';
import { environment, launch, run } from '../kit/process.ts';
import { freshFolder } from './audit/records.ts';
import { freshHome } from './fresh-home.ts';

const main = join(import.meta.dirname, '../../data-plane/main.ts');

const settings = (home: string): Record<string, string> => ({
  DAYPASS_HOME: home,
  DAYPASS_DATA_LISTEN: '127.0.0.1:0',
  DAYPASS_DATA_ADMIN_LISTEN: '127.0.0.1:0',
  // Nobody is there.
  DAYPASS_CONTROL_URL: 'http://127.0.0.1:9',
});

async function start(home: string, nodeArgs: readonly string[] = []) {
  const running = launch(process.execPath, [...nodeArgs, main], { env: settings(home) });
  onTestFinished(() => running.kill('SIGKILL'));
  const ready = JSON.parse(await running.line(/"ready":true/));
  return { running, ready };
}

test('it says where it listens, is alive but not ready without a snapshot, and ends with 0 on SIGTERM', async () => {
  const { running, ready } = await start(freshHome());
  expect(ready).toEqual({
    ready: true,
    plane: 'data',
    listen: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    admin: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    workers: expect.any(Number),
  });
  expect(await (await fetch(`${ready.admin}/healthz`)).text()).toBe('OK');
  expect(await (await fetch(`${ready.admin}/readyz`)).json()).toMatchObject({
    ready: false,
    reason: 'snapshot_missing',
  });
  const refused = await fetch(`${ready.listen}/repos`);
  expect(refused.status).toBe(503);
  expect(await refused.json()).toMatchObject({ code: 'snapshot_missing' });
  running.kill('SIGTERM');
  const { code, stdout, stderr } = await within('it ends', running.ended);
  expect(code).toBe(0);
  expect(stdout.trim().split('\n')).toHaveLength(1);
  for (const line of stderr.trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('level');
});

test('it starts with arguments of Node that are for a whole process', async () => {
  const { running, ready } = await start(freshHome(), ['--max-old-space-size=512', '--title=daypass']);
  expect((await fetch(`${ready.listen}/repos`)).status).toBe(503);
  running.kill('SIGTERM');
  expect((await within('it ends', running.ended)).code).toBe(0);
});

test('a parent that forked it is told', async () => {
  const child = fork(main, { env: environment(settings(freshHome())), execPath: process.execPath, silent: true });
  onTestFinished(() => void child.kill('SIGKILL'));
  const [message] = await within('it tells', once(child, 'message'));
  expect(message).toMatchObject({ ready: true, plane: 'data' });
  child.kill('SIGINT');
  expect(await within('it ends', once(child, 'exit'))).toEqual([0, null]);
});

test('every wrong setting is a line on stderr, and the exit code is 2', async () => {
  const env = { ...settings(freshHome()), DAYPASS_DATA_LISTEN: 'nowhere', DAYPASS_LOG_LEVEL: 'loud' };
  const { code, stdout, stderr } = await run(process.execPath, [main], { env });
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr.trim().split('\n')).toEqual([
    expect.stringContaining('DAYPASS_DATA_LISTEN: '),
    expect.stringContaining('DAYPASS_LOG_LEVEL: '),
  ]);
});

test.each<[string, string, (home: string) => void]>([
  ['that is not there', 'fleet.json', (home) => rmSync(join(home, 'data'), { recursive: true })],
  ['without its key', 'node.jwk', (home) => rmSync(join(home, 'data/node.jwk'))],
  ['with a broken floor', 'floor.json', (home) => spoil(home, 'snapshot', 'floor.json')],
  ['with a broken position', 'position.json', (home) => spoil(home, 'spool', 'position.json')],
])('a home %s is one error that names %s, with exit code 2', async (_name, file, change) => {
  const home = freshHome();
  change(home);
  const { code, stderr } = await run(process.execPath, [main], { env: settings(home) });
  expect(code).toBe(2);
  const lines = stderr
    .trim()
    .split('\n')
    .filter((line) => !line.startsWith('{'));
  expect(lines.some((line) => line.includes(file))).toBe(true);
});

function spoil(home: string, folder: string, name: string): void {
  mkdirSync(join(home, 'data', folder));
  writeFileSync(join(home, 'data', folder, name), '{');
}

test('a certificate that is none is named, with exit code 2', async () => {
  const home = freshHome();
  const path = join(freshFolder(), 'tls.pem');
  writeFileSync(path, 'not a certificate');
  const env = { ...settings(home), DAYPASS_DATA_TLS_CERT: path, DAYPASS_DATA_TLS_KEY: path };
  const { code, stderr } = await run(process.execPath, [main], { env });
  expect([code, stderr]).toEqual([2, expect.stringContaining('DAYPASS_DATA_TLS_CERT: ')]);
});

test('a port that is taken is one error, with exit code 1', async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void other.close());
  const address = other.address();
  const port = typeof address === 'object' ? address?.port : undefined;
  const env = { ...settings(freshHome()), DAYPASS_DATA_LISTEN: `127.0.0.1:${port}` };
  const { code, stderr } = await run(process.execPath, [main], { env });
  const said = stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
  expect([code, said]).toEqual([1, [`Port ${port} on 127.0.0.1 is taken`]]);
});

test('a second one on the same home is refused, and the first one goes on', async () => {
  const home = freshHome();
  const { ready } = await start(home);
  const { code, stderr } = await run(process.execPath, [main], { env: settings(home) });
  expect([code, stderr]).toEqual([2, expect.stringContaining('in use')]);
  expect((await fetch(`${ready.admin}/healthz`)).status).toBe(200);
});

test('after kill -9 the same home starts again', async () => {
  const home = freshHome();
  const { running } = await start(home);
  running.kill('SIGKILL');
  await running.ended;
  const again = await start(home);
  expect(again.ready).toMatchObject({ ready: true });
});
