// The proxies out of the system's packages.
import { generateKeyPairSync } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { until } from '../kit/deadline.ts';
import { freePorts } from '../kit/planes.ts';
import { launch, type Running } from '../kit/process.ts';
import { CLAIMS, here, type Listening, peerSubject, pem, type Setting, sign } from './peer.ts';
import type { Subject } from './subject.ts';

const HAPROXY = '/usr/sbin/haproxy';
const NGINX = '/usr/sbin/nginx';

/** Whether they are installed. */
export const hasHaproxy = existsSync(HAPROXY);
export const hasNginx = existsSync(NGINX);

/** HAProxy with a token's signature, claims and time, a path rule and a log. */
export async function startHaproxyJwt(setting: Setting, alg: 'ES256' | 'RS256'): Promise<Subject> {
  const keys =
    alg === 'ES256'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = join(setting.folder, `${alg}.pem`);
  await writeFile(key, pem(keys));
  const claims = { BENCH_ALG: alg, BENCH_KEY: key, BENCH_ISSUER: CLAIMS.issuer, BENCH_AUDIENCE: CLAIMS.audience };
  const listening = await haproxy(setting, 'jwt', claims);
  const title = `HAProxy jwt_verify ${alg}, rule, log`;
  return peerSubject(`haproxy-${alg.toLowerCase()}`, title, listening, setting, await sign(alg, keys.privateKey));
}

/** HAProxy with the credential put on. */
export async function startHaproxySwap(setting: Setting): Promise<Subject> {
  return peerSubject('haproxy-swap', 'HAProxy header swap, no check', await haproxy(setting, 'swap', {}), setting);
}

/** nginx with the credential put on. */
export async function startNginx(setting: Setting): Promise<Subject> {
  const { data: port } = await freePorts();
  const template = await readFile(join(here, 'nginx.conf'), 'utf8');
  const filled = template
    .replace('UPSTREAM;', `${setting.upstream};`)
    .replace(':PORT;', `:${port};`)
    .replaceAll('FOLDER/', `${setting.folder}/`);
  const file = join(setting.folder, 'nginx.conf');
  await writeFile(file, filled);
  const running = launch(NGINX, ['-p', setting.folder, '-c', file]);
  await listening(setting, running, port);
  return peerSubject('nginx', 'nginx proxy_pass, no check', { port, pid: running.pid }, setting);
}

/** Its log goes to a file, which is emptied between rounds. */
async function haproxy(
  setting: Setting,
  kind: 'jwt' | 'swap',
  more: Readonly<Record<string, string>>,
): Promise<Listening> {
  const { data: port } = await freePorts();
  const log = join(setting.folder, `haproxy-${port}.log`);
  const env = { BENCH_PORT: String(port), BENCH_UPSTREAM: setting.upstream, BENCH_LOG: log, ...more };
  const args = [HAPROXY, '-db', '-f', join(here, `haproxy-${kind}.cfg`)];
  const running = launch('/bin/sh', ['-c', 'exec "$0" "$@" >>"$BENCH_LOG"', ...args], { env });
  await listening(setting, running, port);
  return { port, pid: running.pid, settled: () => truncate(log) };
}

async function listening({ started }: Setting, running: Running, port: number): Promise<void> {
  started.push(running);
  const answers = () =>
    new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
  await until('the proxy listens', answers, 5000).catch((cause: unknown) => {
    throw new Error(`${running.stdout()}${running.stderr()}`, { cause });
  });
}
