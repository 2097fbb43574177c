// What the images and the compose file hold: the packages of each plane, the files copied, the guards around them.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type LockPackages, locate, readLock } from '../check/lock.ts';
import { root } from '../check/sources.ts';
import { readCompose } from './compose.ts';

/** Every package that `npm ci --omit=dev -w WORKSPACE` installs from a registry, in name order. */
function installedBy(workspace: string, packages: LockPackages): readonly string[] {
  const seen = new Set<string>();
  const visit = (place: string): void => {
    const entry = packages[place];
    if (entry === undefined || seen.has(place)) return;
    seen.add(place);
    if (entry.link === true && entry.resolved !== undefined) visit(entry.resolved);
    for (const name of Object.keys({ ...entry.dependencies, ...entry.optionalDependencies })) {
      visit(locate(place, name, packages) ?? `missing: ${name}`);
    }
  };
  visit(workspace);
  const names = [...seen].filter((place) => place.includes('node_modules/') && packages[place]?.link !== true);
  return names.map((place) => place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length)).sort();
}

const dockerfile = await readFile(join(root, 'Dockerfile'), 'utf8');

/** The instructions of a stage, lines joined. */
function stage(name: string): readonly string[] {
  const joined = dockerfile.replace(/\\\n\s*/g, '');
  const from = joined.split(/^(?=FROM )/m).find((text) => text.split('\n')[0]?.endsWith(` AS ${name}`));
  return (from ?? '').split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

/** What the instructions copy, as `source -> target`. */
const copies = (lines: readonly string[]) =>
  lines.filter((line) => line.startsWith('COPY ')).map((line) => line.slice(5));

describe('the data plane', () => {
  test('installs these packages and no other', async () => {
    expect(installedBy('data-plane', await readLock())).toEqual([
      '@bufbuild/protobuf',
      '@connectrpc/connect',
      '@connectrpc/connect-web',
      'jose',
      're2js',
      'undici',
    ]);
  });

  test('its image copies its own sources, the SDK it reads, and those packages', () => {
    expect(copies(stage('data-plane'))).toEqual([
      '--from=data-plane-packages /app/node_modules node_modules',
      'sdk sdk',
      'data-plane data-plane',
    ]);
    expect(stage('data-plane-packages')[1]).toBe('RUN npm ci --omit=dev --ignore-scripts -w @daypass/data-plane');
  });
});

describe('the control plane', () => {
  test('its image copies no source of the data plane or the command', () => {
    expect(copies(stage('control-plane'))).toEqual([
      '--from=control-plane-packages /app/node_modules node_modules',
      'sdk sdk',
      'control-plane control-plane',
    ]);
  });
});

describe('every image', () => {
  test.each(['data-plane', 'control-plane', 'cli'])('%s runs as nobody in particular', (name) => {
    expect(stage(name)).toContain('USER 1000:1000');
  });

  test.each(['data-plane', 'control-plane'])('%s says whether it is healthy', (name) => {
    expect(stage(name).filter((line) => line.startsWith('HEALTHCHECK '))).toHaveLength(1);
  });

  test('is built on one stated base', () => {
    const bases = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map((match) => match[1]);
    expect(new Set(bases)).toEqual(new Set(['node:26-slim', 'base']));
  });

  test('copies package.json of every workspace, without which npm refuses the lock file', async () => {
    const workspaces = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { workspaces: string[] };
    const copied = copies(stage('base')).map((line) => line.split(' ')[0]);
    expect(copied).toEqual(expect.arrayContaining(workspaces.workspaces.map((path) => `${path}/package.json`)));
  });
});

const compose = await readCompose();
const services = Object.entries(compose.services);

describe('docker-compose.yml', () => {
  test('uses nothing that docker-compose 1.29 does not read', () => {
    const known = new Set(['version', 'services', 'networks', 'volumes']);
    expect(Object.keys(compose).filter((key) => !known.has(key) && !key.startsWith('x-'))).toEqual([]);
    for (const [, service] of services) {
      expect(
        service.env_file === undefined || typeof service.env_file === 'string' || Array.isArray(service.env_file),
      ).toBe(true);
      expect(Object.values(service.depends_on ?? {}).filter((one) => 'required' in one)).toEqual([]);
      expect(service.healthcheck ?? {}).not.toHaveProperty('start_interval');
    }
  });

  test.each(services)('%s has a read-only root, no capabilities and no new privileges', (_name, service) => {
    expect(service).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      tmpfs: expect.arrayContaining(['/tmp']),
    });
  });

  test.each(services)('%s publishes ports on this machine alone', (_name, service) => {
    expect((service.ports ?? []).filter((port) => !port.startsWith('127.0.0.1:'))).toEqual([]);
  });

  test('each plane mounts its own part of the home and nothing else', () => {
    expect(compose.services['control-plane']?.volumes).toEqual(['control:/var/lib/daypass/control']);
    expect(compose.services['data-plane']?.volumes).toEqual(['data:/var/lib/daypass/data']);
    const volumes = Object.keys(compose.volumes).filter((name) => !name.startsWith('ha-'));
    expect(volumes.sort()).toEqual(['control', 'data', 'demo', 'root']);
  });

  test('both planes wait for the keys, and neither for the other', () => {
    const condition = { init: { condition: 'service_completed_successfully' } };
    expect(compose.services['control-plane']?.depends_on).toEqual(condition);
    expect(compose.services['data-plane']?.depends_on).toEqual(condition);
  });

  test('the demo is not there unless asked for, and no range is open unless given', () => {
    expect(compose.services.demo?.profiles).toEqual(['demo']);
    for (const plane of ['control-plane', 'data-plane']) {
      const ranges = compose.services[plane]?.environment?.DAYPASS_ALLOW_UPSTREAM_RANGES;
      expect(ranges).toMatch(/^\$\{DAYPASS_ALLOW_UPSTREAM_RANGES:-\}$/);
    }
  });

  test('names only stages that the Dockerfile has', () => {
    const targets = services.flatMap(([, { build, image }]) => build?.target ?? (image === undefined ? 'none' : []));
    expect(targets.filter((target) => stage(target).length === 0)).toEqual([]);
  });
});
