// Every command against running planes: what it prints, in which form, and with which exit code.
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../kit/deadline.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { daypass, jsonLines, type Result } from './fake-io.ts';
import { listenLocal } from './listen-local.ts';

let fleet: Fleet;
let upstream: Server;
let upstreamUrl: string;
let folder: string;
/** What the upstream was last asked with. */
let seen: string | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-cli-'));
  upstream = createServer((request, response) => {
    seen = request.headers.authorization;
    response.end('fine');
  });
  upstreamUrl = await listenLocal(upstream);
  fleet = await startFleet();
});

afterAll(async () => {
  upstream?.close();
  await fleet?.stop();
  await rm(folder, { recursive: true, force: true });
});

const cli = (args: readonly string[], stdin = '', env: Readonly<Record<string, string>> = {}): Promise<Result> =>
  daypass(args, { stdin, env: { ...fleet.env, ...env } });

const must = async (
  args: readonly string[],
  stdin = '',
  env: Readonly<Record<string, string>> = {},
): Promise<string> => {
  const { code, out, err } = await cli(args, stdin, env);
  expect([code, args, err]).toEqual([0, args, expect.any(String)]);
  return out;
};

const one = (text: string): Record<string, unknown> => {
  const lines = jsonLines(text);
  expect(lines).toHaveLength(1);
  return lines[0] ?? {};
};

const errorOf = ({ err }: Result): Record<string, unknown> => {
  const last = err.trimEnd().split('\n').at(-1) ?? '';
  return (JSON.parse(last) as { error: Record<string, unknown> }).error;
};

const ask = (path: string, token: string) =>
  fetch(`${fleet.dataUrl}/s/${path}`, { headers: { authorization: `Bearer ${token}` } });

test('a service is created with every flag, shown, changed and removed', async () => {
  const create = await cli(
    [
      ...['service', 'create', 'full', '--upstream', `${upstreamUrl}/base`, '--credential', 'header:X-Key'],
      ...['--template', 'Key {secret}', '--secret-stdin', '--ceiling', 'GET /a', 'POST /b', '--caller', 'admin', 'ci'],
      ...['--token-in', 'token,header:X-Token', '--default', '--max-ttl', '2h', '--connect-timeout', '3s'],
      ...['--response-timeout', '1m', '--client', 'a', 'b', '--scope', 'read=GET /a', 'read=GET /b', 'write=POST /b'],
      ...[
        '--drop-header',
        'X-Debug',
        '--set-header',
        'X-Team: blue',
        '--drop-query',
        'api_key',
        '--description',
        'all',
      ],
      ...['--limit-per-token', '100/1m', '--limit-per-client', '5/1s', '--limit-per-service', '9/1h', '--json'],
    ],
    'full-canary\n',
  );
  expect([create.code, create.err]).toEqual([0, '']);
  const { service, rollout } = one(create.out) as {
    service: Record<string, unknown>;
    rollout: Record<string, unknown>;
  };
  expect(rollout.acknowledged).toEqual(['node-1']);
  expect(service).toMatchObject({
    name: 'full',
    upstream: `${upstreamUrl}/base`,
    place: { kind: 'KIND_HEADER', name: 'x-key', template: 'Key {secret}' },
    isDefault: true,
    anonymous: false,
    maxTtl: '7200s',
    connectTimeout: '3s',
    responseTimeout: '60s',
    clients: { labels: ['a', 'b'] },
    scopes: { read: { rules: ['GET /a', 'GET /b'] }, write: { rules: ['POST /b'] } },
    cleaning: { dropHeaders: ['x-debug'], setHeaders: { 'x-team': 'blue' }, dropQuery: ['api_key'] },
    limits: { perToken: { requests: 100, per: '60s' } },
    description: 'all',
  });
  expect(service.sealedCredential).toMatch(/^eyJ/);
  const got = one(await must(['service', 'get', 'full', '--json']));
  expect(got).toMatchObject({ name: 'full', etag: service.etag });
  expect(jsonLines(await must(['service', 'list', '--json'])).map(({ name }) => name)).toContain('full');

  const clear = ['clients', 'scopes', 'limit-per-client', 'token-in', 'description'];
  const changed = one(await must(['service', 'update', 'full', '--no-default', '--clear', ...clear, '--json']));
  const after = changed.service as Record<string, unknown>;
  expect(after).toMatchObject({ isDefault: false, scopes: {}, description: '', tokenIn: [] });
  expect(after.clients ?? undefined).toBeUndefined();
  expect(after.limits).toMatchObject({ perToken: { requests: 100 } });
  expect((after.limits as Record<string, unknown>).perClient ?? undefined).toBeUndefined();
  expect(after.credentialId).toBe(service.credentialId);

  const stale = await cli(['service', 'delete', 'full', '--etag', String(service.etag), '--json']);
  expect([stale.code, errorOf(stale).code]).toEqual([1, 'etag_stale']);
  expect(Object.keys(one(await must(['service', 'delete', 'full', '--json'])))).toEqual(['rollout']);
  const gone = await cli(['service', 'get', 'full', '--json']);
  expect([gone.code, gone.out, errorOf(gone).code]).toEqual([1, '', 'not_found']);
});

