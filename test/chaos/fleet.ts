// The fleet of the chaos test: real processes on loopback ports of their own, on fresh keys.
import { cp, mkdir, mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { controlPaths, dataPaths } from '@daypass/core/home';
import { root } from '../check/sources.ts';
import { until } from '../kit/deadline.ts';
import { freePorts, isReady } from '../kit/planes.ts';
import { startPostgres } from '../kit/postgres.ts';
import { launch, run } from '../kit/process.ts';
import { createDatabase } from './database.ts';
import { createMember, type Member } from './member.ts';
import type { Node } from './traffic.ts';

export type ChaosFleet = {
  readonly folder: string;
  readonly adminKey: string;
  readonly controlUrls: readonly string[];
  readonly database: Member;
  readonly controls: readonly Member[];
  readonly nodes: readonly Node[];
  /** Registers a service whose credential is sealed to the pool. */
  registerSealed(name: string, upstream: string, secret: string): Promise<void>;
  /** Ends all processes. The folder stays for whoever wants to look. */
  stop(): Promise<void>;
  remove(): Promise<void>;
};

type Options = {
  readonly controls: number;
  readonly nodes: number;
  readonly broken: (why: string) => void;
};

/** Makes the keys and starts everything. */
export async function startChaosFleet({ controls, nodes, broken }: Options): Promise<ChaosFleet> {
  const folder = await mkdtemp(join(tmpdir(), 'daypass-chaos-'));
  const home = join(folder, 'operator');
  await must(['init'], { DAYPASS_HOME: home });
  const server = await startPostgres();
  const database = createDatabase(server);
  const names = Array.from({ length: nodes }, (_, i) => `node-${i + 1}`);
  const homes = names.map((name) => join(folder, name));
  const common = { DAYPASS_ALLOW_UPSTREAM_RANGES: '127.0.0.1/32', DAYPASS_LEASE: '1m', DAYPASS_LOG_LEVEL: 'warn' };
  const planes: Member[] = [];
  const databaseUrl = await server.database();
  const controlPorts = await Promise.all(Array.from({ length: controls }, async () => (await freePorts()).control));
  const controlUrls = controlPorts.map((port) => `http://127.0.0.1:${port}`);
  const startPlane = (
    name: string,
    plane: string,
    env: Readonly<Record<string, string>>,
    isReadyNow: () => Promise<boolean>,
  ) => {
    const member = createMember({
      name,
      broken,
      launch: () => launch(process.execPath, [join(root, plane, 'main.ts')], { env: { ...common, ...env } }),
      ready: async (running) => {
        await running.line(/^\{"ready":true/);
        await until(`${name} is ready`, isReadyNow, READY_MS);
      },
    });
    planes.push(member);
    return member;
  };
  const members = controlPorts.map((port, i) =>
    startPlane(
      `control-${i + 1}`,
      'control-plane',
      {
        DAYPASS_HOME: home,
        DAYPASS_CONTROL_LISTEN: `127.0.0.1:${port}`,
        DAYPASS_DATABASE_URL: databaseUrl,
        DAYPASS_ISSUER: 'http://chaos.invalid',
      },
      async () => (await fetch(`${controlUrls[i]}/readyz`, { signal: AbortSignal.timeout(2000) })).ok,
    ),
  );
  const dataPlanes = await Promise.all(
    names.map(async (name, i): Promise<Node> => {
      const { data, admin } = await freePorts();
      const [origin, adminOrigin] = [`http://127.0.0.1:${data}`, `http://127.0.0.1:${admin}`];
      const workers = i === nodes - 1 ? 2 : 1;
      const env = {
        DAYPASS_HOME: homes[i] ?? '',
        DAYPASS_DATA_LISTEN: `127.0.0.1:${data}`,
        DAYPASS_DATA_ADMIN_LISTEN: `127.0.0.1:${admin}`,
        DAYPASS_CONTROL_URL: controlUrls.join(','),
        DAYPASS_SERVER_TIMING: '1',
        DAYPASS_WORKERS: String(workers),
      };
      const member = startPlane(name, 'data-plane', env, () => isReady(adminOrigin));
      return { name, origin, adminOrigin, workers, member };
    }),
  );
  const stop = async (): Promise<void> => {
    await Promise.all(planes.map((one) => one.stop()));
    await database.stop();
  };
  try {
    await Promise.all(members.map((one) => one.up()));
    await enrolNodes(home, controlUrls[0] ?? '', names, homes);
    await Promise.all(dataPlanes.map(({ member }) => member.up()));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    ...{ folder, controlUrls, database, controls: members, nodes: dataPlanes, stop },
    adminKey: (await readFile(controlPaths(home).adminKey, 'utf8')).trim(),
    registerSealed: async (name, upstream, secret) => {
      const how = ['--credential', 'bearer', '--secret-stdin'];
      const env = { DAYPASS_HOME: home, DAYPASS_CONTROL_URL: controlUrls[0] ?? '' };
      await must(['service', 'create', name, '--upstream', upstream, ...how], env, secret);
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

const READY_MS = 20_000;
const COMMAND_MS = 60_000;
const command = join(root, 'cli', 'daypass.mjs');

/** The first node has what init made; the others enrol themselves by one-time tokens, and get the pool's keys from the operator. */
async function enrolNodes(
  home: string,
  controlUrl: string,
  names: readonly string[],
  homes: readonly string[],
): Promise<void> {
  const env = { DAYPASS_CONTROL_URL: controlUrl };
  for (const [i, name] of names.entries()) {
    const own = homes[i] ?? '';
    if (i === 0) {
      await mkdir(own, { mode: 0o700 });
      await rename(dataPaths(home).folder, dataPaths(own).folder);
      continue;
    }
    const token = await must(['node', 'token', '--name', name], { ...env, DAYPASS_HOME: home });
    await must(['node', 'enroll', '--token', token], { ...env, DAYPASS_HOME: own });
    await cp(dataPaths(homes[0] ?? '').sealing, dataPaths(own).sealing, { recursive: true });
  }
}

/** Runs the `daypass` command; its stdout without the line end. */
async function must(args: readonly string[], env: Readonly<Record<string, string>>, stdin = ''): Promise<string> {
  const ended = await run(process.execPath, [command, ...args], { env, stdin, withinMs: COMMAND_MS });
  if (ended.code !== 0) throw new Error(`daypass ${args[0]} ended with ${ended.code}: ${ended.stderr}`);
  return ended.stdout.trimEnd();
}
