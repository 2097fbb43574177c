// The balancer as it is configured, before real planes: it passes on, and a node that takes no connection costs nothing.
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { until } from '../kit/deadline.ts';
import { mint, register } from '../kit/operator.ts';
import { type Fleet, freePorts, startFleet } from '../kit/planes.ts';
import { launch, type Running } from '../kit/process.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

const hasHaproxy = await promisify(execFile)('haproxy', ['-v']).then(
  () => true,
  () => false,
);

let fleet: Fleet;
let upstream: Upstream;
let haproxy: Running;
let ports: Awaited<ReturnType<typeof freePorts>>;

beforeAll(async () => {
  if (!hasHaproxy) return;
  upstream = await startUpstream((_seen, response) => json(response, 200, { ok: true }));
  fleet = await startFleet();
  ports = await freePorts();
  const file = join(fleet.home, 'haproxy.cfg');
  await writeFile(file, here(await readFile(join(root, 'deploy', 'haproxy.cfg'), 'utf8')));
  haproxy = launch('haproxy', ['-f', file]);
  await until('the balancer passes on', async () => (await fetch(`${controlUrl()}/readyz`)).ok);
});
afterAll(async () => {
  haproxy?.kill('SIGTERM');
  await haproxy?.ended;
  await fleet?.stop();
  await upstream?.close();
});

const controlUrl = () => `http://127.0.0.1:${ports.control}`;
const dataUrl = () => `http://127.0.0.1:${ports.data}`;

/** On this machine: the first plane of each kind is real, nobody listens for the others; addresses need not be looked up. */
function here(config: string): string {
  const at = (url: string) => url.replace('http://', '');
  return config
    .replace('bind :8470', `bind 127.0.0.1:${ports.data}`)
    .replace('bind :8480', `bind 127.0.0.1:${ports.control}`)
    .replace('ha-data-plane-1:8470 port 8471', `${at(fleet.dataUrl)} port ${at(fleet.adminUrl).split(':')[1]}`)
    .replace('ha-control-plane-1:8480', at(fleet.controlUrl))
    .replace(/ha-(data|control)-plane-\d:84\d0/g, `127.0.0.1:${ports.admin}`)
    .replace(/^resolvers names\n(?: .*\n)+/m, '')
    .replace(' resolvers names init-addr libc,none', '');
}

test.skipIf(!hasHaproxy)(
  'both planes are reached through it, and no request fails for planes that are away',
  async () => {
    await register(fleet, 'orders', upstream.origin, 'real-credential');
    const token = await mint(fleet, 'orders', ['GET /a'], ['--control-url', controlUrl()]);
    const ask = async () => {
      const answer = await fetch(`${dataUrl()}/s/orders/a`, {
        headers: { authorization: `Bearer ${token}`, connection: 'close' },
      });
      await answer.arrayBuffer();
      return answer.status;
    };
    const answers = await Promise.all(Array.from({ length: 30 }, ask));
    expect(new Set(answers)).toEqual(new Set([200]));
  },
);

test.skipIf(!hasHaproxy)(
  'a plane that says that it is not ready is left within seconds, and taken again when it is',
  async () => {
    const isPassed = () =>
      fetch(`${dataUrl()}/s/orders/a`)
        .then((answer) => answer.arrayBuffer())
        .then(
          () => true,
          () => false,
        );
    await fleet.data.stop();
    await until('nobody is left', async () => !(await isPassed()));
    await fleet.data.start();
    await until('it is back', isPassed);
    expect(await isPassed()).toBe(true);
  },
);
