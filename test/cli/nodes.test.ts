// `daypass node` and `daypass nodes`: a data plane is invited, enrols, serves, and is put out again.
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { isEnrolmentToken } from '@daypass/core/enrolment';
import { dataPaths } from '@daypass/core/home';
import { fingerprint, generateSigningKey, type PublicJwk } from '@daypass/core/key';
import { NodeService } from '@daypass/sdk/gen/daypass/v1/node_pb';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { until } from '../kit/deadline.ts';
import { type Fleet, freePorts, isReady, startFleet } from '../kit/planes.ts';
import { launch } from '../kit/process.ts';
import { daypass, jsonLines, type Result } from './fake-io.ts';
import { listenLocal } from './listen-local.ts';

let fleet: Fleet;
let folder: string;
let home: string;

beforeAll(async () => {
  fleet = await startFleet({ start: ['control'] });
});
afterAll(async () => {
  await fleet?.stop();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-node-'));
  home = join(folder, 'home');
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const cli = (args: readonly string[], stdin = '', env: Readonly<Record<string, string>> = {}): Promise<Result> =>
  daypass(args, { stdin, env: { ...fleet.env, ...env } });

const must = async (args: readonly string[], stdin = ''): Promise<string> => {
  const { code, out, err } = await cli(args, stdin);
  expect([code, args, err]).toEqual([0, args, expect.any(String)]);
  return out;
};

const tokenFor = async (...args: readonly string[]): Promise<string> => (await must(['node', 'token', ...args])).trim();

const enroll = (token: string, ...args: readonly string[]): Promise<Result> =>
  cli(['node', 'enroll', '--token', '-', '--home', home, ...args], token);

const filesIn = async (): Promise<readonly string[]> => {
  const entries = await readdir(home, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(home.length + 1));
};

const rootOf = async (): Promise<PublicJwk> =>
  (JSON.parse(await readFile(join(fleet.home, 'control', 'fleet.json'), 'utf8')) as { root: PublicJwk }).root;

const codeOf = ({ err }: Result): unknown => (jsonLines(err).at(-1)?.error as { code?: string } | undefined)?.code;

test('a data plane that is invited enrols, serves under its own name, is listed, and is expelled', async () => {
  const { code, out, err } = await cli(['node', 'token', '--name', 'edge-1', '--ttl', '5m']);
  expect([code, isEnrolmentToken(out.trim())]).toEqual([0, true]);
  expect(err).toContain(`daypass node enroll --control-url ${fleet.controlUrl} --token -`);
  const shown = await fingerprint(await rootOf());
  const enrolled = await enroll(out, '--root-fingerprint', `SHA-256 ${shown}`);
  expect([enrolled.code, enrolled.err]).toEqual([0, '']);
  for (const text of ['edge-1', `SHA-256 ${shown}`, `${home}/data/sealing`, 'daypass data-plane'])
    expect(enrolled.out).toContain(text);
  expect((await filesIn()).toSorted()).toEqual(['data/fleet.json', 'data/node.json', 'data/node.jwk']);
  expect(await readdir(dataPaths(home).sealing)).toEqual([]);
  for (const entry of await readdir(home, { recursive: true, withFileTypes: true })) {
    const { mode } = await stat(join(entry.parentPath, entry.name));
    expect((mode & 0o777).toString(8), entry.name).toBe(entry.isDirectory() ? '700' : '600');
  }

  const ports = await freePorts();
  const listens = {
    DAYPASS_DATA_LISTEN: `127.0.0.1:${ports.data}`,
    DAYPASS_DATA_ADMIN_LISTEN: `127.0.0.1:${ports.admin}`,
  };
  const plane = launch(process.execPath, [join(root, 'data-plane', 'main.ts')], {
    env: { ...fleet.env, ...listens, DAYPASS_HOME: home, DAYPASS_WORKERS: '1' },
  });
  try {
    await until('it has a snapshot', () => isReady(`http://127.0.0.1:${ports.admin}`), 20_000);
    const version = await until('it is listed with its version', async () => {
      const node = jsonLines(await must(['nodes', '--json'])).find(({ name }) => name === 'edge-1');
      return node?.version === node?.newestVersion && node?.version !== '0' && String(node?.version);
    });
    const table = await must(['nodes']);
    expect(table).toMatch(/^NAME +POOL +STATE +VERSION +BEHIND +LEASE ENDS +REFUSED +SOFTWARE +REPORTED\n/);
    expect(table).toMatch(new RegExp(`^edge-1 +default +enrolled +${version} +20..-..-..T`, 'm'));
    expect(table).toMatch(/^node-1 +default +enrolled +none/m);

    const expelled = await must(['node', 'expel', 'edge-1']);
    for (const text of ['Expelled edge-1', 'Until its lease ends, 20', 'daypass keys rotate seal --pool default'])
      expect(expelled).toContain(text);
    expect(await must(['nodes'])).toMatch(/^edge-1 +default +expelled/m);
    await until('it is told so', () => plane.stderr().includes('The node is not enrolled'));
  } finally {
    plane.kill('SIGTERM');
    await plane.ended;
  }
  const again = await cli(['node', 'expel', 'edge-1', '--json']);
  expect([again.code, codeOf(again)]).toEqual([1, 'failed_precondition']);
});

test('a token is good once, and what refuses an enrolment leaves no file', async () => {
  const token = await tokenFor('--name', 'edge-2');
  expect((await enroll(token)).code).toBe(0);
  home = join(folder, 'second');
  const second = await enroll(token, '--json');
  expect([second.code, codeOf(second)]).toEqual([1, 'unauthenticated']);
  const named = await enroll(await tokenFor(), '--name', 'node-1', '--json');
  expect([named.code, codeOf(named)]).toEqual([1, 'already_exists']);
  const nameless = await enroll(await tokenFor(), '--json');
  expect([nameless.code, codeOf(nameless)]).toEqual([1, 'invalid_argument']);
  expect(await filesIn()).toEqual([]);
  const away = await enroll(await tokenFor(), '--name', 'edge-9', '--control-url', 'http://127.0.0.1:1', '--json');
  expect([away.code, codeOf(away)]).toEqual([3, 'unavailable']);
  expect(away.err).toContain('run again while the token lives');
});

test('an enrolment whose answer was lost, or whose files could not be written, goes on with the same key', async () => {
  const token = await tokenFor('--name', 'edge-6');
  // The control plane enrols, and its answer does not come.
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', async () => {
      const headers = { 'content-type': request.headers['content-type'] ?? '' };
      await fetch(`${fleet.controlUrl}${request.url}`, { method: 'POST', headers, body: Buffer.concat(parts) });
      response.destroy();
    });
  });
  const lost = await enroll(token, '--control-url', await listenLocal(server), '--json');
  server.closeAllConnections();
  server.close();
  expect([lost.code, codeOf(lost)]).toEqual([3, 'unavailable']);
  expect(await filesIn()).toEqual(['data/node.jwk']);
  const key = await readFile(dataPaths(home).nodeKey, 'utf8');
  // Of another fleet, until somebody takes it away.
  await writeFile(dataPaths(home).fleet, '{}');
  expect(codeOf(await enroll(token, '--json'))).toBe('failed_precondition');
  await rm(dataPaths(home).fleet);
  expect((await enroll(token)).code).toBe(0);
  expect(await readFile(dataPaths(home).nodeKey, 'utf8')).toBe(key);
  expect((await filesIn()).toSorted()).toEqual(['data/fleet.json', 'data/node.json', 'data/node.jwk']);
  expect(codeOf(await enroll(token, '--json'))).toBe('failed_precondition');
});

