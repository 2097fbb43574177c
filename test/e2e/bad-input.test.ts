// Bad input to a running fleet: a clear error that names the field, an exit code, and everything left as it was.
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { mint, register } from '../kit/operator.ts';
import { call, type Fleet, startFleet } from '../kit/planes.ts';
import type { Launch } from '../kit/process.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

let fleet: Fleet;
let upstream: Upstream;

beforeAll(async () => {
  upstream = await startUpstream((_seen, response) => json(response, 200, {}));
  fleet = await startFleet();
  await register(fleet, 'orders', upstream.origin, 'real-credential', ['--credential', 'bearer']);
  await fleet.must(['service', 'update', 'orders', '--max-ttl', '1h']);
});

afterAll(async () => {
  await fleet?.stop();
  await upstream?.close();
});

/** Everything that a change would show in. */
async function state(): Promise<string> {
  const methods = ['ServiceRegistry/List', 'TokenService/List', 'CallerService/List'];
  const answers = await Promise.all(methods.map((method) => fleet.rpc(method)));
  const changes = await fleet.rpc('AuditService/Query', {
    filter: { kind: 'AUDIT_KIND_CHANGE', outcome: 'OUTCOME_ALLOWED' },
  });
  return JSON.stringify([...answers, changes].map((answer) => answer.body));
}

describe('over the command', () => {
  let before: string;
  beforeEach(async () => {
    before = await state();
  });

  const create = (...more: string[]) => ['service', 'create', 'fresh', ...more];
  const good = () => ['--upstream', upstream.origin, '--credential', 'bearer'];
  const secret: Launch = { stdin: 'a-secret' };
  type Case = {
    readonly name: string;
    readonly code: number;
    readonly names: RegExp;
    readonly args: () => readonly string[];
    readonly options: Launch;
  };
  const bad = (
    name: string,
    code: number,
    names: RegExp,
    args: () => readonly string[],
    options: Launch = {},
  ): Case => ({
    name,
    code,
    names,
    args,
    options,
  });
  const cases: readonly Case[] = [
    bad('an unknown command', 2, /frobnicate/, () => ['frobnicate']),
    bad('an unknown flag', 2, /--colour/, () => ['service', 'list', '--colour']),
    bad('a missing flag', 2, /--service/, () => ['mint', '--allow', 'GET /a']),
    bad('an unknown service', 1, /nowhere/, () => ['mint', '--service', 'nowhere', '--allow', 'GET /a']),
    bad('a rule without a path', 2, /allow/, () => ['mint', '--service', 'orders', '--allow', 'GET orders']),
    bad('a rule with a bad pattern', 2, /allow/, () => ['mint', '--service', 'orders', '--allow', 'GET ~/a(']),
    bad('an operation of a service without an OpenAPI document', 1, /allow/, () => [
      'mint',
      '--service',
      'orders',
      '--allow',
      'op:issues/list',
    ]),
    bad('a lifetime over the maximum', 1, /ttl/, () => [
      'mint',
      '--service',
      'orders',
      '--allow',
      'GET /a',
      '--ttl',
      '2h',
    ]),
    bad('a lifetime that is no duration', 2, /ttl/, () => [
      'mint',
      '--service',
      'orders',
      '--allow',
      'GET /a',
      '--ttl',
      'soon',
    ]),
    bad(
      'a URL that is none',
      2,
      /upstream/,
      () => create('--upstream', 'not a url', '--credential', 'bearer', '--secret-stdin'),
      secret,
    ),
    bad(
      'a URL of another scheme',
      2,
      /upstream/,
      () => create('--upstream', 'ftp://example.com', '--credential', 'bearer', '--secret-stdin'),
      secret,
    ),
    bad(
      'a URL with a user in it',
      1,
      /upstream/,
      () => create('--upstream', 'https://a:b@example.com', '--credential', 'bearer', '--secret-stdin'),
      secret,
    ),
    bad(
      'a name that is none',
      2,
      /name/,
      () => ['service', 'create', 'Not A Name', ...good(), '--secret-stdin'],
      secret,
    ),
    bad(
      'a name that is taken',
      1,
      /orders/,
      () => ['service', 'create', 'orders', ...good(), '--secret-stdin'],
      secret,
    ),
    bad(
      'a credential place that is none',
      2,
      /credential/,
      () => create('--upstream', upstream.origin, '--credential', 'cookie', '--secret-stdin'),
      secret,
    ),
    bad('an empty secret', 2, /secret/, () => create(...good(), '--secret-stdin'), { stdin: '' }),
    bad('a secret that is too large', 2, /secret/, () => create(...good(), '--secret-stdin'), {
      stdin: 'x'.repeat(5000),
    }),
    bad('a secret variable that is not set', 2, /NOT_SET/, () => create(...good(), '--secret-env', 'NOT_SET')),
    bad(
      'a ceiling that is no rule',
      2,
      /rule|ceiling/,
      () => create(...good(), '--secret-stdin', '--ceiling', 'nothing'),
      secret,
    ),
    bad('an update of nothing that is there', 1, /absent/, () => ['service', 'update', 'absent', '--max-ttl', '2h']),
    bad('a delete of nothing that is there', 1, /absent/, () => ['service', 'delete', 'absent']),
    bad('a token that is none', 1, /token/, () => ['revoke', '--token', 'not.a.token']),
    bad('an unknown jti', 1, /jti/, () => ['revoke', '--jti', 'no-such-jti']),
    bad('a caller for an unknown service', 1, /nowhere/, () => ['caller', 'create', 'ci', '--service', 'nowhere']),
    bad('the delete of the built-in admin', 1, /admin/, () => ['caller', 'delete', 'admin']),
    bad('a wrong API key', 1, /API key/i, () => ['service', 'list'], {
      env: { DAYPASS_API_KEY: `dpk${'_'}${'A'.repeat(43)}` },
    }),
    bad('a control plane that is not there', 3, /127\.0\.0\.1:9/, () => ['service', 'list'], {
      env: { DAYPASS_CONTROL_URL: 'http://127.0.0.1:9' },
    }),
  ];

  test.each(cases)('$name ends with $code', async ({ code, names, args, options }) => {
    const [human, machine] = await Promise.all([fleet.cli(args(), options), fleet.cli([...args(), '--json'], options)]);
    expect(human).toMatchObject({ code, stdout: '' });
    expect(human.stderr).toMatch(names);
    expect(human.stderr).not.toMatch(/^\s+at /m);
    expect(machine.code).toBe(code);
    expect(JSON.parse(machine.stderr)).toMatchObject({
      error: { code: expect.stringMatching(/^[a-z_]+$/), message: expect.any(String) },
    });
    expect(await state()).toBe(before);
  });
});

