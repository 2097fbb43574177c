// Sealing by the command, against running planes: below a base path, where the control plane says, and as objects.
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { daypass, jsonLines, type Result } from './fake-io.ts';
import { listenLocal } from './listen-local.ts';

let fleet: Fleet;
let upstream: Server;
let url: string;
/** What the upstream was asked for, and with which credential. */
let seen: readonly (string | undefined)[] = [];

beforeAll(async () => {
  upstream = createServer(({ url: path, headers }, response) => {
    seen = [path, headers.authorization];
    response.end('fine');
  });
  url = await listenLocal(upstream);
  fleet = await startFleet();
});

afterAll(async () => {
  upstream?.close();
  await fleet?.stop();
});

const cli = (args: readonly string[], stdin = ''): Promise<Result> => daypass(args, { stdin, env: { ...fleet.env } });

const create = (name: string, ...more: readonly string[]): Promise<Result> =>
  cli(['service', 'create', name, '--upstream', `${url}/base/v1`, '--credential', 'bearer', ...more], `${name}-canary`);

const mint = async (...args: readonly string[]): Promise<string> => {
  const { code, out, err } = await cli(['mint', ...args]);
  expect([code, err]).toEqual([0, expect.any(String)]);
  return out.trim();
};

const ask = async (path: string, token: string): Promise<readonly unknown[]> => {
  seen = [];
  const response = await fetch(`${fleet.dataUrl}/s/${path}`, { headers: { authorization: `Bearer ${token}` } });
  const text = await response.text();
  return [response.status, response.headers.get('daypass-refusal') ?? text];
};

test('a ceiling is in the paths of the service, whatever the base path of its upstream', async () => {
  const { code, err } = await create(
    'based',
    '--ceiling',
    'GET /a/{x}',
    '--caller',
    'admin',
    '--secret-stdin',
    '--json',
  );
  expect([code, err]).toEqual([0, '']);
  const token = await mint('--service', 'based', '--allow', 'GET /**');
  expect(await ask('based/a/1', token)).toEqual([200, 'fine']);
  expect(seen).toEqual(['/base/v1/a/1', 'Bearer based-canary']);
  expect(await ask('based/b', token)).toEqual([403, 'seal_scope_refused']);
  expect(seen).toEqual([]);
});

test('a service that is moved to another base path takes nothing of its seal along', async () => {
  expect((await create('moved', '--ceiling', 'GET /a', '--secret-stdin')).code).toBe(0);
  const token = await mint('--service', 'moved', '--allow', 'GET /**');
  expect(await ask('moved/a', token)).toEqual([200, 'fine']);
  // The command refuses this without the credential; a hostile control plane would not.
  const service = { name: 'moved', upstream: `${url}/base` };
  const { status } = await fleet.rpc('ServiceRegistry/Update', { service, updateMask: 'upstream' });
  expect(status).toBe(200);
  expect(await ask('moved/a', token)).toEqual([403, 'seal_scope_refused']);
  expect(seen).toEqual([]);
});

test('a seal in a token is below the base path too', async () => {
  expect((await create('carried')).code).toBe(0);
  const args = ['--service', 'carried', '--allow', 'GET /a', '--seal-stdin', '--upstream', `${url}/base/v1`];
  const { code, out, err } = await cli(['mint', ...args], 'own-canary');
  expect([code, err]).toEqual([0, '']);
  expect(await ask('carried/a', out.trim())).toEqual([200, 'fine']);
  expect(seen).toEqual(['/base/v1/a', 'Bearer own-canary']);
});

test('what the control plane says of a service is shown before a credential is sealed for it', async () => {
  expect((await create('shown', '--secret-stdin')).code).toBe(0);
  const minted = await cli(['mint', '--service', 'shown', '--allow', 'GET /a', '--seal-stdin'], 'own-canary');
  const says = `sealed for ${url}/base/v1, put on as bearer, as the control plane says; --upstream makes sure`;
  expect([minted.code, minted.err]).toEqual([0, `note: ${says}\n`]);
  const update = ['service', 'update', 'shown', '--secret-stdin', '--ceiling', 'GET /a', '--caller', 'admin'];
  const updated = await cli(update, 'new-canary');
  expect([updated.code, updated.err]).toEqual([0, `note: ${says}\n`]);
  const pinned = [...update, '--upstream', `${url}/base/v1`];
  expect(await cli(pinned, 'new-canary')).toMatchObject({ code: 0, err: '' });
});

test('for a program notes are objects, and an error stands alone on stderr with the notes in it', async () => {
  expect((await create('noted', '--secret-stdin', '--max-ttl', '1h')).code).toBe(0);
  const args = ['mint', '--service', 'noted', '--allow', 'GET /a', '--seal-stdin', '--json'];
  const good = await cli(args, 'own-canary');
  expect([good.code, jsonLines(good.err)]).toEqual([0, [{ note: expect.stringContaining('sealed for') }]]);
  const bad = await cli([...args, '--ttl', '2h'], 'own-canary');
  expect([bad.code, bad.out]).toEqual([1, '']);
  expect(jsonLines(bad.err)).toEqual([
    {
      error: {
        ...{ code: 'invalid_argument', field: 'ttl', message: expect.any(String) },
        notes: [expect.stringContaining('sealed for')],
      },
    },
  ]);
});