test('without a ceiling or a caller the command says what the seal allows; with them it is silent', async () => {
  const args = [
    'service',
    'create',
    'wide',
    '--upstream',
    upstreamUrl,
    '--credential',
    'bearer',
    '--secret-env',
    'KEY',
  ];
  const wide = await cli(args, '', { KEY: 'wide-canary' });
  expect(wide.code).toBe(0);
  expect(wide.err).toContain('every path of its upstream to every caller that may mint for "wide"');
  const update = ['service', 'update', 'wide', '--secret-stdin', '--ceiling', 'GET /only'];
  expect((await cli(update, 'second-canary')).err).toContain('every caller that may mint');
  const named = [...update, '--caller', 'admin', '--upstream', upstreamUrl];
  expect((await cli(named, 'third-canary')).err).toBe('');
  const token = (await must(['mint', '--service', 'wide', '--allow', '* /**'])).trim();
  expect((await ask('wide/only', token)).status).toBe(200);
  expect(seen).toBe('Bearer third-canary');
  expect(((await (await ask('wide/other', token)).json()) as Record<string, unknown>).code).toBe('seal_scope_refused');
});

test('what a seal says of a service cannot be changed without the credential', async () => {
  for (const flags of [
    ['--upstream', 'https://elsewhere.example'],
    ['--upstream', `${upstreamUrl}/base`],
    ['--credential', 'basic'],
  ]) {
    const refused = await cli(['service', 'update', 'wide', ...flags, '--json']);
    expect([refused.code, errorOf(refused).field]).toEqual([2, flags[0]]);
  }
  await must(['service', 'update', 'wide', '--credential', 'basic', '--secret-stdin'], 'user:fourth-canary');
  const token = (await must(['mint', '--service', 'wide', '--allow', 'GET /a'])).trim();
  expect((await ask('wide/a', token)).status).toBe(200);
  expect(seen).toBe(`Basic ${Buffer.from('user:fourth-canary').toString('base64')}`);
});

test.each([
  ['basic', 'no-colon-canary'],
  ['bearer', 'two canary words'],
  ['bearer', 'line\ncanary'],
])('a %s credential that cannot be one is refused without being quoted', async (kind, secret) => {
  const args = [
    'service',
    'create',
    'never',
    '--upstream',
    upstreamUrl,
    '--credential',
    kind,
    '--secret-stdin',
    '--json',
  ];
  const refused = await cli(args, secret);
  expect([refused.code, refused.out]).toEqual([2, '']);
  expect(refused.err).not.toContain('canary');
  expect((await cli(['service', 'get', 'never'])).code).toBe(1);
});

