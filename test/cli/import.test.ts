// Importing the configuration of the ancestors: what is carried over, what is left behind, and that nothing widens.

import { fileURLToPath } from 'node:url';
import { findAmbiguity } from '@daypass/core/ambiguity';
import type { JsonValue } from '@daypass/core/json';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { parseRule } from '@daypass/core/rule-parse';
import { expect, test } from 'vitest';
import { parseLenientJson } from '../../cli/import/lenient-json.ts';
import { planLockbox } from '../../cli/import/lockbox.ts';
import { planMagic } from '../../cli/import/magic.ts';
import { convertPattern } from '../../cli/import/pattern.ts';
import { daypass, jsonLines } from './fake-io.ts';

const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
const magic = (config: JsonValue) => planMagic(config, { name: 'api', insecureUpstream: false });
const lockbox = (services: JsonValue) => planLockbox({ services }, { insecureUpstream: false });
const first = (services: JsonValue) => lockbox({ one: services }).services[0];

test('comments and trailing commas are read as nothing, and all else is strict', () => {
  expect(parseLenientJson('{"a": 1, // one\n "b": ["x//y", "/* z */",], /* two\n */ }')).toEqual({
    a: 1,
    b: ['x//y', '/* z */'],
  });
  for (const wrong of ['{"a":1,,}', '{a:1}', "{'a':1}", '{"a":1,"a":2}', '/* never ends {}', '[,]', '{"a":"x,}'])
    expect(() => parseLenientJson(wrong), wrong).toThrow();
});

test('a magic-api-proxy configuration becomes one service with its named scopes', async () => {
  const { code, out } = await daypass([
    'import',
    'magic',
    fixture('magic.json'),
    '--name',
    'forge',
    '--dry-run',
    '--json',
  ]);
  expect(code).toBe(0);
  const [created, ...notes] = jsonLines(out);
  expect(created).toMatchObject({
    kind: 'service',
    created: false,
    service: {
      name: 'forge',
      upstream: 'https://api.forge.example',
      place: { kind: 'KIND_BEARER' },
      sealedCredential: '',
      anonymous: false,
      scopes: {
        triage: {
          rules: [
            'GET ~/user',
            'GET ~/repos/acme/.+?/issues',
            'POST ~/repos/+?/+?/issues/+?/labels',
            '* ~/repos/acme/site/labels',
          ],
        },
        lookahead: { rules: ['DELETE ~/repos/acme/site/issues/\\d+'] },
      },
    },
  });
  const of = (kind: string) => notes.filter((note) => note.kind === kind).map((note) => note.path);
  expect(of('rule')).toHaveLength(5);
  expect(of('not_imported')).toEqual([
    ...['public_access', 'keys_location', 'plugins_location', 'scope only_dns_record'],
    ...['scopes.lookahead[0]', 'scopes.lookahead[1]', 'scopes.only_dns_record'],
  ]);
});

test('without an api_root it is the API of GitHub, named after its host', () => {
  expect(planMagic({}, { insecureUpstream: false }).services[0]?.fields).toMatchObject({
    name: 'api-github-com',
    upstream: 'https://api.github.com',
  });
});

// What theirs did: the method as written, the pattern from the start of the path, in any case.
const theirs = (rule: string, method: string, path: string): boolean => {
  const space = rule.indexOf(' ');
  const allowed = rule.slice(0, space);
  return (
    (allowed === '*' || allowed === method) &&
    new RegExp(`^(?:${rule.slice(space + 1)})`, 'i').test(decodeURIComponent(path))
  );
};

const paths = [
  ...['/user', '/users', '/USER', '/user/', '/user/keys', '/use', '/', '/repos/acme/site/issues', '/repos/acme/issues'],
  ...['/repos/acme/a/b/issues', '/repos/acme/site/issues/7', '/repos/Acme/site/issues', '/x/user', '/a.b', '/axb'],
  ...['/repos/acme/site/issues/7/labels', '/user%2F', '/a-b', '/a_b', '/aa', '/aaa', '/[a]', '/a+b', '/7', '/77'],
  ...['/a%3Fb', '/a%3Fb/x', '/%3F', '/a%20', '/a%20b', '/caf%C3%A9', '/a%20/x0', '/x%200', '/a/%20/x0', '/a/%3F/b%20'],
];

