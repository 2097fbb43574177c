// The processes of a fleet under measurement: a control plane, and data planes, several to a process.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dataPaths } from '@daypass/core/home';
import type { Home } from '../control-plane/fixture.ts';
import { launch, type Running } from '../kit/process.ts';
import type { Holding } from './fleet-entries.ts';
import { here } from './peer.ts';
import type { Props } from './props.ts';

/** Boots may have to wait for each other. */
const START_MS = 300_000;

/** A process with data planes, and their ports. */
export type NodeProcess = { readonly pid: number; readonly ports: readonly number[] };

/** Data planes: their control plane, workers of each, where they say what they activate, the number of the first, homes. */
export type Planes = {
  readonly controlUrl: string;
  readonly workers: number;
  readonly port: number;
  readonly first: number;
  readonly homes: readonly string[];
};

/** Starts a process with a data plane for each home; resolves when each has a snapshot. */
export async function startNodes(
  { started }: Pick<Props, 'started'>,
  { controlUrl, workers, port, first, homes }: Planes,
): Promise<NodeProcess> {
  const args = [controlUrl, workers, port, first, ...homes].map(String);
  const running = launch(process.execPath, [join(here, 'fleet-nodes.ts'), ...args]);
  started.push(running);
  const { ports } = await said<{ readonly ports: readonly number[] }>(running, /^\{"ready":true/);
  return { pid: running.pid, ports };
}

/** Starts a control plane over a home. */
export async function startControl(
  { started }: Pick<Props, 'started'>,
  home: Home,
  { services, tokens, revoked }: Holding,
): Promise<{ readonly url: string; readonly pid: number }> {
  const args = [home.path, services, tokens, revoked].map(String);
  const running = launch(process.execPath, [join(here, 'control-server.ts'), ...args]);
  started.push(running);
  const { url } = await said<{ readonly url: string }>(running, /^\{"url"/);
  return { url, pid: running.pid };
}

async function said<T>(running: Running, pattern: RegExp): Promise<T> {
  try {
    return JSON.parse(await running.line(pattern, START_MS)) as T;
  } catch (cause) {
    throw new Error(`a process did not start: ${running.stderr()}`, { cause });
  }
}

/** Makes the home of a node that the control plane's home has enrolled. */
export async function makeNodeHome(folder: string, { fleet, root, nodeKeys }: Home, name: string): Promise<string> {
  const home = join(folder, name);
  const paths = dataPaths(home);
  await mkdir(paths.sealing, { recursive: true, mode: 0o700 });
  const write = (path: string, content: unknown) => writeFile(path, JSON.stringify(content), { mode: 0o600 });
  await write(paths.fleet, { v: 1, fleet, root: root.publicJwk });
  await write(paths.node, { v: 1, name, pool: 'default' });
  await write(paths.nodeKey, nodeKeys.get(name)?.privateJwk);
  return home;
}
