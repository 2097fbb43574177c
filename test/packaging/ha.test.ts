// Profile `ha` of the compose file and its balancer: bounded, apart, and consistent with each other.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { type ComposeService, readCompose } from './compose.ts';

const compose = await readCompose();
const services = Object.entries(compose.services).filter(([name]) => name.startsWith('ha-'));
const lasting = services.filter(([, { restart }]) => restart !== 'no');
const networksOf = ({ networks = [] }: ComposeService) => (Array.isArray(networks) ? networks : Object.keys(networks));
const named = (prefix: string) => services.filter(([name]) => name.startsWith(prefix)).map(([, service]) => service);
const controlPlanes = named('ha-control-plane-');
const dataPlanes = named('ha-data-plane-');
const balancer = await readFile(join(root, 'deploy', 'haproxy.cfg'), 'utf8');
const hasHaproxy = await promisify(execFile)('haproxy', ['-v']).then(
  () => true,
  () => false,
);

describe('the profile', () => {
  test('has two control planes, three data planes, a database and a balancer, and none of them is there unasked', () => {
    expect([controlPlanes.length, dataPlanes.length]).toEqual([2, 3]);
    expect(Object.keys(compose.services)).toEqual(expect.arrayContaining(['ha-postgres', 'ha-balancer']));
    expect(services.filter(([, { profiles }]) => profiles?.join() !== 'ha')).toEqual([]);
  });

  test('asks for nothing of the fleet of one machine, nor that one for it', () => {
    const strangers = Object.entries(compose.services).flatMap(([name, service]) =>
      [...Object.keys(service.depends_on ?? {}), ...(service.volumes ?? []), ...networksOf(service)]
        .filter((used) => !used.startsWith('./') && used.startsWith('ha-') !== name.startsWith('ha-'))
        .map((used) => `${name}: ${used}`),
    );
    expect(strangers).toEqual([]);
  });

  test.each(lasting)('%s comes back by itself, within bounds', (_name, service) => {
    expect(service).toMatchObject({
      restart: 'unless-stopped',
      mem_limit: expect.stringMatching(/^\d+[mg]$/),
      cpus: expect.any(Number),
      pids_limit: expect.any(Number),
    });
  });

  test('runs images of others at a stated version, and not as root', () => {
    const others = services.flatMap(([name, { image, user }]) => (image === undefined ? [] : [[name, image, user]]));
    expect(others).toEqual([
      ['ha-postgres', expect.stringMatching(/^postgres:\d+\.\d+-[a-z]+$/), '999:999'],
      ['ha-balancer', expect.stringMatching(/^haproxy:\d+\.\d+\.\d+-[a-z]+$/), '99:99'],
    ]);
  });

  test('publishes the ports of the balancer alone', () => {
    const published = services.filter(([, { ports }]) => ports !== undefined);
    expect(published.map(([name, { ports }]) => [name, ports])).toEqual([
      ['ha-balancer', ['127.0.0.1:8480:8480', '127.0.0.1:8470:8470']],
    ]);
  });
});

describe('secrets', () => {
  test('control planes read their part and write none; each data plane has a part of its own', () => {
    for (const { volumes } of controlPlanes) expect(volumes).toEqual(['ha-control:/var/lib/daypass/control:ro']);
    expect(dataPlanes.map(({ volumes }) => volumes)).toEqual(
      [1, 2, 3].map((i) => [`ha-data-${i}:/var/lib/daypass/data`]),
    );
  });

  test('nothing that goes on running has the fleet root or the keys of both planes', () => {
    for (const [name, { volumes = [] }] of lasting) {
      const parts = new Set(volumes.map((volume) => /^ha-(root|control|data)/.exec(volume)?.[1] ?? 'none'));
      expect([name, parts.has('root'), parts.size]).toEqual([name, false, Math.min(parts.size, 1)]);
    }
  });

  test('the database has no password by default, so it does not start by default', () => {
    expect(compose.services['ha-postgres']?.environment?.POSTGRES_PASSWORD).toMatch(/^\$\{[A-Z_]+:-\}$/);
  });
});

describe('the network', () => {
  test('the database is reached by control planes alone, and neither reaches the world', () => {
    const there = services.filter(([, service]) => networksOf(service).includes('ha-database'));
    expect(there.map(([name]) => name)).toEqual(['ha-postgres', 'ha-control-plane-1', 'ha-control-plane-2']);
    const reached = new Set(there.flatMap(([, service]) => networksOf(service)));
    expect([...reached].filter((name) => compose.networks[name]?.internal !== true)).toEqual([]);
  });

  test('the balancer and the data planes name the planes by the names and ports that they have', () => {
    const servers = [...balancer.matchAll(/^ {2}server \S+ ([^:\s]+):(\d+)(?: port (\d+))?$/gm)].map((found) => [
      ...found,
    ]);
    const listens = (name: string, variable: string) => compose.services[name]?.environment?.[variable];
    for (const [, name = '', port, admin] of servers) {
      const variable = admin === undefined ? 'DAYPASS_CONTROL_LISTEN' : 'DAYPASS_DATA_LISTEN';
      expect([name, listens(name, variable)]).toEqual([name, `0.0.0.0:${port}`]);
      if (admin !== undefined) expect(listens(name, 'DAYPASS_DATA_ADMIN_LISTEN')).toBe(`0.0.0.0:${admin}`);
    }
    expect(servers).toHaveLength(controlPlanes.length + dataPlanes.length);
    for (const { environment } of dataPlanes)
      expect(environment?.DAYPASS_CONTROL_URL).toBe('http://ha-control-plane-1:8480,http://ha-control-plane-2:8480');
  });

  test.skipIf(!hasHaproxy)('HAProxy takes the balancer’s configuration', async () => {
    await expect(
      promisify(execFile)('haproxy', ['-c', '-f', join(root, 'deploy', 'haproxy.cfg')]),
    ).resolves.toBeDefined();
  });

  test('the balancer looks into no connection', () => {
    expect(balancer).toMatch(/^ {2}mode tcp$/m);
    expect(balancer).not.toMatch(/^\s*mode http$/m);
  });
});