const rules = [
  ...['GET /user', 'GET /.*', '* /repos/acme/.+?/issues', 'GET /use.?', 'GET /user|/repos', 'GET /(user|repos/.*)'],
  ...['GET /[a-z]+', 'GET /[^/]+$', 'GET /a{1,2}', 'GET /\\d+', 'GET /a\\.b', 'GET .*', 'GET user', 'GET ^/user$'],
  ...['GET /(?i:user)', 'GET (?i)/USER', 'GET /(?P<n>a+)', 'GET /\\x61+', 'GET /[]a]+', 'GET /a\\+b', 'GET /\\W?a'],
  ...[
    'GET /[^?]+$',
    'GET /[^?]+/x',
    'GET /.{3}$',
    'GET /.+0$',
    'GET /\\W\\w\\w$',
    'GET /\\S+/x',
    'GET /\\D+$',
    'GET /a/.+/x0',
    'GET /a/.+?',
  ],
];

test.each(rules)('an imported %s allows nothing that it did not allow before', (rule) => {
  const { services, notes } = magic({ scopes: { s: [rule] } });
  const imported = services[0]?.fields.scopes?.s?.rules ?? [];
  expect(imported, JSON.stringify(notes)).toHaveLength(1);
  const compiled = compileRules(imported.map(parseRule));
  const python = rule.replaceAll('(?P<', '(?<').replace('(?i)', '').replace('[]a]', '[\\]a]');
  for (const method of ['GET', 'POST', 'get'])
    for (const path of paths)
      if (findAmbiguity(path, false) === undefined && matchRules(compiled, method, path) !== undefined)
        expect(theirs(python, method, path), `${method} ${path}`).toBe(true);
});

test('GET /user no longer allows what only starts so, or another case', () => {
  const compiled = compileRules([
    parseRule(magic({ scopes: { s: ['GET /user'] } }).services[0]?.fields.scopes?.s?.rules?.[0] ?? ''),
  ]);
  expect(paths.filter((path) => matchRules(compiled, 'GET', path) !== undefined)).toEqual(['/user']);
});

test.each([
  ...['/(?=a)', '/(?!a)', '/(?<=a)b', '/(?<n>a)', '/(a)\\1', '/\\Qa.b\\E', '/\\pL', '/\\Z', '/\\z', '/\\A', '/\\07'],
  ...['/[[:alpha:]]', '/[a&&b]', '/[a--b]', '/a++', '/a*+', '/a{,3}', '/{a}', '/(?x)a', '/a(?i)b', '/(?#note)', '/a b'],
  ...['/(?P=n)', '/(?P>n)', '/[a', '/\\C', '/é', '/a\\', '/a%20b', '/\\x25', '/[!-~]', '/[%a]'],
])('the pattern %s is left behind: it does not mean the same here', (pattern) => {
  expect(convertPattern(pattern)).toHaveProperty('problem');
  const { services, notes } = magic({ scopes: { s: [`GET ${pattern}`] } });
  expect(services[0]?.fields.scopes?.s?.rules).toEqual([]);
  expect(notes).toContainEqual(expect.objectContaining({ kind: 'not_imported', path: 'scopes.s[0]' }));
});

test.each([
  'get /a',
  'GET,POST /a',
  'GET  /a',
  'CONNECT /a',
])('the rule %s, which never allowed anything, stays so', (rule) => {
  expect(magic({ scopes: { s: [rule] } }).services[0]?.fields.scopes?.s?.rules).toEqual([]);
});

test('more patterns than a scope may have are left behind by name', () => {
  const many = Array.from({ length: 70 }, (_, index) => `GET /${index}`);
  const { services, notes } = magic({ scopes: { s: many } });
  expect(services[0]?.fields.scopes?.s?.rules).toHaveLength(64);
  expect(notes.filter((note) => note.kind === 'not_imported')).toHaveLength(6);
});

