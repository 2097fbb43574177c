// `daypass snapshot` against running planes: history, files, verification as a node, and changes tried before they are made.
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { fingerprint, generateSigningKey, readPublicJwk } from '@daypass/core/key';
import { SnapshotSchema } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../kit/deadline.ts';
import { events, mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { daypass, jsonLines, type Result } from './fake-io.ts';
import { listenLocal } from './listen-local.ts';

let fleet: Fleet;
let upstream: Server;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-snapshot-'));
  upstream = createServer((_request, response) => void response.end('fine'));
  const url = await listenLocal(upstream);
  fleet = await startFleet();
  const scopes = ['--scope', 'read=GET /issues', 'read=GET /pulls'];
  await register(fleet, 'github', url, 'canary-secret', [
    '--credential',
    'bearer',
    '--set-header',
    'X-Team: canary',
    ...scopes,
  ]);
}, 30_000);

afterAll(async () => {
  upstream?.close();
  await fleet?.stop();
  await rm(folder, { recursive: true, force: true });
});

const cli = (...args: readonly string[]): Promise<Result> => daypass(args, { env: fleet.env });
const must = async (...args: readonly string[]): Promise<string> => {
  const { code, out, err } = await cli(...args);
  expect([code, args, err]).toEqual([0, args, expect.any(String)]);
  return out;
};
const codeOf = ({ err }: Result): unknown =>
  (JSON.parse(err.trimEnd().split('\n').at(-1) ?? '') as { error: { code: string } }).error.code;

test('the history names what changed and by whom, newest first', async () => {
  const [newest] = jsonLines(await must('snapshot', 'history', '--json'));
  expect(newest).toMatchObject({ caller: 'admin', method: 'ServiceRegistry/Create', subject: 'services/github' });
  expect(newest?.changes).toMatchObject([
    { kind: 'credential', added: 1 },
    { kind: 'scope', added: 1 },
    { kind: 'service', added: 1 },
  ]);
  const shown = await must('snapshot', 'history', '--limit', '1');
  expect(shown).toMatch(/ServiceRegistry\/Create services\/github +credential \+1, scope \+1, service \+1/);
  expect((await cli('snapshot', 'history', '--limit', '0', '--json')).code).toBe(2);
});

test('a version is pulled into a file, which is shown without its secrets and verified as a node would', async () => {
  const file = join(folder, 'pulled.bin');
  await must('snapshot', 'pull', '--out', file);
  expect((await stat(file)).mode & 0o077).toBe(0);
  expect((await cli('snapshot', 'pull', '--out', file)).code).toBe(1);
  for (const json of [[], ['--json']]) {
    const shown = await must('snapshot', 'show', file, ...json);
    expect(shown).toContain('kid');
    expect(shown).toContain('GET /pulls');
    expect(shown).not.toMatch(/eyJ|canary/);
  }
  const service = jsonLines(await must('snapshot', 'show', '--at', '1', '--kind', 'pool', '--json'));
  expect(service.slice(1)).toEqual([{ kind: 'pool', name: 'default', content: { nodes: 1 } }]);

  const root = readPublicJwk(
    JSON.parse(await readFile(`${fleet.home}/root/fleet-root.pub.jwk`, 'utf8')),
    'Ed25519',
    '',
  );
  const verified = await must('snapshot', 'verify', file, '--root', await fingerprint(root));
  expect(verified.match(/^ *\d+\. .* ok$/gm)).toHaveLength(10);
  expect(verified).toContain(await fingerprint(root));
  const [own] = jsonLines(
    await must('snapshot', 'verify', `${fleet.home}/data/snapshot/last-known-good.bin`, '--json'),
  );
  expect(own).toMatchObject({ verified: true, manifest: { pool: 'default' } });
});

test('verification names the step that refuses, and its code', async () => {
  const file = join(folder, 'good.bin');
  await must('snapshot', 'pull', '--out', file);
  const good = fromBinary(SnapshotSchema, await readFile(file));
  const [first, ...others] = good.entries;
  if (first === undefined) throw new Error('no entries');
  const changed = { ...first, content: first.content.map((byte, at) => (at === 20 ? byte ^ 1 : byte)) };
  const other = await generateSigningKey();
  await writeFile(join(folder, 'other.jwk'), JSON.stringify(other.publicJwk));
  const write = async (name: string, bytes: Uint8Array): Promise<string> => {
    await writeFile(join(folder, name), bytes);
    return join(folder, name);
  };
  const cases: readonly (readonly [readonly string[], string, string])[] = [
    [[file, '--at-time', '2099-01-31T00:00:00Z'], 'key, signed by the fleet root', 'snapshot_signature_invalid'],
    [[file, '--at-time', new Date(Date.now() + 7_200_000).toISOString()], 'time', 'snapshot_stale'],
    [[file, '--root', join(folder, 'other.jwk')], 'key, signed by the fleet root', 'snapshot_signature_invalid'],
    [[file, '--pool', 'eu'], 'key, signed by the fleet root', 'snapshot_foreign'],
    [
      [await write('entry.bin', toBinary(SnapshotSchema, { ...good, entries: [changed, ...others] }))],
      'root over the entries',
      'snapshot_root_mismatch',
    ],
    [
      [
        await write(
          'manifest.bin',
          toBinary(SnapshotSchema, { ...good, manifest: good.manifest.map((byte) => byte ^ 1) }),
        ),
      ],
      'signature over the manifest',
      'snapshot_signature_invalid',
    ],
  ];
  for (const [args, step, code] of cases) {
    const ended = await cli('snapshot', 'verify', ...args, '--json');
    expect([args, ended.code, jsonLines(ended.out), codeOf(ended)]).toEqual([
      args,
      1,
      [{ verified: false, step, code }],
      code,
    ]);
  }
  const shown = await cli('snapshot', 'verify', join(folder, 'entry.bin'));
  expect(shown.out).toMatch(/8\. root over the entries +REFUSED\n *9\. entries, each by itself +-/);
  expect(
    (await cli('snapshot', 'verify', await write('torn.bin', (await readFile(file)).subarray(0, 100)), '--json')).code,
  ).toBe(1);
  expect((await cli('snapshot', 'verify', file, '--root', 'nowhere.jwk')).code).toBe(2);
});

