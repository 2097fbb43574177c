// A whole fleet as its operator runs it: real processes, a fresh home made by `daypass init`, ports of its own.
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../check/sources.ts';
import { until } from './deadline.ts';
import { type Ended, type Launch, launch, type Running, run } from './process.ts';

/** The three ports that a fleet listens on. */
export type Ports = { readonly control: number; readonly data: number; readonly admin: number };

/** One plane, which can be stopped, killed and started again on the same port. */
export type Plane = {
  readonly pid: () => number;
  start(): Promise<void>;
  /** SIGTERM; its exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL, and waits for the end. */
  kill9(): Promise<void>;
  /** Everything that it wrote since the first start. */
  logs(): string;
};

/** A running fleet. */
export type Fleet = {
  readonly home: string;
  readonly env: Readonly<Record<string, string>>;
  readonly controlUrl: string;
  readonly dataUrl: string;
  readonly adminUrl: string;
  readonly adminKey: string;
  readonly control: Plane;
  readonly data: Plane;
  /** Runs the `daypass` command against this fleet. */
  cli(args: readonly string[], options?: Launch): Promise<Ended>;
  /** The same, which must succeed; its stdout without the line end. */
  must(args: readonly string[], options?: Launch): Promise<string>;
  /** One unary RPC in Connect's JSON form. */
  rpc(method: string, message?: unknown, headers?: Readonly<Record<string, string>>): Promise<RpcAnswer>;
  /** Stops both planes and removes the home. */
  stop(): Promise<void>;
};

export type RpcAnswer = { readonly status: number; readonly body: Record<string, unknown> };

export type FleetOptions = {
  /** Settings for both planes and the command. */
  readonly env?: Readonly<Record<string, string>>;
  readonly start?: readonly ('control' | 'data')[];
};

const command = join(root, 'cli', 'daypass.mjs');

/** Makes a home and starts a fleet on it. */
export async function startFleet(options: FleetOptions = {}): Promise<Fleet> {
  const home = await mkdtemp(join(tmpdir(), 'daypass-fleet-'));
  const ports = await freePorts();
  const secure = options.env?.DAYPASS_CONTROL_TLS_CERT === undefined ? 'http' : 'https';
  const controlUrl = `${secure}://127.0.0.1:${ports.control}`;
  const dataUrl = `${secure}://127.0.0.1:${ports.data}`;
  const adminUrl = `http://127.0.0.1:${ports.admin}`;
  const env = {
    DAYPASS_HOME: home,
    DAYPASS_CONTROL_LISTEN: `127.0.0.1:${ports.control}`,
    DAYPASS_DATA_LISTEN: `127.0.0.1:${ports.data}`,
    DAYPASS_DATA_ADMIN_LISTEN: `127.0.0.1:${ports.admin}`,
    DAYPASS_CONTROL_URL: controlUrl,
    DAYPASS_DATA_URL: dataUrl,
    DAYPASS_ALLOW_UPSTREAM_RANGES: '127.0.0.1/32',
    DAYPASS_LOG_LEVEL: 'debug',
    ...options.env,
  };
  const cli = (args: readonly string[], launchOptions: Launch = {}) =>
    run(process.execPath, [command, ...args], { ...launchOptions, env: { ...env, ...launchOptions.env } });
  const must = async (args: readonly string[], launchOptions: Launch = {}) => {
    const end = await cli(args, launchOptions);
    if (end.code !== 0) throw new Error(`daypass ${args.join(' ')} ended with ${end.code}: ${end.stdout}${end.stderr}`);
    return end.stdout.trimEnd();
  };
  await must(['init']);
  const adminKey = (await readFile(join(home, 'control', 'admin.key'), 'utf8')).trim();
  const control = plane('control-plane', env);
  const data = plane('data-plane', env);
  const wanted = options.start ?? ['control', 'data'];
  const stop = async () => {
    await Promise.all([control.stop(), data.stop()]);
    await chmod(home, 0o700);
    await rm(home, { recursive: true, force: true });
  };
  try {
    if (wanted.includes('control')) await control.start();
    if (wanted.includes('data')) await data.start();
    if (wanted.length === 2) await until('the data plane has a snapshot', () => isReady(adminUrl));
  } catch (error) {
    await stop();
    throw error;
  }
  const rpc = (method: string, message: unknown = {}, headers: Readonly<Record<string, string>> = {}) =>
    call(controlUrl, method, message, { authorization: `Bearer ${adminKey}`, ...headers });
  return { home, env, controlUrl, dataUrl, adminUrl, adminKey, control, data, cli, must, rpc, stop };
}

/** Whether a data plane has an unexpired snapshot. */
export async function isReady(adminUrl: string): Promise<boolean> {
  const answer = await fetch(`${adminUrl}/readyz`, { signal: AbortSignal.timeout(2000) });
  await answer.arrayBuffer();
  return answer.ok;
}

/** One unary RPC in Connect's JSON form, `TokenService/Mint` for a method. */
export async function call(
  controlUrl: string,
  method: string,
  message: unknown,
  headers: Readonly<Record<string, string>>,
): Promise<RpcAnswer> {
  const answer = await fetch(`${controlUrl}/daypass.v1.${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(message),
    signal: AbortSignal.timeout(15_000),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
}

/** Ports that nothing listens on, below those the kernel gives to outgoing connections. */
export async function freePorts(): Promise<Ports> {
  const held = await Promise.all([holdPort(), holdPort(), holdPort()]);
  await Promise.all(held.map((one) => one.release()));
  const [control = 0, data = 0, admin = 0] = held.map((one) => one.port);
  return { control, data, admin };
}

async function holdPort(): Promise<{ readonly port: number; release(): Promise<void> }> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 20_000);
    const server = createServer();
    const taken = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(true));
      server.listen(port, '127.0.0.1', () => resolve(false));
    });
    if (!taken) return { port, release: () => new Promise((resolve) => server.close(() => resolve())) };
  }
}

/** A plane as a process: `control-plane` or `data-plane`. */
function plane(folder: string, env: Readonly<Record<string, string>>): Plane {
  let running: Running | undefined;
  let earlier = '';
  const over = async (signal: NodeJS.Signals) => {
    const current = running;
    if (current === undefined) return null;
    running = undefined;
    current.kill(signal);
    const end = await current.ended;
    earlier += end.stdout + end.stderr;
    return end.code;
  };
  return {
    pid: () => running?.pid ?? -1,
    start: async () => {
      const started = launch(process.execPath, [join(root, folder, 'main.ts')], { env });
      running = started;
      await started.line(/^\{"ready":true/);
    },
    stop: () => over('SIGTERM'),
    kill9: async () => void (await over('SIGKILL')),
    logs: () => earlier + (running === undefined ? '' : running.stdout() + running.stderr()),
  };
}
