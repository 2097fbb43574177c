// Help, wrong usage, and exit codes of every command.
import { join } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { buildProgram } from '../../cli/main.ts';
import { root } from '../check/sources.ts';
import { run } from '../kit/process.ts';
import { daypass, jsonLines } from './fake-io.ts';

const context = {
  io: { env: {}, out: () => {}, err: () => {}, note: () => {}, stdin: empty(), now: Date.now, onStop: () => () => {} },
  exit: () => {},
};

async function* empty(): AsyncGenerator<string> {}

const service = [
  ...['--credential', '--template', '--secret-stdin', '--secret-env', '--ceiling', '--caller', '--token-in'],
  ...[
    '--default',
    '--anonymous',
    '--insecure-upstream',
    '--encoded-slashes',
    '--max-ttl',
    '--connect-timeout',
    '--response-timeout',
  ],
  ...[
    '--client',
    '--no-clients',
    '--scope',
    '--drop-header',
    '--set-header',
    '--drop-query',
    '--description',
    '--wait',
  ],
  ...['--limit-per-token', '--limit-per-client', '--limit-per-service', '--upstream', '--openapi'],
];

const releasing = ['--wait', '--test', '--canary', '--canary-nodes', '--promote-after'];

const bounds = ['--service', '--admin', '--allow', '--max-ttl', '--client', '--subject', '--edits-scopes'];

const commands: readonly (readonly [command: string, flags: readonly string[]])[] = [
  ['init', ['--fleet', '--root-dir', '--control-dir', '--data-dir']],
  ['up', ['--no-demo', '--demo-listen', '--control-listen', '--data-listen', '--data-admin-listen', '--database-url']],
  ['control-plane', ['--control-listen', '--database-url', '--allow-upstream-ranges', '--insecure-listen', '--issuer']],
  ['control-plane', ['--control-tls-cert', '--control-tls-key', '--lease', '--log-level', '--control-url', '--home']],
  ['data-plane', ['--data-listen', '--data-admin-listen', '--data-public-url', '--data-tls-cert', '--data-tls-key']],
  [
    'data-plane',
    ['--audit-spool-bytes', '--max-in-flight', '--server-timing', '--dpop-nonce', '--allow-upstream-ranges'],
  ],
  ['service create', [...service, ...releasing, '--pool']],
  ['service list', []],
  ['service get', []],
  ['service operations', ['--grep', '--json']],
  ['service update', [...service, ...releasing, '--clear', '--etag']],
  ['service delete', [...releasing, '--etag']],
  ['service scope set', [...releasing, '--rule', '--rules-file', '--etag']],
  ['service scope delete', [...releasing, '--etag']],
  ['caller create', bounds],
  ['caller update', [...bounds, '--no-admin', '--no-edits-scopes', '--clear', '--etag']],
  ['caller list', []],
  ['caller delete', ['--wait']],
  ['mint', ['--service', '--allow', '--ttl', '--client', '--subject', '--seal-stdin', '--dpop-jkt', '--batch']],
  ['exchange', ['--token-stdin', '--allow', '--ttl', '--client', '--dpop-jkt']],
  ['inspect', []],
  ['introspect', []],
  [
    'revoke',
    ['--jti', '--token', '--service', '--client', '--subject', '--caller', '--credential-id', '--minted-before'],
  ],
  ['nodes', ['--json']],
  ['node token', ['--pool', '--name', '--ttl']],
  ['node enroll', ['--token', '--name', '--root-fingerprint', '--data-dir']],
  ['node expel', ['--wait']],
  ['keys list', []],
  ['credentials reseal', ['--pool', '--out']],
  ['credentials apply', ['--json']],
  ['keys rotate', ['--pool', '--new-pool', '--compromised', '--root-dir', '--control-dir', '--data-dir']],
  ['keys retire', ['--force', '--wait']],
  ['snapshot history', ['--pool', '--limit']],
  ['snapshot show', ['--at', '--pool', '--kind']],
  ['snapshot diff', ['--pool']],
  ['snapshot verify', ['--fleet', '--pool', '--node', '--at-time']],
  ['snapshot pull', ['--pool', '--at', '--out']],
  ['snapshot test', ['--file', '--since', '--limit']],
  ['audit list', ['--service', '--client', '--jti', '--outcome', '--since', '--until', '--limit', '--json']],
  ['audit tail', ['--service', '--client', '--jti', '--outcome', '--since', '--dir', '--json']],
  ['snapshot history', ['--pool', '--limit', '--json']],
  ['snapshot show', ['--at', '--pool', '--kind']],
  ['snapshot diff', ['--pool', '--json']],
  ['snapshot verify', ['--root', '--fleet', '--pool', '--node', '--at-time']],
  ['snapshot pull', ['--at', '--out', '--pool']],
  ['snapshot test', ['--file', '--since', '--limit']],
  ['snapshot status', ['--pool']],
  ['snapshot promote', ['--pool', '--id', '--wait']],
  ['snapshot take-back', ['--pool', '--id', '--wait']],
  ['scope check', ['--body', '--header', '--encoded-slashes', '--json']],
  ['scope diff', ['--json']],
  ['import magic', ['--name', '--dry-run']],
  ['import lockbox', ['--dry-run']],
  ['version', []],
];