test('mint prints the token alone; inspect reads it offline, introspect asks, revoke ends it', async () => {
  await must(
    ['service', 'create', 'plain', '--upstream', upstreamUrl, '--credential', 'bearer', '--secret-stdin'],
    'plain-canary',
  );
  const minted = await cli([
    'mint',
    '--service',
    'plain',
    '--allow',
    'GET /a',
    '--allow',
    'GET /b/*',
    '--ttl',
    '5m',
    '--client',
    'bot',
  ]);
  expect(minted.err).toBe('');
  expect(minted.out).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  const token = minted.out.trim();

  const offline = await daypass(['inspect', token, '--json'], { env: { DAYPASS_CONTROL_URL: 'http://127.0.0.1:1' } });
  const inspected = one(offline.out) as { verified: boolean; claims: Record<string, unknown>; header: object };
  expect(inspected.verified).toBe(false);
  expect(inspected.header).toMatchObject({ alg: 'Ed25519', typ: 'at+jwt' });
  expect(inspected.claims).toMatchObject({
    service: 'plain',
    client_id: 'bot',
    allowed: ['GET /a', 'GET /b/*'],
    caller: 'admin',
  });
  const shown = await cli(['inspect', '-'], `${token}\n`);
  expect(shown.err).toContain('NOT VERIFIED');
  expect(shown.out).toContain('GET /b/*');
  expect((await cli(['inspect', 'nonsense'])).code).toBe(1);

  const before = one(await must(['introspect', '-', '--json'], token));
  expect(before).toMatchObject({ active: true, token: { jti: inspected.claims.jti, client: 'bot' } });
  expect((await ask('plain/a', token)).status).toBe(200);
  const receipt = one(await must(['revoke', '--jti', String(inspected.claims.jti), '--json']));
  expect(receipt.rollout).toMatchObject({ acknowledged: ['node-1'], missing: [] });
  expect((await ask('plain/a', token)).status).toBe(401);
  expect(one(await must(['introspect', token, '--json']))).toMatchObject({ active: false, reason: 'token_revoked' });
  expect(await must(['introspect', token])).toContain('active  no');
});

test('revoke takes a token by its text, or all that fit', async () => {
  const mint = () => must(['mint', '--service', 'plain', '--allow', 'GET /a', '--client', 'fleet-bot']);
  const [first, second] = [(await mint()).trim(), (await mint()).trim()];
  expect(await must(['revoke', '--token', '-'], first)).toContain('in force on node-1');
  expect([(await ask('plain/a', first)).status, (await ask('plain/a', second)).status]).toEqual([401, 200]);
  await must(['revoke', '--service', 'plain', '--client', 'fleet-bot']);
  expect((await ask('plain/a', second)).status).toBe(401);
  const unknown = await cli(['revoke', '--jti', 'nonsense', '--json']);
  expect([unknown.code, errorOf(unknown).code]).toEqual([1, 'not_found']);
});

test('mint refuses by the code of the control plane, naming the field', async () => {
  const unknown = await cli(['mint', '--service', 'nowhere', '--allow', 'GET /a', '--json']);
  expect([unknown.code, unknown.out, errorOf(unknown).field]).toEqual([1, '', 'service']);
  const long = await cli(['mint', '--service', 'plain', '--allow', 'GET /a', '--ttl', '2d', '--json']);
  expect([long.code, errorOf(long).code, errorOf(long).field]).toEqual([1, 'invalid_argument', 'ttl']);
});

test('a token can carry its own credential, sealed for its own requests and its minter', async () => {
  await must(['service', 'create', 'bare', '--upstream', upstreamUrl, '--credential', 'bearer']);
  const args = ['mint', '--service', 'bare', '--allow', 'GET /a', '--seal-stdin'];
  const minted = await cli(args, 'carried-canary\n');
  expect(minted.err).toContain(`sealed for ${upstreamUrl}`);
  expect((await ask('bare/a', minted.out.trim())).status).toBe(200);
  expect(seen).toBe('Bearer carried-canary');
  expect((await cli([...args, '--upstream', upstreamUrl], 'carried-canary')).err).toBe('');
  const other = await cli([...args, '--upstream', 'https://other.example', '--json'], 'carried-canary');
  expect([other.code, errorOf(other).field]).toEqual([2, '--upstream']);
  const named = await cli(
    ['mint', '--service', 'bare', '--allow', 'scope:x', '--seal-stdin', '--json'],
    'carried-canary',
  );
  expect([named.code, errorOf(named).field]).toEqual([2, '--allow']);
});

