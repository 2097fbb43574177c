// `npm start`: no configuration, a token and lines to paste, one Ctrl-C to stop, and a second start that keeps all.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { until } from '../kit/deadline.ts';
import { freePorts } from '../kit/planes.ts';
import { launch, type Running, run } from '../kit/process.ts';

let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-start-'));
  const ports = await freePorts();
  const demo = await freePorts();
  // Only the ports are set, so that the test can run beside a fleet on the usual ones.
  env = {
    DAYPASS_HOME: join(folder, 'home'),
    DAYPASS_CONTROL_LISTEN: `127.0.0.1:${ports.control}`,
    DAYPASS_DATA_LISTEN: `127.0.0.1:${ports.data}`,
    DAYPASS_DATA_ADMIN_LISTEN: `127.0.0.1:${ports.admin}`,
    DAYPASS_DEMO_LISTEN: `127.0.0.1:${demo.control}`,
  };
});

afterAll(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

/** What `npm start` runs. */
async function startCommand(): Promise<readonly string[]> {
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: { start: string } };
  // `exec`: the shell steps aside, so that a Ctrl-C ends npm as it ends the command.
  return scripts.start.replace(/^exec /, '').split(' ');
}

function launchStart([program, script = '', ...args]: readonly string[]): Running {
  if (program !== 'node') throw new Error(`npm start runs ${program}`);
  return launch(process.execPath, [join(root, script), ...args], { env, cwd: root });
}

/** Starts as `npm start` does, and waits until it has printed what to try. */
async function start(): Promise<Running> {
  const running = launchStart(await startCommand());
  await running.line(/Ctrl-C/, 30_000);
  return running;
}

/** The curl lines that were printed, each after the line that sets the token. */
const curls = (printed: string): readonly string[] => {
  const lines = printed.split('\n');
  const token = lines.find((line) => line.startsWith('TOKEN=')) ?? '';
  return lines.filter((line) => line.startsWith('curl ')).map((line) => `${token}\n${line}`);
};

/** Runs a printed line in a shell, as a person who pastes it, with the pinned Node first on the path. */
const paste = (line: string) =>
  run('bash', ['-c', line], {
    cwd: root,
    env: { ...env, PATH: `${join(root, 'node_modules', '.bin')}:${process.env.PATH}` },
  });

test('it starts from nothing, the printed lines do what they say, and a second start keeps keys and data', async () => {
  const first = await start();
  let token: string;
  try {
    const lines = await until('the curl lines', () => curls(first.stdout()).length >= 2 && curls(first.stdout()));
    const answers = [];
    for (const line of lines) answers.push(await paste(line));
    expect(answers.map((answer) => answer.code)).toEqual(lines.map(() => 0));
    expect(answers[0]?.stdout).not.toContain('"code"');
    expect(answers.some((answer) => answer.stdout.includes('scope_refused'))).toBe(true);
    token = /eyJ[\w-]+\.[\w-]+\.[\w-]+/.exec(first.stdout())?.[0] ?? 'none';

    const audit = /npx daypass audit list.*/.exec(first.stdout())?.[0] ?? 'false';
    const listed = await until('both requests are in the audit', async () => {
      const answer = await paste(audit);
      return /refused/i.test(answer.stdout) && /allowed/i.test(answer.stdout) && answer;
    });
    expect(listed.code).toBe(0);
  } finally {
    first.kill('SIGINT');
  }
  const ended = await first.ended;
  expect([ended.code, ended.signal]).toEqual([0, null]);
  const root1 = await readFile(join(folder, 'home', 'root', 'fleet-root.pub.jwk'), 'utf8');

  const second = await start();
  try {
    expect(await readFile(join(folder, 'home', 'root', 'fleet-root.pub.jwk'), 'utf8')).toBe(root1);
    // A token of the first start, and the events of it, are still good.
    const allowed = curls(first.stdout())[0] ?? 'false';
    expect(allowed).toContain(token.slice(0, 20));
    expect((await paste(allowed)).stdout).not.toContain('"code"');
    const audit = /npx daypass audit list.*/.exec(second.stdout())?.[0] ?? 'false';
    expect((await paste(audit)).stdout.match(/refused/gi)?.length).toBeGreaterThanOrEqual(1);
  } finally {
    second.kill('SIGTERM');
  }
  expect((await second.ended).code).toBe(0);
}, 90_000);

test('DAYPASS_DEMO=0 starts the planes without the demo upstream', async () => {
  env = { ...env, DAYPASS_HOME: join(folder, 'plain'), DAYPASS_DEMO: '0' };
  const running = launchStart(await startCommand());
  try {
    await until(
      'the control plane answers',
      async () => (await fetch(`http://${env.DAYPASS_CONTROL_LISTEN}/`)).status > 0,
      30_000,
    );
    await until(
      'the data plane is ready',
      async () => (await fetch(`http://${env.DAYPASS_DATA_ADMIN_LISTEN}/readyz`)).ok,
      30_000,
    );
    await expect(fetch(`http://${env.DAYPASS_DEMO_LISTEN}/`)).rejects.toThrow();
    expect(curls(running.stdout())).toEqual([]);
  } finally {
    running.kill('SIGINT');
  }
  expect((await running.ended).code).toBe(0);
}, 60_000);