test.each(commands)('help of %s has an example and every flag', async (command, flags) => {
  const { code, out, err } = await daypass([...command.split(' '), '--help']);
  expect([code, err]).toEqual([0, '']);
  expect(out).toContain(`$ daypass ${command}`);
  for (const flag of flags) expect(out).toMatch(new RegExp(`(^|[\\s,])${flag}[\\s=]`, 'm'));
});

test('every command of the program stands in that table', () => {
  const program = buildProgram(context);
  const namesOf = (command: Command): readonly string[] =>
    command.commands.length === 0
      ? [command.name()]
      : command.commands.flatMap(namesOf).map((name) => `${command.name()} ${name}`);
  const names = program.commands.flatMap(namesOf);
  expect([...new Set(commands.map(([name]) => name))].sort()).toEqual(names.sort());
});

const ENROLMENT = `dpe_${'A'.repeat(43)}_${'A'.repeat(43)}`;

const wrong: readonly (readonly [args: readonly string[], field: string | undefined])[] = [
  [['nonsense'], undefined],
  [['mint', '--nonsense'], '--nonsense'],
  [['mint', '--batch', 'x.json'], '--service'],
  [['mint', '--service', 's', '--batch', 'there-is-none.json'], '--batch'],
  [['mint', '--service', 's', '--batch', 'x.json', '--allow', 'GET /a'], '--allow'],
  [['mint', '--service', 's', '--batch', 'x.json', '--seal-stdin'], '--seal-stdin'],
  [['service'], undefined],
  [[], undefined],
  [['service', 'create', 'x'], '--upstream'],
  [['service', 'create', 'x', '--upstream', 'ftp://x'], '--upstream'],
  [['service', 'create', 'x', '--upstream', 'https://x.example', '--credential', 'cookie'], '--credential'],
  [['service', 'create', 'x', '--upstream', 'https://x.example', '--credential', 'header:host'], '--credential'],
  [['service', 'create', 'x', '--upstream', 'https://x.example', '--ceiling', 'GET /a'], '--ceiling'],
  [['service', 'create', 'x', '--upstream', 'https://x.example', '--max-ttl', 'soon'], '--max-ttl'],
  [['service', 'create', 'x', '--upstream', 'https://x.example', '--wait', '6s'], '--wait'],
  [['service', 'create', 'x', '--upstream', 'https://x.example', '--limit-per-token', '100'], '--limit-per-token'],
  [['service', 'create', 'x', '--upstream', 'https://x.example', '--scope', 'a=nonsense'], '--scope'],
  [['service', 'create', 'x', '--upstream', 'https://x.example', '--secret-env', 'UNSET'], '--secret-env UNSET'],
  [['service', 'create', 'x', '--upstream', 'https://x.example', '--client', 'a', '--no-clients'], '--no-clients'],
  [['service', 'update', 'x'], undefined],
  [['service', 'update', 'x', '--clear', 'name'], '--clear'],
  [['service', 'create', 'x', '--upstream', 'https://a.example', '--max-ttl', '0'], '--max-ttl'],
  [['service', 'update', 'x', '--response-timeout', '0s'], '--response-timeout'],
  [['mint', '--allow', 'GET /a'], '--service'],
  [['mint', '--service', 'x'], '--allow'],
  [['mint', '--service', 'x', '--allow', 'nonsense'], '--allow'],
  [['mint', '--service', 'x', '--allow', 'GET /a', '--ttl', '1 day'], '--ttl'],
  [['exchange'], '--token-stdin'],
  [['exchange', '--allow', 'nonsense'], '--allow'],
  [['exchange', '--ttl', 'soon'], '--ttl'],
  [['caller', 'create', 'x', '--allow', 'GET /a'], '--allow'],
  [['caller', 'create', 'x', '--allow', 'a=nonsense'], '--allow'],
  [['caller', 'create', 'x', '--max-ttl', '0'], '--max-ttl'],
  [['caller', 'update', 'x'], undefined],
  [['caller', 'update', 'x', '--clear', 'name'], '--clear'],
  [['caller', 'update', 'x', '--clear', 'max-ttl', '--max-ttl', '1h'], '--clear'],
  [['service', 'scope', 'set', 'x', 'y'], '--rule'],
  [['service', 'scope', 'set', 'x', 'y', '--rule', 'nonsense'], '--rule'],
  [['service', 'scope', 'set', 'x', 'y', '--rules-file', 'no/such/file'], '--rules-file'],
  [['scope', 'check', 'nonsense', 'GET', '/a'], 'rule'],
  [['scope', 'check', 'GET /a', 'GET', '/a', '--header', 'nonsense'], '--header'],
  [['scope', 'check', 'GET /a', 'GET', '/a', '--body', 'no/such/file'], '--body'],
  [['scope', 'diff', 'no/such/file', 'GET /a'], 'old'],
  [['scope', 'diff', 'GET /a', 'GET /a where'], 'new'],
  [['revoke'], '--jti'],
  [['revoke', '--jti', 'a', '--service', 'b'], '--jti'],
  [['audit', 'list', '--outcome', 'good'], '--outcome'],
  [['audit', 'list', '--since', 'yesterday'], '--since'],
  [['audit', 'list', '--limit', '0'], '--limit'],
  [['init', '--fleet', 'not a uri'], '--fleet'],
  [['node', 'enroll'], '--token'],
  [['node', 'enroll', '--token', 'hunter2'], '--token'],
  [['node', 'enroll', '--token', ENROLMENT, '--root-fingerprint', 'x'], '--root-fingerprint'],
  [['node', 'enroll', '--token', ENROLMENT, '--control-url', 'nowhere'], '--control-url'],
  [['node', 'token', '--ttl', '25h'], '--ttl'],
  [['node', 'token', '--ttl', 'soon'], '--ttl'],
  [['node', 'expel', 'x', '--wait', '6s'], '--wait'],
  [['service', 'list', '--control-url', 'nowhere'], '--control-url'],
  [['service', 'list', '--api-key', 'hunter2'], '--api-key'],
];

