// Bounded callers, exchanged tokens and named scopes on the command line, against running planes.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { daypass, jsonLines, type Result } from './fake-io.ts';
import { listenLocal } from './listen-local.ts';

const JKT = 'NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs';

let fleet: Fleet;
let upstream: Server;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-callers-'));
  upstream = createServer((_, response) => response.end('fine'));
  const url = await listenLocal(upstream);
  fleet = await startFleet();
  for (const name of ['github', 'stripe']) {
    await must(['service', 'create', name, '--upstream', url, '--insecure-upstream', '--scope', 'triage=GET /issues']);
  }
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
): Promise<Result> => {
  const result = await cli(args, stdin, env);
  expect([result.code, args, result.err]).toEqual([0, args, expect.any(String)]);
  return result;
};

const refusalOf = async (args: readonly string[], stdin = '', env: Readonly<Record<string, string>> = {}) => {
  const { code, out, err } = await cli([...args, '--json'], stdin, env);
  expect([code, out]).toEqual([1, '']);
  const { error } = jsonLines(err).at(-1) as { error: { code: string; field?: string; message: string } };
  return error;
};

const statusOf = async (path: string, token: string): Promise<number> => {
  const response = await fetch(`${fleet.dataUrl}/s/${path}`, { headers: { authorization: `Bearer ${token}` } });
  await response.text();
  return response.status;
};

const callerOf = async (name: string) =>
  jsonLines((await must(['caller', 'list', '--json'])).out).find((caller) => caller.name === name);

test('a caller is made with bounds, shown with them, and minted for within them', async () => {
  const flags = ['--service', 'github', '--allow', 'github=GET /repos/acme/**', 'github=scope:triage'];
  const bounds = ['--max-ttl', '1h', '--client', 'bot', 'bot-2', '--subject', 'ann', '--edits-scopes'];
  const made = await must(['caller', 'create', 'bot', ...flags, ...bounds]);
  const env = { DAYPASS_API_KEY: made.out.trim() };
  expect(made.err).not.toContain('any rule');
  expect((await must(['caller', 'list'])).out).toMatch(
    /bot +github \(within 2 rules\) +at most 1h; as bot, bot-2; for ann; edits scopes +\d{4}-/,
  );
  expect(await callerOf('bot')).toMatchObject({
    ceilings: { github: { rules: ['GET /repos/acme/**', 'scope:triage'] } },
    maxTtl: '3600s',
    clients: { labels: ['bot', 'bot-2'] },
    subjects: { subjects: ['ann'] },
    editsScopes: true,
  });
  const mint = ['mint', '--service', 'github', '--client', 'bot', '--subject', 'ann', '--allow'];
  const { out: token } = await must([...mint, 'GET /repos/acme/site'], '', env);
  expect(await statusOf('github/repos/acme/site', token.trim())).toBe(200);
  const wider = await refusalOf([...mint, 'GET /repos/{owner}/site'], '', env);
  expect(wider).toMatchObject({ code: 'permission_denied', field: 'allow[0]' });
  expect(wider.message).toContain('decided by `the path`, against `GET /repos/acme/**`');
  const label = ['mint', '--service', 'github', '--client', 'other', '--allow', 'scope:triage'];
  expect(await refusalOf(label, '', env)).toMatchObject({ code: 'permission_denied', field: 'client' });
});

test('what a caller has no ceiling for is said when it is made or changed', async () => {
  const made = await must(['caller', 'create', 'open', '--service', 'github', 'stripe', '--allow', 'github=GET /a']);
  expect(made.err).toContain('it may mint any rule for stripe');
  const changed = await must(['caller', 'update', 'open', '--clear', 'allow']);
  expect(changed.err).toContain('it may mint any rule for github, stripe');
});

test('update changes what its flags name, keeps the ceilings of other services, and drops those of services that go', async () => {
  const ceilings = ['github=GET /a', 'github=GET /b', 'stripe=GET /c'];
  await must(['caller', 'create', 'keep', '--service', 'github', 'stripe', '--max-ttl', '1h', '--allow', ...ceilings]);
  const changed = await must(['caller', 'update', 'keep', '--allow', 'github=GET /z']);
  expect(changed.out).toBe('Changed keep: ceilings. Tokens that are out stay as they are.\n');
  expect(await callerOf('keep')).toMatchObject({
    services: ['github', 'stripe'],
    ceilings: { github: { rules: ['GET /z'] }, stripe: { rules: ['GET /c'] } },
    maxTtl: '3600s',
  });
  await must(['caller', 'update', 'keep', '--service', 'stripe', '--edits-scopes', '--clear', 'max-ttl']);
  const after = await callerOf('keep');
  expect(after).toMatchObject({ services: ['stripe'], ceilings: { stripe: { rules: ['GET /c'] } }, editsScopes: true });
  expect(after).not.toHaveProperty('maxTtl');
  await must(['caller', 'update', 'keep', '--no-edits-scopes']);
  expect(await callerOf('keep')).toMatchObject({ editsScopes: false, ceilings: { stripe: { rules: ['GET /c'] } } });
  expect(await refusalOf(['caller', 'update', 'nobody', '--service', 'github'])).toMatchObject({ code: 'not_found' });
  expect(await refusalOf(['caller', 'update', 'keep', '--max-ttl', '1h', '--etag', 'old'])).toMatchObject({
    code: 'etag_stale',
  });
  expect(await refusalOf(['caller', 'update', 'admin', '--max-ttl', '1h'])).toMatchObject({
    code: 'failed_precondition',
  });
});

