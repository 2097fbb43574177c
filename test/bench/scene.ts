// Daypass, the bare pass-through and HAProxy's header swap, as the benches of bodies, connections and events want them.

import { join } from 'node:path';
import { mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { run } from '../kit/process.ts';
import { spread } from './cpu.ts';
import { farEnds, type Setting } from './peer.ts';
import { startBare } from './peers.ts';
import { withProps } from './props.ts';
import { PREFIX, type Subject } from './subject.ts';
import { hasHaproxy, startHaproxySwap } from './system-peers.ts';

/** A proxy; a path of the upstream goes behind its `url`. */
export type BenchProxy = {
  readonly variant: string;
  readonly url: string;
  readonly token: string;
  readonly pid: number;
};

/** What was started. */
export type Scene = {
  /** Where to `ask`. */
  readonly control: number;
  /** The upstream without a proxy. */
  readonly direct: BenchProxy;
  readonly proxies: readonly BenchProxy[];
  readonly pinned: boolean;
  end(): Promise<void>;
};

/** The variants that can be asked for. */
export const VARIANTS = ['daypass', 'bare', 'haproxy-swap', 'daypass-tls', 'bare-tls'];

const RULES = ['GET /repos/acme/{repo}/issues/{n}', 'GET /bulk/{n}', 'POST /bulk/{n}', 'GET /events/{n}'];

/** Starts the variants that are named, but HAProxy where it is not installed; `env` is for Daypass. */
export const setScene = (wanted: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Scene> =>
  withProps(async ({ folder, started, fleets, end }) => {
    const { port, control, pid } = await farEnds(started);
    const setting: Setting = { upstream: `127.0.0.1:${port}`, folder, started };
    const proxies: BenchProxy[] = [];
    for (const name of wanted)
      if (name.startsWith('daypass')) proxies.push(await startDaypass(name, setting, fleets, env));
      else if (name.startsWith('bare')) proxies.push(await startBareProxy(name, setting));
      else if (name === 'haproxy-swap' && hasHaproxy) proxies.push(proxyOf(await startHaproxySwap(setting), name));
      else if (!VARIANTS.includes(name)) throw new Error(`--only: there are ${VARIANTS.join(', ')}`);
    const others = [process.pid, pid, ...fleets.map((fleet) => fleet.control.pid())];
    const pids = proxies.map((proxy) => proxy.pid);
    const pinned = await spread(pids, others);
    const direct = { variant: 'direct', url: `http://127.0.0.1:${port}`, token: 'unchecked', pid };
    return { control, direct, proxies, pinned, end };
  });

async function startDaypass(
  variant: string,
  { upstream, folder }: Setting,
  fleets: Fleet[],
  env: Readonly<Record<string, string>>,
): Promise<BenchProxy> {
  const files = isTls(variant) ? await certificate(folder) : undefined;
  const tls = files === undefined ? {} : { DAYPASS_DATA_TLS_CERT: files[0], DAYPASS_DATA_TLS_KEY: files[1] };
  const fleet = await startFleet({ env: { DAYPASS_LOG_LEVEL: 'warn', DAYPASS_WORKERS: '1', ...env, ...tls } });
  fleets.push(fleet);
  await register(fleet, 'bench', `http://${upstream}`, 'real-credential');
  const token = await mint(fleet, 'bench', RULES, ['--ttl', '2h']);
  const url = `${files === undefined ? 'http' : 'https'}://${new URL(fleet.dataUrl).host}${PREFIX}`;
  return { variant, url, token, pid: fleet.data.pid() };
}

async function startBareProxy(variant: string, setting: Setting): Promise<BenchProxy> {
  const files = isTls(variant) ? await certificate(setting.folder) : [];
  return proxyOf(await startBare(setting, ...files), variant);
}

function proxyOf({ url, pid }: Subject, variant: string): BenchProxy {
  const { host } = new URL(url);
  return { variant, url: `${isTls(variant) ? 'https' : 'http'}://${host}${PREFIX}`, token: 'unchecked', pid };
}

const isTls = (variant: string): boolean => variant.endsWith('-tls');

async function certificate(folder: string): Promise<readonly [string, string]> {
  const files = [join(folder, 'cert.pem'), join(folder, 'key.pem')] as const;
  const made = await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', '/CN=bench', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', files[1], '-out', files[0]],
  ]);
  if (made.code !== 0) throw new Error(made.stderr);
  return files;
}