test('at a terminal mint asks for what is missing, and for the credential without showing it', async () => {
  const shown: boolean[] = [];
  const typed = ['bare\n', 'GET /a\n', 'GET /b\n\n', 'typed-cax\u007fnary\r'];
  const minted = await daypass(['mint', '--seal-stdin', '--upstream', upstreamUrl], {
    env: fleet.env,
    typed,
    onRawMode: (on) => shown.push(!on),
  });
  expect([minted.code, shown]).toEqual([0, [false, true]]);
  expect(minted.err).not.toContain('canary');
  expect((await ask('bare/b', minted.out.trim())).status).toBe(200);
  expect(seen).toBe('Bearer typed-canary');
  const stopped = await daypass(['mint', '--seal-stdin', '--service', 'bare', '--allow', 'GET /a'], {
    env: fleet.env,
    typed: ['typed\u0003'],
  });
  expect([stopped.code, stopped.out]).toEqual([2, '']);
});

test('a caller has a key that is printed once, and mints for its own services alone', async () => {
  const made = await cli(['caller', 'create', 'ci', '--service', 'plain']);
  expect(made.out).toMatch(/^dpk_[\w-]{43}\n$/);
  const env = { DAYPASS_API_KEY: made.out.trim() };
  await must(['mint', '--service', 'plain', '--allow', 'GET /a'], '', env);
  const denied = await cli(['mint', '--service', 'wide', '--allow', 'GET /a', '--json'], '', env);
  expect([denied.code, errorOf(denied).code]).toEqual([1, 'permission_denied']);
  expect(jsonLines(await must(['caller', 'list', '--json'])).map(({ name }) => name)).toEqual(['admin', 'ci']);
  expect(await must(['caller', 'list'])).not.toContain('dpk_');
  await must(['caller', 'delete', 'ci']);
  const ended = await cli(['service', 'list', '--json'], '', env);
  expect([ended.code, errorOf(ended).code]).toEqual([1, 'unauthenticated']);
});

test('an API key comes from a file too, and the one of the home is the last resort', async () => {
  const file = join(folder, 'key');
  await writeFile(file, `${fleet.adminKey}\n`);
  await must(['service', 'list', '--api-key-file', file, '--home', join(folder, 'none')]);
  const none = await cli(['service', 'list', '--home', join(folder, 'none'), '--json']);
  expect([none.code, errorOf(none).field]).toEqual([2, join(folder, 'none', 'control', 'admin.key')]);
});