test.each([
  'fleet.json',
  'node.json',
  'node.jwk',
])('where there is a %s nothing is overwritten or sent', async (file) => {
  await mkdir(dataPaths(home).folder, { recursive: true });
  await writeFile(join(dataPaths(home).folder, file), 'mine');
  const token = await tokenFor();
  const refused = await enroll(token, '--name', `kept-${file.replace('.', '-')}`, '--json');
  expect([refused.code, codeOf(refused)]).toEqual([1, 'failed_precondition']);
  expect(await filesIn()).toEqual([`data/${file}`]);
  expect(await readFile(join(dataPaths(home).folder, file), 'utf8')).toBe('mine');
  home = join(folder, 'other');
  expect((await enroll(token, '--name', `kept-${file.replace('.', '-')}`)).code).toBe(0);
});

test('a token of another root than the one given is not even sent', async () => {
  const token = await tokenFor('--name', 'edge-3');
  const other = await fingerprint((await generateSigningKey()).publicJwk);
  const refused = await enroll(token, '--root-fingerprint', other, '--json');
  expect([refused.code, codeOf(refused)]).toEqual([1, 'key_untrusted']);
  expect(await filesIn()).toEqual([]);
  expect((await enroll(token)).code).toBe(0);
});

test('a control plane that shows another root, or a fleet that its root did not sign, is not believed', async () => {
  const token = await tokenFor('--name', 'edge-4');
  const honest = JSON.stringify(await rootOf());
  const { publicJwk: stranger } = await generateSigningKey();
  const statement = new TextEncoder().encode('{}');
  const lies = [
    { root: JSON.stringify(stranger), fleet: 'urn:x:y', pool: 'default', name: 'edge-4' },
    { root: honest, fleet: 'urn:x:y', pool: 'default', name: 'edge-4' },
    {
      root: honest,
      fleet: 'urn:x:y',
      pool: 'default',
      name: 'edge-4',
      key: { statement, signature: new Uint8Array(64) },
    },
  ];
  for (const lie of lies) {
    const server = createServer(
      connectNodeAdapter({ routes: ({ service }) => service(NodeService, { enrol: () => lie }) }),
    );
    try {
      const refused = await enroll(token, '--control-url', await listenLocal(server), '--json');
      expect([refused.code, codeOf(refused)]).toEqual([1, 'key_untrusted']);
    } finally {
      server.closeAllConnections();
      server.close();
    }
    expect(await filesIn()).toEqual([]);
  }
});

test('the first of a list of control planes is asked', async () => {
  const env = { DAYPASS_CONTROL_URL: `${fleet.controlUrl}, http://127.0.0.1:1` };
  const token = await tokenFor('--name', 'edge-5');
  const enrolled = await cli(['node', 'enroll', '--token', token, '--home', home, '--json'], '', env);
  expect([enrolled.code, jsonLines(enrolled.out)[0]]).toMatchObject([0, { name: 'edge-5', pool: 'default' }]);
});