test('a token is exchanged for a narrower one, which ends with it', async () => {
  const mint = ['mint', '--service', 'github', '--allow', 'GET /a/**', '--client', 'agent', '--subject', 'ann'];
  const parent = (await must(mint)).out.trim();
  const narrow = ['exchange', '--allow', 'GET /a/b', '--ttl', '2m', '--client', 'tool'];
  const child = (await must([...narrow, '--token-stdin'], `${parent}\n`)).out.trim();
  expect([await statusOf('github/a/b', child), await statusOf('github/a/c', child)]).toEqual([200, 403]);
  const fromEnv = jsonLines((await must(['exchange', '--json'], '', { DAYPASS_TOKEN: child })).out);
  expect(fromEnv).toMatchObject([{ token: expect.any(String), allow: ['GET /a/b'] }]);
  const shown = (await must(['introspect', '-'], child)).out;
  expect(shown).toMatch(/acted for by +tool\n/);
  expect(shown).toMatch(/exchanged from +[0-9a-f]{32}\n/);
  expect((await must(['inspect', '-'], child)).out).toMatch(/acted for by \(act\) +tool\n/);
  const wider = await refusalOf(['exchange', '--allow', 'GET /a/**', '--token-stdin'], child);
  expect(wider).toMatchObject({ code: 'permission_denied', field: 'allow[0]' });
  await must(['revoke', '--token', '-'], parent);
  expect(await statusOf('github/a/b', child)).toBe(401);
  expect(await refusalOf(['exchange', '--token-stdin'], child)).toMatchObject({ field: 'subject_token' });
  const none = await cli(['exchange', '--json']);
  expect([none.code, none.out]).toEqual([2, '']);
});

test('a token bound to a key is shown as bound', async () => {
  const token = (await must(['mint', '--service', 'github', '--allow', 'GET /a', '--dpop-jkt', JKT])).out;
  expect((await must(['introspect', '-'], token)).out).toContain(JKT);
  expect((await must(['inspect', '-'], token)).out).toContain(JKT);
});

test('a file of tokens is minted in one call, in its order, all or none', async () => {
  const file = join(folder, 'batch.json');
  const mint = ['mint', '--service', 'github', '--batch', file];
  const first = { allow: ['GET /a'], client: 'one', subject: 'ann', ttl: '1m', dpop_jkt: JKT };
  await writeFile(file, JSON.stringify([first, { allow: ['GET /b', 'scope:triage'] }]));
  const [one = '', two = ''] = (await must(mint)).out.trim().split('\n');
  expect((await must(['inspect', '-'], one)).out).toContain(JKT);
  expect([await statusOf('github/b', two), await statusOf('github/a', two)]).toEqual([200, 403]);
  expect(jsonLines((await must([...mint, '--json'])).out).map(({ allow }) => allow)).toEqual([
    ['GET /a'],
    ['GET /b', 'scope:triage'],
  ]);
  await writeFile(file, JSON.stringify([first, { allow: ['scope:none'] }]));
  expect(await refusalOf(mint)).toMatchObject({ code: 'invalid_rule', field: 'tokens[1].allow[0]' });
});

test.each([
  ['no array', '{}', '--batch'],
  ['no strict JSON', '[{"allow":["GET /a"],"allow":["* /**"]}]', '--batch'],
  ['a member that is none', '[{"allow":["GET /a"],"client_id":"x"}]', '--batch'],
  ['no rules', '[{"client":"x"}]', '--batch'],
  ['a rule that is none', '[{"allow":["GET a"]}]', '--batch, tokens[0].allow'],
  ['a lifetime that is none', '[{"allow":["GET /a"],"ttl":"soon"}]', '--batch, tokens[0].ttl'],
])('a file of tokens with %s is refused before anything is asked', async (_name, text, field) => {
  const file = join(folder, 'wrong.json');
  await writeFile(file, text);
  const { code, err } = await cli(['mint', '--service', 'github', '--batch', file, '--json']);
  expect([code, jsonLines(err).at(-1)]).toMatchObject([2, { error: { field } }]);
});

test('a named scope is set by a rule or a file, counts at once, and is removed', async () => {
  const token = (await must(['mint', '--service', 'github', '--allow', 'scope:triage'])).out.trim();
  expect([await statusOf('github/issues', token), await statusOf('github/labels', token)]).toEqual([200, 403]);
  const file = join(folder, 'rules.txt');
  await writeFile(file, '# triage\nGET /labels\n\nGET /issues\n');
  const set = await must(['service', 'scope', 'set', 'github', 'triage', '--rules-file', file]);
  expect(set.out).toContain('scope:triage of github holds 2 rules.');
  expect([await statusOf('github/issues', token), await statusOf('github/labels', token)]).toEqual([200, 200]);
  const rules = ['--rule', 'GET /labels', 'HEAD /labels'];
  const { service } = jsonLines(
    (await must(['service', 'scope', 'set', 'github', 'triage', ...rules, '--json'])).out,
  )[0] as {
    service: { scopes: unknown };
  };
  expect(service.scopes).toEqual({ triage: { rules: ['GET /labels', 'HEAD /labels'] } });
  const removed = await must(['service', 'scope', 'delete', 'github', 'triage']);
  expect(removed.out).toContain('Removed scope:triage of github.');
  expect(await statusOf('github/labels', token)).toBe(403);
  expect(await refusalOf(['service', 'scope', 'delete', 'github', 'triage'])).toMatchObject({ code: 'not_found' });
});
