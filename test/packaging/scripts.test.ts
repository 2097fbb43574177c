// The scripts of the deployments, run as they stand: those that enrol nodes, and the one that puts the control plane's home together.
import { cp, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { generateSigningKey } from '@daypass/core/key';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readControlHome } from '../../control-plane/home.ts';
import { createLog } from '../../control-plane/log.ts';
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
  const script = await podScript('enrol');
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

test('a control plane’s pod puts its home together from secrets, with keys that came later and without', async () => {
  const script = await podScript('home');
  const folder = join(fleet.home, 'control-pod');
  const secrets = join(folder, 'secrets');
  const control = join(folder, 'control');
  for (const path of [control, join(secrets, 'home'), join(secrets, 'token-keys'), join(secrets, 'snapshot-keys')])
    await mkdir(path, { recursive: true, mode: 0o700 });
  const files = (await readdir(join(fleet.home, 'control'))).filter((name) => /\.(json|jwk)$/.test(name));
  for (const name of files) await cp(join(fleet.home, 'control', name), join(secrets, 'home', name));
  const start = () => runScript(script, folder, { '/secrets': secrets }, {});

  expect(await start()).toMatchObject({ code: 0 });
  const before = await readControlHome(folder, silent);
  expect(before.tokenKeys).toHaveLength(1);

  const { kid, privateJwk } = await generateSigningKey();
  // As Kubernetes has it: a link to a folder that is replaced as a whole.
  await mkdir(join(secrets, 'token-keys', '..data'));
  await writeFile(join(secrets, 'token-keys', '..data', `${kid}.jwk`), JSON.stringify(privateJwk));
  await symlink(join('..data', `${kid}.jwk`), join(secrets, 'token-keys', `${kid}.jwk`));
  expect(await start()).toMatchObject({ code: 0 });
  expect((await readControlHome(folder, silent)).tokenKeys.map((key) => key.kid)).toContain(kid);
}, 60_000);

const silent = createLog('error', () => undefined);

async function podScript(container: string): Promise<string> {
  const pods = workloadsOf(await readManifests()).map(({ spec }) => spec.template.spec);
  const found = pods.flatMap(({ initContainers = [] }) => initContainers).find(({ name }) => name === container);
  expect(found?.command).toEqual(['sh', '-euc']);
  return String(found?.args?.[0]);
}