test('two versions, or a file and a version, differ by entry, by member, and by what their scopes allow', async () => {
  const before = join(folder, 'before.bin');
  await must('snapshot', 'pull', '--out', before);
  await must('service', 'scope', 'set', 'github', 'read', '--rule', 'GET /issues', 'GET /labels');
  await must('service', 'update', 'github', '--max-ttl', '2h');
  const [{ version } = {}] = jsonLines(await must('snapshot', 'history', '--limit', '1', '--json'));
  const lines = jsonLines(await must('snapshot', 'diff', before, String(version), '--json'));
  expect(lines).toMatchObject([
    { kind: 'scope', name: 'github/read', widens: [{ part: 'GET /labels' }], narrows: [{ part: 'GET /pulls' }] },
    { kind: 'service', name: 'github', members: [{ member: 'max_ttl_seconds', before: 86_400, after: 7200 }] },
  ]);
  const text = await must('snapshot', 'diff', before, String(version));
  expect(text).toContain('~ service github\n    max_ttl_seconds: 86400 → 7200\n');
  expect(text).toContain('    + GET /labels\n');
  expect(await must('snapshot', 'diff', before, before)).toBe('Their entries are the same.\n');
});

test('--test and `snapshot test` say which requests through the proxy would be decided otherwise', async () => {
  await must('service', 'scope', 'set', 'github', 'read', '--rule', 'GET /issues', 'GET /pulls');
  const token = await mint(fleet, 'github', ['scope:read'], ['--ttl', '30m', '--client', 'ci']);
  const ask = (path: string) =>
    fetch(`${fleet.dataUrl}/s/github${path}`, { headers: { authorization: `Bearer ${token}` } });
  const statuses = [];
  for (const path of ['/issues', '/pulls', '/pulls', '/labels']) statuses.push((await ask(path)).status);
  expect(statuses).toEqual([200, 200, 200, 403]);
  await until('the audit has them', async () => (await events(fleet, { service: 'github' })).length === 4);

  const narrower = ['service', 'scope', 'set', 'github', 'read', '--rule', 'GET /issues'];
  const tested = await cli(...narrower, '--test');
  expect([tested.code, tested.err]).toEqual([1, '']);
  expect(tested.out).toMatch(/would be refused +ci +GET \/s\/github\/pulls +scope_refused: scope:read +2\n/);
  expect(tested.out).toContain('2 decided as they are, 2 refused, 0 allowed, 0 cannot be told');
  expect((await cli('service', 'update', 'github', '--max-ttl', '1h', '--test')).code).toBe(0);
  expect((await cli('service', 'delete', 'github', '--test')).out).toContain('service_unknown');

  const file = join(folder, 'change.json');
  const rules = { rules: ['GET /issues', 'GET /pulls', 'GET /labels'] };
  await writeFile(file, JSON.stringify({ setScope: { service: 'github', scope: 'read', rules } }));
  const wider = jsonLines((await cli('snapshot', 'test', '--file', file, '--json')).out);
  expect(wider).toMatchObject([
    { decision: { verdict: 'VERDICT_ALLOWED', path: '/labels', code: 'scope_refused', rule: 'scope:read' } },
    { summary: { replayed: 4, unchanged: 3, allowed: 1 } },
  ]);
  await writeFile(file, JSON.stringify({ setScop: {} }));
  expect((await cli('snapshot', 'test', '--file', file)).code).toBe(2);
  expect((await ask('/pulls')).status).toBe(200);
});

test.each<readonly [string, readonly string[], number, string]>([
  ['on all data planes there are', ['--canary', '1'], 1, 'failed_precondition'],
  ['on a data plane that is not there', ['--canary-nodes', 'node-9'], 1, 'failed_precondition'],
  ['by number and by name', ['--canary', '1', '--canary-nodes', 'node-1'], 2, 'invalid_argument'],
  ['on no data plane', ['--canary', '0'], 2, 'invalid_argument'],
  ['that is promoted, but none', ['--promote-after', '10m'], 2, 'invalid_argument'],
])('a canary %s is refused', async (_what, flags, code, error) => {
  const ended = await cli('service', 'update', 'github', '--max-ttl', '3h', ...flags, '--json');
  expect([ended.code, codeOf(ended)]).toEqual([code, error]);
});

test('where no canary runs there is none to show, to promote or to take back', async () => {
  expect(await must('snapshot', 'status')).toBe('There was no canary yet.\n');
  for (const end of ['promote', 'take-back']) {
    const ended = await cli('snapshot', end, '--json');
    expect([ended.code, codeOf(ended)]).toEqual([1, 'not_found']);
  }
});
