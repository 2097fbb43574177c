// Runs both planes and the demo upstream as child processes: in order up, in order down, and all or nothing.

import { controlPaths } from '@daypass/core/home';
import {
  type Child,
  controlPlane,
  dataPlane,
  demoUpstream,
  type Ended,
  endText,
  type Program,
  startChild,
} from './child.ts';
import { openConnection } from './connection.ts';
import { demoCredential } from './demo/credential.ts';
import { DEMO_SERVICE, mintDemoToken, registerDemo } from './demo/register.ts';
import { failureOf, UsageError } from './failure.ts';
import { type Running, welcome, welcomeJson } from './fleet-text.ts';
import type { Io } from './io.ts';
import { checkFree, listenAddress } from './listen.ts';
import { failureText } from './output.ts';
import { waitUntilReady } from './readiness.ts';
import { type GlobalOptions, nonEmpty } from './settings.ts';

/** What to run. */
export type FleetRequest = {
  /** The environment of the planes, flags laid over it. */
  readonly env: Readonly<Record<string, string>>;
  /** The home as the user names it. */
  readonly home: string;
  readonly withDemo: boolean;
  readonly options: GlobalOptions;
};

const SAME_SIGNAL_MS = 500;

/** Runs until a signal (0) or until a child ends by itself (1). The exit code is the result. */
export const runFleet = async (io: Io, request: FleetRequest): Promise<number> => {
  const children: Child[] = [];
  const { promise: asked, resolve: ask } = Promise.withResolvers<'asked'>();
  const stopAll = async () => {
    // The data plane first: it still hands its audit to the control plane.
    for (const child of children.toReversed()) await child.stop();
  };
  const stopping = new AbortController();
  let firstAt: number | undefined;
  const release = io.onStop(() => {
    const now = io.now();
    firstAt ??= now;
    // One Ctrl-C may come twice: from the terminal, and handed on by npm.
    if (now - firstAt > SAME_SIGNAL_MS) for (const child of children) void child.stop();
    stopping.abort();
    ask('asked');
  });
  try {
    const started = start(io, request, children, stopping.signal).then(() => 'started' as const);
    const first = await Promise.race([started, asked]);
    // A start that is interrupted fails for that reason, which is none to show.
    started.catch(() => {});
    if (first === 'started') return await supervise(io, request, children, asked);
    return 0;
  } catch (error) {
    const failure = failureOf(error);
    io.err(failureText(failure, request.options.json === true));
    return failure.exitCode === 2 ? 2 : 1;
  } finally {
    // A start that still goes on starts nothing more.
    stopping.abort();
    await stopAll();
    release();
  }
};

/** Waits for a signal, or for the first child that ends without being asked. */
const supervise = async (
  io: Io,
  { options }: FleetRequest,
  children: readonly Child[],
  asked: Promise<'asked'>,
): Promise<number> => {
  const first: Ended | 'asked' = await Promise.race([asked, ...children.map((child) => child.ended)]);
  if (first === 'asked') return 0;
  const message = `${endText(first)}; stopping the rest`;
  io.err(failureText({ exitCode: 1, code: 'unavailable', message }, options.json === true));
  return 1;
};

const start = async (io: Io, request: FleetRequest, children: Child[], stopping: AbortSignal): Promise<void> => {
  const { options, home, withDemo } = request;
  await checkListens(request);
  const run = async (program: Program, env: Readonly<Record<string, string>>) => {
    stopping.throwIfAborted();
    const child = startChild(program, env, (line) => io.err(`${line}\n`));
    children.push(child);
    return { child, ready: await child.ready };
  };
  const base: Readonly<Record<string, string>> = { DAYPASS_LOG_LEVEL: 'warn', ...request.env };
  if (withDemo) await demoCredential(home);
  const demo = withDemo ? (await run(demoUpstream, base)).ready.listen : undefined;
  const env: Readonly<Record<string, string>> = demo === undefined ? base : { ...base, ...allowDemo(base, demo) };
  const control = (await run(controlPlane, env)).ready.listen ?? '';
  const controlUrl = nonEmpty(env.DAYPASS_CONTROL_URL) ?? control;
  const data = (await run(dataPlane, { ...env, DAYPASS_CONTROL_URL: controlUrl })).ready;
  await waitUntilReady(data.admin ?? '');
  const token =
    demo === undefined ? undefined : await prepareDemo(io, request, { ...env, DAYPASS_CONTROL_URL: controlUrl }, demo);
  const running: Running = {
    ...{ home, control, data: data.listen ?? '', admin: data.admin ?? '' },
    ...{ demo, token, env: request.env, publicUrl: nonEmpty(env.DAYPASS_DATA_PUBLIC_URL) ?? data.listen ?? '' },
  };
  stopping.throwIfAborted();
  io.out(options.json === true ? welcomeJson(running) : welcome(running));
};

/** Registers the demo with the home's own admin key and mints a token; undefined where the name is somebody else's. */
const prepareDemo = async (
  io: Io,
  { options, home }: FleetRequest,
  env: Readonly<Record<string, string>>,
  demo: string,
): Promise<string | undefined> => {
  const apiKeyFile = options.apiKeyFile ?? controlPaths(home).adminKey;
  const connection = await openConnection(
    { home, timeout: '15s', controlUrl: env.DAYPASS_CONTROL_URL ?? '', apiKeyFile },
    { ...io, env },
  );
  if (await registerDemo(connection, demo)) return await mintDemoToken(connection);
  io.note(`the service "${DEMO_SERVICE}" is somebody else's; it is left as it is, and no demo token is minted`);
  return undefined;
};

const LISTENS = [
  ['DAYPASS_CONTROL_LISTEN', '127.0.0.1:8480'],
  ['DAYPASS_DATA_LISTEN', '127.0.0.1:8470'],
  ['DAYPASS_DATA_ADMIN_LISTEN', '127.0.0.1:8471'],
  ['DAYPASS_DEMO_LISTEN', '127.0.0.1:8490'],
] as const;

/** Finds out before anything starts that an address is taken. */
const checkListens = async ({ env, withDemo }: FleetRequest): Promise<void> => {
  for (const [name, otherwise] of LISTENS) {
    if (name === 'DAYPASS_DEMO_LISTEN' && !withDemo) continue;
    const address = listenAddress(nonEmpty(env[name]) ?? otherwise, name);
    if (name === 'DAYPASS_DEMO_LISTEN' && !/^(127\.\d+\.\d+\.\d+|::1)$/.test(address.host))
      throw new UsageError('DAYPASS_DEMO_LISTEN must be a loopback address', name, 'config_invalid');
    await checkFree(address, name);
  }
};

/** Both planes may reach the demo's one address and port besides what the operator allows. */
const allowDemo = (env: Readonly<Record<string, string>>, demo: string): Record<string, string> => {
  const { hostname, port } = new URL(demo);
  const range = hostname.startsWith('[') ? `[${hostname.slice(1, -1)}/128]:${port}` : `${hostname}/32:${port}`;
  const allowed = nonEmpty(env.DAYPASS_ALLOW_UPSTREAM_RANGES);
  return { DAYPASS_ALLOW_UPSTREAM_RANGES: allowed === undefined ? range : `${allowed} ${range}` };
};