test('a root that is not there is pinned at first use, and another one is refused from then on', async () => {
  const home = join(folder, 'remote');
  const env = { DAYPASS_API_KEY: fleet.adminKey, DAYPASS_HOME: home };
  const args = ['service', 'update', 'plain', '--secret-stdin', '--ceiling', 'GET /a', '--caller', 'admin'];
  const first = await cli(args, 'pinned-canary', env);
  expect(first.code).toBe(0);
  expect(first.err).toMatch(/SHA-256 [\w-]{43} \(kept in/);
  const pinFile = join(home, 'pinned-root.jwk');
  expect(((await stat(pinFile)).mode & 0o777).toString(8)).toBe('600');
  expect((await cli(args, 'pinned-canary', env)).err).not.toContain('trusting');
  await daypass(['init', '--home', join(folder, 'foreign')]);
  const foreign = join(folder, 'foreign', 'root', 'fleet-root.pub.jwk');
  await writeFile(pinFile, await readFile(foreign));
  const swapped = await cli([...args, '--json'], 'pinned-canary', env);
  expect([swapped.code, errorOf(swapped).code, errorOf(swapped).field]).toEqual([1, 'key_untrusted', pinFile]);
  const given = await cli([...args, '--json', '--root', foreign], 'pinned-canary');
  expect(errorOf(given).code).toBe('key_untrusted');
  const broken = await cli([...args, '--json', '--root', join(folder, 'key')], 'pinned-canary');
  expect([broken.code, errorOf(broken).field]).toEqual([2, join(folder, 'key')]);
});

test('the audit is listed by filter, as a table or an object a line', async () => {
  const token = (await must(['mint', '--service', 'plain', '--allow', 'GET /a', '--client', 'lister'])).trim();
  await (await ask('plain/a', token)).text();
  await (await ask('plain/b', token)).text();
  const list = async (...flags: string[]) =>
    jsonLines(await must(['audit', 'list', '--client', 'lister', '--json', ...flags]));
  await until(
    'both events',
    async () => (await list()).filter((event) => event.outcome !== 'OUTCOME_PENDING').length === 2,
  );
  expect((await list()).map((event) => event.outcome)).toEqual(['OUTCOME_REFUSED', 'OUTCOME_ALLOWED']);
  expect(await list('--outcome', 'refused')).toMatchObject([{ reason: 'scope_refused', path: '/b', status: 403 }]);
  expect(await list('--limit', '1')).toHaveLength(1);
  expect(await list('--service', 'wide')).toEqual([]);
  expect(await list('--since', '1h', '--service', 'plain')).toHaveLength(2);
  expect(await list('--until', '1h')).toEqual([]);
  const table = await must(['audit', 'list', '--client', 'lister']);
  expect(table.split('\n')[0]).toMatch(/^TIME +OUTCOME +STATUS +SERVICE/);
  expect(table).toContain('scope_refused');
  expect(jsonLines(await must(['audit', 'list', '--kind', 'change', '--json', '--limit', '3']))).toHaveLength(3);
});

test('the audit is followed, each event in a file of its own, until it is stopped', async () => {
  const dir = join(folder, 'events');
  let out = '';
  let stop = (_signal: NodeJS.Signals): void => {};
  const { run } = await import('../../cli/main.ts');
  const following = run(['audit', 'tail', '--dir', dir, '--json', '--client', 'follower', '--since', '1m'], {
    env: fleet.env,
    out: (text) => {
      out += text;
    },
    err: () => {},
    stdin: (async function* (): AsyncGenerator<string> {})(),
    now: Date.now,
    onStop: (callback) => {
      stop = callback;
      return () => {};
    },
  });
  const token = (await must(['mint', '--service', 'plain', '--allow', 'GET /a', '--client', 'follower'])).trim();
  await (await ask('plain/a', token)).text();
  await (await ask('plain/a', token)).text();
  const done = () => jsonLines(out).filter((event) => event.outcome === 'OUTCOME_ALLOWED');
  await until('both events', () => done().length === 2);
  stop('SIGINT');
  expect(await following).toBe(0);
  const files = (await readdir(dir, { recursive: true })).filter((name) => name.includes('.'));
  expect(files).toHaveLength(2);
  for (const file of files) {
    expect(file).toMatch(/^plain\/\d{4}-\d\d-\d\d\/\d\d-\d\d-\d\d-[0-9a-f-]{36}\.json$/);
    const text = await readFile(join(dir, file), 'utf8');
    expect(JSON.parse(text)).toMatchObject({ service: 'plain', outcome: 'OUTCOME_ALLOWED', path: '/a' });
    expect(text).not.toMatch(/canary|eyJ/);
  }
});

const config = (services: object): Promise<string> => {
  const file = join(folder, 'lockbox.json');
  return writeFile(file, JSON.stringify({ services })).then(() => file);
};

test('an import creates every service with its credential sealed, and refuses to do it twice', async () => {
  const file = await config({
    import_one: { base_url: upstreamUrl, credential: { type: 'bearer', token: 'imported-canary' } },
    import_two: { base_url: upstreamUrl, requires_service_token: false },
  });
  const { code, out, err } = await cli(['import', 'lockbox', file]);
  expect([code, out.includes('created import-one')]).toEqual([0, true]);
  expect(out + err).not.toContain('canary');
  const token = (await must(['mint', '--service', 'import-one', '--allow', 'GET /x'])).trim();
  expect((await ask('import-one/x', token)).status).toBe(200);
  expect(seen).toBe('Bearer imported-canary');
  expect((await fetch(`${fleet.dataUrl}/s/import-two/x`)).status).toBe(200);
  const again = await cli(['import', 'lockbox', file, '--json']);
  expect([again.code, errorOf(again).code]).toEqual([1, 'already_exists']);
  expect(errorOf(again).message).toContain('import-one, import-two');
});

test('an import that fails on its way leaves nothing behind', async () => {
  const file = await config({
    fine: { base_url: upstreamUrl },
    metadata: { base_url: 'http://169.254.169.254' },
  });
  const { code, err } = await cli(['import', 'lockbox', file, '--json']);
  expect(code).toBe(1);
  const error = (JSON.parse(err.trimEnd().split('\n').at(-1) ?? '') as { error: Record<string, string> }).error;
  expect(error.message).toMatch(/^metadata: .*nothing was imported$/);
  expect(jsonLines(await must(['service', 'list', '--json'])).map(({ name }) => name)).not.toContain('fine');
});