test.each(wrong)('%j is refused as wrong usage, as one JSON object', async (args, field) => {
  const { code, out, err } = await daypass([...args, '--json']);
  expect([code, out]).toEqual([2, '']);
  const [line, ...others] = jsonLines(err);
  expect(others).toEqual([]);
  const error = line?.error as Record<string, unknown>;
  expect(error.code).toMatch(/^(invalid_argument|invalid_rule)$/);
  expect(error.field).toBe(field);
  expect(error.message).not.toContain('hunter2');
});

test('a person is told what is wrong with the arguments, and where help is', async () => {
  const { code, err } = await daypass(['mint', '--nonsense']);
  expect(code).toBe(2);
  expect(err).toContain("unknown option '--nonsense'");
  expect(err).toContain('daypass mint --help');
});

test('a control plane that is not there is exit code 3, naming its address', async () => {
  // Port 1 is never listened on here.
  const env = { DAYPASS_CONTROL_URL: 'http://127.0.0.1:1', DAYPASS_API_KEY: `dpk_${'A'.repeat(43)}` };
  const { code, out, err } = await daypass(['service', 'list', '--json'], { env });
  expect([code, out]).toEqual([3, '']);
  const error = jsonLines(err)[0]?.error as Record<string, unknown>;
  expect(error.code).toBe('unavailable');
  expect(error.message).toContain('http://127.0.0.1:1');
});

test.each([
  ['http://control.invalid', 1],
  ['https://control.invalid', 0],
  ['http://127.0.0.1:1', 0],
  ['http://[::1]:1', 0],
  ['http://localhost:1', 0],
])('an API key that goes over a network in the clear is noted: %s', async (url, notes) => {
  const env = { DAYPASS_CONTROL_URL: url, DAYPASS_API_KEY: `dpk_${'A'.repeat(43)}` };
  const { code, err } = await daypass(['service', 'list', '--json', '--timeout', '5s'], { env });
  const [line, ...others] = jsonLines(err);
  const error = line?.error as { readonly notes?: readonly string[] };
  expect([code, others.length, error.notes?.length ?? 0]).toEqual([3, 0, notes]);
  if (notes > 0) expect(error.notes?.[0]).toContain('without TLS');
});

test('no flag takes a secret as its value', () => {
  const flags = buildProgram(context).commands.flatMap((command) => [command, ...command.commands]);
  const named = flags
    .flatMap((command) => command.options.map((option) => option.flags))
    .filter((text) => /secret|seal/.test(text));
  expect([...new Set(named)].sort()).toEqual([
    '--seal-stdin',
    '--seal-ttl <duration>',
    '--secret-env <variable>',
    '--secret-stdin',
  ]);
});

test('version is one line, or one object', async () => {
  expect((await daypass(['version'])).out).toMatch(/^daypass \d+\.\d+\.\d+ \(Node v\d+/);
  expect(Object.keys(jsonLines((await daypass(['version', '--json'])).out)[0] ?? {})).toEqual(['version', 'node']);
});

test('an old Node is told in one sentence what to do', async () => {
  const pretend = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.0' } })";
  const args = [
    '--import',
    `data:text/javascript,${encodeURIComponent(pretend)}`,
    join(root, 'cli', 'daypass.mjs'),
    'version',
  ];
  const { code, stdout, stderr } = await run(process.execPath, args);
  expect([code, stdout]).toEqual([2, '']);
  expect(stderr).toMatch(/^Daypass needs Node .* 20\.20\.0: .*npx daypass.*\n$/);
});

test('an argument too many is not shown: it may be a token or a secret', async () => {
  for (const args of [
    ['revoke', 'canary-token'],
    ['--json', 'revoke', 'canary-token', 'more'],
  ]) {
    const { code, err } = await daypass(args);
    expect(code).toBe(2);
    expect(err).toContain('too many arguments');
    expect(err).not.toContain('canary');
  }
});
