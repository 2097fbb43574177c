// The scripts by which the deployments enrol their nodes, run as they stand: on a home of their own, against a real control plane.
import { mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { run } from '../kit/process.ts';
import { readCompose } from './compose.ts';
import { readManifests } from './kubernetes.ts';
import { workloadsOf } from './pods.ts';

let fleet: Fleet;
beforeAll(async () => {
  fleet = await startFleet({ start: ['control'] });
});
afterAll(async () => {
  await fleet?.stop();
});

/** Runs a script in the place of its container: the paths that it knows lie in `folder`. */
async function runScript(
  script: string,
  folder: string,
  paths: Readonly<Record<string, string>>,
  env: Record<string, string>,
) {
  const here = Object.entries({ '/var/lib/daypass': folder, ...paths }).reduce(
    (text, [path, place]) => text.replaceAll(path, place),
    script,
  );
  const PATH = `${dirname(process.execPath)}:${process.env.PATH}`;
  const DAYPASS_CONTROL_URL = fleet.controlUrl;
  const { code, stderr } = await run('sh', ['-euc', here], {
    cwd: root,
    env: { PATH, DAYPASS_HOME: folder, DAYPASS_CONTROL_URL, ...env },
    withinMs: 60_000,
  });
  return { code, stderr };
}

const identityOf = async (folder: string) => ({
  ...(JSON.parse(await readFile(join(folder, 'data', 'node.json'), 'utf8')) as { name: string; pool: string }),
  key: await readFile(join(folder, 'data', 'node.jwk'), 'utf8'),
});

test('docker-compose makes a node with the pool’s keys, and leaves it alone at the next start', async () => {
  const service = (await readCompose()).services['ha-enrol-2'];
  expect(service?.entrypoint).toEqual(['sh', '-euc']);
  const script = String(service?.command?.[0]).replaceAll('$$', '$');
  const folder = join(fleet.home, 'compose');
  await mkdir(folder);
  await symlink(join(fleet.home, 'control'), join(folder, 'control'));
  const paths = { '/operator': join(fleet.home, 'data') };
  // An earlier start that was cut off left half of an identity.
  await mkdir(join(folder, 'data'), { mode: 0o700 });
  await writeFile(join(folder, 'data', 'node.jwk'), '{}');

  expect(await runScript(script, folder, paths, { NODE: 'node-2' })).toMatchObject({ code: 0 });
  const made = await identityOf(folder);
  expect(made).toMatchObject({ name: 'node-2', pool: 'default' });
  const keys = (home: string) => readdir(join(home, 'data', 'sealing'));
  expect(await keys(folder)).toEqual(await keys(fleet.home));

  expect(await runScript(script, folder, paths, { NODE: 'node-2' })).toMatchObject({ code: 0 });
  expect(await identityOf(folder)).toEqual(made);
}, 60_000);

test('a pod enrols with the token that is for it, waits while there is none, and leaves its node alone later', async () => {
  const pods = workloadsOf(await readManifests()).map(({ spec }) => spec.template.spec);
  const enrol = pods.flatMap(({ initContainers = [] }) => initContainers).find(({ name }) => name === 'enrol');
  expect(enrol?.command).toEqual(['sh', '-euc']);
  const script = String(enrol?.args?.[0]);
  const folder = join(fleet.home, 'pod');
  const tokens = join(folder, 'tokens');
  await mkdir(tokens, { recursive: true });
  const start = () => runScript(script, folder, { '/enrolment': tokens }, { POD_NAME: 'data-plane-0' });

  expect((await start()).code).not.toBe(0);
  await writeFile(join(tokens, 'data-plane-0'), await fleet.must(['node', 'token', '--name', 'first-edge']));
  expect(await start()).toMatchObject({ code: 0 });
  const made = await identityOf(folder);
  expect(made.name).toBe('first-edge');
  expect(await start()).toMatchObject({ code: 0 });
  expect(await identityOf(folder)).toEqual(made);
}, 60_000);