describe('over the wire', () => {
  const post = (method: string, body: string | Uint8Array<ArrayBuffer>, type = 'application/json') =>
    fetch(`${fleet.controlUrl}/daypass.v1.${method}`, {
      method: 'POST',
      headers: { 'content-type': type, authorization: `Bearer ${fleet.adminKey}` },
      body,
    });

  test.each([
    ['a number for a name', '{"service":7,"allow":["GET /a"]}', /service/],
    ['an object for a list', '{"service":"orders","allow":{}}', /allow/],
    ['no rule', '{"service":"orders","allow":[]}', /allow/],
    ['a negative lifetime', '{"service":"orders","allow":["GET /a"],"ttl":"-1s"}', /ttl/],
    ['JSON that is none', '{"service":', /JSON|json/],
  ])('%s is an invalid_argument that names it', async (_name, body, names) => {
    const before = await state();
    const answer = await post('TokenService/Mint', body);
    expect(answer.status).toBe(400);
    const problem = (await answer.json()) as { code: string; message: string };
    expect(problem.code).toBe('invalid_argument');
    expect(JSON.stringify(problem)).toMatch(names);
    expect(await state()).toBe(before);
  });

  test('a message over the limit is refused, and the plane goes on', async () => {
    const answer = await post(
      'TokenService/Mint',
      JSON.stringify({ service: 'orders', allow: ['GET /a'], client: 'x'.repeat(8_000_000) }),
    );
    expect(await answer.json()).toMatchObject({ code: 'resource_exhausted' });
    expect((await fleet.rpc('ServiceRegistry/List')).status).toBe(200);
  });

  test('an RPC that is not there, or that a caller may not call, is refused', async () => {
    expect((await post('TokenService/Forge', '{}')).status).toBe(404);
    const key = { authorization: `Bearer ${fleet.adminKey}` };
    const watch = await call(fleet.controlUrl, 'SnapshotService/Get', {}, key);
    expect(watch.body).toMatchObject({ code: expect.stringMatching(/^(?:unauthenticated|permission_denied)$/) });
  });

  test.each([
    'ServiceRegistry/List',
    'TokenService/Mint',
    'AuditService/Query',
    'CallerService/List',
    'SnapshotService/Get',
  ])('%s without a key is unauthenticated', async (method) => {
    const answer = await call(fleet.controlUrl, method, {}, {});
    expect(answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
  });
});

test('an error tells the caller nothing of the inside', async () => {
  const log = fleet.control.logs();
  expect(log).not.toMatch(/TypeError|ReferenceError/);
  expect(fleet.data.logs()).not.toMatch(/TypeError|ReferenceError/);
});

test('a token that is altered in any segment is refused', async () => {
  const token = await mint(fleet, 'orders', ['GET /a']);
  const [header = '', payload = '', signature = ''] = token.split('.');
  const flip = (text: string) => `${text.startsWith('A') ? 'B' : 'A'}${text.slice(1)}`;
  for (const altered of [
    [flip(header), payload, signature].join('.'),
    [header, flip(payload), signature].join('.'),
    [header, payload, flip(signature)].join('.'),
    `${token}=`,
    `${header}.${payload}.`,
  ]) {
    const answer = await fetch(`${fleet.dataUrl}/s/orders/a`, { headers: { authorization: `Bearer ${altered}` } });
    expect(answer.status).toBe(401);
  }
  const key = await readFile(`${fleet.home}/control/admin.key`, 'utf8');
  const asKey = await fetch(`${fleet.dataUrl}/s/orders/a`, { headers: { authorization: `Bearer ${key.trim()}` } });
  expect(asKey.status).toBe(401);
});
