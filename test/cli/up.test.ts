// `daypass up` as a process: all or nothing, up and down.
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { until } from '../kit/deadline.ts';
import { freePorts } from '../kit/planes.ts';
import { launch, type Running, run } from '../kit/process.ts';
import { jsonLines } from './fake-io.ts';
import { listenLocal } from './listen-local.ts';

let folder: string;
let env: Readonly<Record<string, string>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-up-'));
  const [ports, demo] = [await freePorts(), await freePorts()];
  env = {
    DAYPASS_HOME: join(folder, 'home'),
    DAYPASS_CONTROL_LISTEN: `127.0.0.1:${ports.control}`,
    DAYPASS_DATA_LISTEN: `127.0.0.1:${ports.data}`,
    DAYPASS_DATA_ADMIN_LISTEN: `127.0.0.1:${ports.admin}`,
    DAYPASS_DEMO_LISTEN: `127.0.0.1:${demo.control}`,
  };
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

const command = join(root, 'cli', 'daypass.mjs');
const args = (...more: readonly string[]) => [command, 'up', '--json', ...more];

type Started = { readonly running: Running; readonly said: Record<string, unknown> };

const up = async (...more: readonly string[]): Promise<Started> => {
  const running = launch(process.execPath, args(...more), { env });
  return { running, said: JSON.parse(await running.line(/"ready":true/, 30_000)) as Record<string, unknown> };
};

/** Processes whose parent is the given one, by their program. */
const childrenOf = async (pid: number): Promise<ReadonlyMap<string, number>> => {
  const children = new Map<string, number>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const status = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
    if (
      Number(
        status
          .slice(status.lastIndexOf(')') + 1)
          .trim()
          .split(' ')[1],
      ) !== pid
    )
      continue;
    const line = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    children.set(
      line
        .split('\0')
        .find((part) => /(main|demo-upstream)\.ts$/.test(part))
        ?.slice(root.length + 1) ?? '',
      Number(name),
    );
  }
  return children;
};

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test('with --json it says once what runs where; the demo credential is for its owner alone', async () => {
  const { running, said } = await up();
  try {
    expect(said).toMatchObject({
      control: `http://${env.DAYPASS_CONTROL_LISTEN}`,
      data: `http://${env.DAYPASS_DATA_LISTEN}`,
      admin: `http://${env.DAYPASS_DATA_ADMIN_LISTEN}`,
      demo: `http://${env.DAYPASS_DEMO_LISTEN}`,
      token: expect.stringMatching(/^eyJ/),
    });
    const file = join(folder, 'home', 'demo', 'credential');
    expect(((await stat(file)).mode & 0o777).toString(8)).toBe('600');
    const secret = (await readFile(file, 'utf8')).trim();
    const authorization = `Bearer ${said.token}`;
    const answer = await fetch(`${said.data}/s/demo/repos/acme/site/issues?per_page=1`, { headers: { authorization } });
    expect([answer.status, (await answer.text()).includes(secret)]).toEqual([200, false]);
    expect(answer.headers.get('link')).toContain(`${said.data}/s/demo/repos/acme/site/issues?per_page=1&page=2`);
    expect(running.stdout() + running.stderr()).not.toContain(secret);
  } finally {
    running.kill('SIGTERM');
  }
  expect(await running.ended).toMatchObject({ code: 0, stderr: '' });
}, 60_000);

test('a demo that moves to another port is registered and sealed again', async () => {
  const { data } = await freePorts();
  const { running, said } = await up('--demo-listen', `127.0.0.1:${data}`);
  try {
    const headers = { authorization: `Bearer ${said.token}` };
    expect((await fetch(`${said.data}/s/demo/repos/acme/site/issues`, { headers })).status).toBe(200);
  } finally {
    running.kill('SIGINT');
  }
  expect((await running.ended).code).toBe(0);
}, 60_000);

test('when a plane dies it says which and how, stops the rest and ends with 1', async () => {
  const { running } = await up();
  const children = await childrenOf(running.pid);
  expect([...children.keys()].sort()).toEqual(['cli/demo-upstream.ts', 'control-plane/main.ts', 'data-plane/main.ts']);
  process.kill(children.get('data-plane/main.ts') ?? 0, 'SIGKILL');
  const { code, stderr } = await running.ended;
  expect(code).toBe(1);
  expect(jsonLines(stderr).at(-1)).toMatchObject({ error: { code: 'unavailable' } });
  expect(stderr).toContain('the data plane ended by SIGKILL');
  for (const pid of children.values()) expect(isAlive(pid)).toBe(false);
}, 60_000);

test('when it is killed itself, its children stop', async () => {
  const { running } = await up();
  const children = await childrenOf(running.pid);
  process.kill(running.pid, 'SIGKILL');
  await running.ended;
  await until('every child is gone', () => [...children.values()].every((pid) => !isAlive(pid)));
  expect(children.size).toBe(3);
}, 60_000);

test.each([
  'DAYPASS_CONTROL_LISTEN',
  'DAYPASS_DATA_LISTEN',
  'DAYPASS_DATA_ADMIN_LISTEN',
  'DAYPASS_DEMO_LISTEN',
])('a taken port is one line that names %s, and nothing is started', async (name) => {
  const other = createServer();
  const port = new URL(await listenLocal(other)).port;
  const listen = { [name]: `127.0.0.1:${port}` };
  const { code, stdout, stderr } = await run(process.execPath, args(), { env: { ...env, ...listen } });
  other.close();
  expect([code, stdout]).toEqual([1, '']);
  const [line, ...others] = jsonLines(stderr);
  expect([line, others]).toMatchObject([{ error: { field: name } }, []]);
});

test.each([
  ['DAYPASS_CONTROL_LISTEN', 'nowhere'],
  ['DAYPASS_DEMO_LISTEN', '0.0.0.0:1'],
  ['DAYPASS_LEASE', 'soon'],
  ['DAYPASS_AUDIT_SPOOL_BYTES', 'many'],
])('%s=%s ends with 2 and names the variable', async (name, value) => {
  const { code, stderr } = await run(process.execPath, args(), { env: { ...env, [name]: value } });
  expect(code).toBe(2);
  expect(stderr).toContain(name);
});

test.each([
  'control-plane',
  'data-plane',
])('daypass %s runs the plane alone, until it is told to stop', async (name) => {
  const running = launch(process.execPath, [command, name], { env });
  await running.line(/^\{"ready":true/, 30_000);
  running.kill('SIGTERM');
  expect(await running.ended).toMatchObject({ code: 0, signal: null });
}, 60_000);

test('a plane that is misconfigured gives the command its exit code', async () => {
  const { code, stderr } = await run(process.execPath, [command, 'data-plane', '--data-listen', 'nowhere'], { env });
  expect(code).toBe(2);
  expect(stderr).toContain('DAYPASS_DATA_LISTEN');
});