test('all that is wrong with a magic-api-proxy file is named at once', () => {
  const { services, problems } = magic({
    api_root: 'ftp://x',
    scopes: { 'bad name': [], s: 'GET /a', t: ['nonsense', 7] },
  });
  expect(services).toEqual([]);
  expect(problems.map((problem) => problem.path)).toEqual([
    'api_root',
    'scopes.bad name',
    'scopes.s',
    'scopes.t[0]',
    'scopes.t[1]',
  ]);
  expect(magic([]).problems).toHaveLength(1);
});

test('a lockbox configuration in the form of its own sample becomes its services', async () => {
  const { code, out } = await daypass(['import', 'lockbox', fixture('lockbox.json'), '--dry-run', '--json']);
  expect(code).toBe(0);
  const lines = jsonLines(out);
  const services = lines
    .filter((line) => line.kind === 'service')
    .map((line) => line.service as Record<string, unknown>);
  expect(services.map((service) => [service.name, service.anonymous, service.clients])).toEqual([
    ['forge-public', true, undefined],
    ['forge-public-behind-token', false, undefined],
    ['forge-private-behind-token', false, { labels: ['hook_runner'] }],
    ['slow-example', false, undefined],
  ]);
  expect(services[0]).toMatchObject({
    upstream: 'https://api.forge.example',
    connectTimeout: '5s',
    responseTimeout: '30s',
  });
  expect(services[3]).toMatchObject({ connectTimeout: '10s', responseTimeout: '300s' });
  expect(lines.filter((line) => line.kind === 'not_imported').map((line) => line.path)).toEqual([
    ...['audit_log', 'services.forge_public._comment', 'services.slow_example.allow_redirects'],
  ]);
  expect(lines.find((line) => line.path === 'audit_log')?.text).toContain('--dir /var/tmp/lockbox_audit_log');
});

test('a lockbox configuration with the comments of its README is read too', async () => {
  const { code, out } = await daypass(['import', 'lockbox', fixture('lockbox-commented.json'), '--dry-run']);
  expect(code).toBe(0);
  expect(out).toContain('would create bare for https://api.forge.example; no credential\n');
});

test('no secret of an imported file is shown, in any form of output', async () => {
  for (const name of ['lockbox.json', 'lockbox-commented.json'])
    for (const form of [[], ['--json']]) {
      const { out, err } = await daypass(['import', 'lockbox', fixture(name), '--dry-run', ...form]);
      expect(out + err).not.toContain('canary');
    }
});

test('a service is open to everybody only where the file says so and no credential is given away', () => {
  const credential = { type: 'bearer', token: 'abc' };
  const base_url = 'https://a.example';
  expect(first({ base_url, requires_service_token: false })?.fields.anonymous).toBe(true);
  expect(first({ base_url, requires_service_token: null })?.fields.anonymous).toBe(false);
  expect(first({ base_url })?.fields.anonymous).toBe(false);
  expect(first({ base_url, requires_service_token: false, credential })?.fields.anonymous).toBe(false);
  const { notes } = lockbox({ one: { base_url, requires_service_token: null } });
  expect(notes).toContainEqual(
    expect.objectContaining({ path: 'services.one.requires_service_token', kind: 'changed' }),
  );
});

test.each([
  [{ type: 'bearer', token: 'abc' }, { kind: 'bearer' }, 'abc'],
  [{ token: 'abc' }, { kind: 'bearer' }, 'abc'],
  [{ type: 'basic', username: 'u', password: 'p:q' }, { kind: 'basic' }, 'u:p:q'],
  [{ type: 'headers', headers: { 'X-Key': 'abc' } }, { kind: 'header', name: 'x-key', template: '{secret}' }, 'abc'],
  [{ headers: { Authorization: 'Bearer abc' } }, { kind: 'bearer' }, 'abc'],
  [
    { headers: { authorization: 'Token abc' } },
    { kind: 'header', name: 'authorization', template: 'Token {secret}' },
    'abc',
  ],
  [
    { headers: { A: 'x', Authorization: 'abc' } },
    { kind: 'header', name: 'authorization', template: '{secret}' },
    'abc',
  ],
])('the credential %j goes to its place', (credential, place, secret) => {
  const service = first({ base_url: 'https://a.example', credential });
  expect(service?.place).toEqual(place);
  expect(service?.secret?.reveal()).toBe(secret);
});

test('of several headers one is sealed, and no other is kept in the clear', () => {
  const headers = { 'X-Org': 'also-secret', 'X-Key': 'abc' };
  const { services, notes } = lockbox({ one: { base_url: 'https://a.example', credential: { headers } } });
  expect(services[0]?.place).toMatchObject({ name: 'x-org' });
  expect(services[0]?.fields.cleaning).toBeUndefined();
  expect(notes).toContainEqual(
    expect.objectContaining({ kind: 'not_imported', path: 'services.one.credential.headers.X-Key' }),
  );
});

test.each([
  [null, undefined],
  [[], { labels: [] }],
  [['a', 'b'], { labels: ['a', 'b'] }],
])('the audiences %j become the client labels %j', (valid_audiences, clients) => {
  expect(first({ base_url: 'https://a.example', valid_audiences })?.fields.clients).toEqual(clients);
});

test('all that is wrong with a lockbox file is named at once, without its secrets', () => {
  const { services, problems } = lockbox({
    fine: { base_url: 'https://a.example' },
    'no/name': { base_url: 'https://a.example' },
    A_b: { base_url: 'https://a.example' },
    'a-b': { base_url: 'https://user:canary@a.example' },
    many: {
      base_url: 'gopher://a.example',
      credential: { type: 'bearer', token: 'two canary words' },
      requires_service_token: 'no',
      valid_audiences: ['a b', 7],
      connect_timeout: 0,
      read_timeout: '30',
      allow_redirects: 'yes',
    },
    basic: { base_url: 'https://a.example', credential: { type: 'basic', username: 'u:canary', password: 'p' } },
    other: { base_url: 'https://a.example', credential: { type: 'cookie' } },
    text: 'https://a.example',
  });
  expect(services).toEqual([]);
  expect(problems.map((problem) => problem.path)).toEqual([
    ...['services.no/name', 'services.a-b', 'services.a-b.base_url', 'services.many.base_url'],
    ...['services.many.credential.token', 'services.many.requires_service_token', 'services.many.valid_audiences[0]'],
    ...['services.many.valid_audiences[1]', 'services.many.connect_timeout', 'services.many.read_timeout'],
    ...['services.many.allow_redirects', 'services.basic.credential.username', 'services.other.credential.type'],
    'services.text',
  ]);
  expect(JSON.stringify(problems)).not.toContain('canary');
});

test.each([
  ['magic', 'nowhere.json', 'nowhere.json'],
  ['lockbox', fixture('magic.json'), 'services'],
  ['magic', fixture('magic-plugins/only_dns_record.py'), 'only_dns_record.py'],
])('import %s %s is refused, naming the file', async (kind, file, named) => {
  const { code, out, err } = await daypass(['import', kind, file, '--json']);
  expect([code, out]).toEqual([2, '']);
  const error = jsonLines(err)[0]?.error as Record<string, string>;
  expect(error.message).toContain(file);
  expect(error.field).toContain(named);
});

test.each([
  ['/repos/.+?/issues', '/repos/.+?/issues'],
  ['/repos/[^/]+/issues/.*', '/repos/[^/]+/issues/.*'],
  ['/a.b', '/a[^%]b'],
  ['/x.+', '/x[^%]+'],
  ['/[^?]+', '/[^?%]+'],
  ['/\\W', '/[^\\w%]'],
])('%s is carried over as %s', (pattern, expected) => {
  expect(convertPattern(pattern)).toEqual({ pattern: expected });
});
