// OpenAPI documents at the command line: what is read, what is said of it, and tokens for operations.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { daypass, jsonLines, type Result } from './fake-io.ts';
import { listenLocal } from './listen-local.ts';

let fleet: Fleet;
let upstream: Server;
let upstreamUrl: string;
let folder: string;
const seen: (string | undefined)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-openapi-'));
  upstream = createServer((request, response) => {
    seen.push(request.headers.authorization);
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

const cli = (args: readonly string[], stdin = ''): Promise<Result> => daypass(args, { stdin, env: fleet.env });

const must = async (args: readonly string[], stdin = ''): Promise<Result> => {
  const result = await cli(args, stdin);
  expect([result.code, result.err]).toEqual([0, expect.any(String)]);
  return result;
};

const fileOf = async (name: string, content: string | Uint8Array): Promise<string> => {
  const file = join(folder, name);
  await writeFile(file, content);
  return file;
};

const DOCUMENT = {
  openapi: '3.0.3',
  servers: [{ url: 'https://api.example.com/v1' }],
  paths: {
    '/pets/{pet}': {
      get: { operationId: 'pets/get', summary: 'One pet' },
      delete: { operationId: 'pets/delete' },
    },
    '/pets/mine': { get: { operationId: 'pets/mine' } },
    '/files/{path+}': { get: { operationId: 'files/get' } },
    '/files/{name}.zip': { post: { operationId: 'files/zip' } },
    '/nameless': { get: {} },
  },
};

const YAML = `openapi: 3.1.0
paths:
  /pets/{pet}:
    get: &get
      operationId: pets/get
      summary: One pet
    # An alias is the same operation once more, so neither has the id to itself.
    head: *get
  /pets:
    post: { operationId: pets/add }
`;

const ask = (path: string, token: string) =>
  fetch(`${fleet.dataUrl}/s/${path}`, { headers: { authorization: `Bearer ${token}` } });

test('a document is compiled, what it comes to is said, and its operations can be listed and searched', async () => {
  const file = await fileOf('pets.json', JSON.stringify(DOCUMENT));
  const { out, err } = await must(['service', 'create', 'pets', '--upstream', upstreamUrl, '--openapi', file]);
  expect(out).toContain('Rules may name 5 operations by op:ID');
  expect(err.split('\n')).toEqual([
    `note: 5 of 6 operations of ${file} were compiled; 1 not:`,
    '  GET /nameless: it has no operationId to name it by',
    'note: operations that end in `**`, where a value with slashes may stand (1): files/get',
    'note: operations that are `~` rules, which take no conditions (1): files/zip',
    expect.stringMatching(/^note: operations that take in requests of others.* \(1\): pets\/get \(pets\/mine\)$/),
    expect.stringMatching(
      /^note: the paths of .* begin at "https:\/\/api\.example\.com\/v1", and those of the service at/,
    ),
    '',
  ]);
  expect((await must(['service', 'operations', 'pets'])).out.split('\n')).toEqual([
    'ID           RULE                     SUMMARY',
    'files/get    GET /files/**',
    'files/zip    POST ~/files/[^/]+\\.zip',
    'pets/delete  DELETE /pets/{pet}',
    'pets/get     GET /pets/{pet}          One pet',
    'pets/mine    GET /pets/mine',
    '',
  ]);
  expect(jsonLines((await must(['service', 'operations', 'pets', '--grep', 'ONE', '--json'])).out)).toEqual([
    { id: 'pets/get', rule: 'GET /pets/{pet}', summary: 'One pet' },
  ]);
});

test('YAML is read as well, an update replaces all, and clearing takes all away', async () => {
  const file = await fileOf('pets.yaml', YAML);
  await must(['service', 'create', 'yaml', '--upstream', upstreamUrl]);
  const { out, err } = await must(['service', 'update', 'yaml', '--openapi', file, '--json']);
  expect(jsonLines(out)).toHaveLength(1);
  expect(jsonLines(err)).toEqual([
    {
      note: expect.stringMatching(
        /^1 of 3 operations of .* were compiled; 2 not:\n {2}pets\/get: several.*\n {2}pets\/get: /,
      ),
    },
  ]);
  const ids = async () => jsonLines((await must(['service', 'operations', 'yaml', '--json'])).out).map(({ id }) => id);
  expect(await ids()).toEqual(['pets/add']);
  await must(['service', 'update', 'yaml', '--clear', 'openapi']);
  expect(await ids()).toEqual([]);
  expect((await must(['service', 'operations', 'yaml'])).err).toContain('service update yaml --openapi FILE');
});

test('a token for an operation allows its requests, under its conditions', async () => {
  const { out } = await must(['mint', '--service', 'pets', '--allow', 'op:pets/get where path.pet in ["rex", "tom"]']);
  const token = out.trim();
  expect((await ask('pets/pets/rex', token)).status).toBe(200);
  expect((await ask('pets/pets/mine', token)).status).toBe(403);
  expect((await ask('pets/files/a', token)).status).toBe(403);
});

test('an operation that is not there is refused with those that are near', async () => {
  const { code, err } = await cli(['mint', '--service', 'pets', '--allow', 'op:pets/gett']);
  expect(code).toBe(1);
  expect(err).toContain('did you mean `op:pets/get`');
});

test('a seal holds what the operation stands for, and that is said', async () => {
  await must([
    'service',
    'create',
    'sealed',
    '--upstream',
    upstreamUrl,
    '--credential',
    'bearer',
    '--openapi',
    join(folder, 'pets.json'),
  ]);
  const args = ['mint', '--service', 'sealed', '--seal-stdin', '--allow', 'op:pets/get where path.pet = "rex"'];
  const { out, err } = await must(args, 'seal-canary\n');
  expect(err).toContain('note: op:pets/get is GET /pets/{pet} where path.pet = "rex", as the control plane says');
  seen.length = 0;
  expect((await ask('sealed/pets/rex', out.trim())).status).toBe(200);
  expect((await ask('sealed/pets/tom', out.trim())).status).toBe(403);
  expect(seen).toEqual(['Bearer seal-canary']);
});

test.each([
  ['op:pets/gets', 'no such operation'],
  ['op:files/zip where query.a = 1', 'takes no conditions'],
  ['op:pets/get where path.name = "x"', 'has no {name}; there is path.pet'],
])('sealing for %s is refused before anything is sealed', async (rule, why) => {
  const { code, out, err } = await cli(
    ['mint', '--service', 'sealed', '--seal-stdin', '--allow', rule],
    'seal-canary\n',
  );
  expect([code, out]).toEqual([2, '']);
  expect(err).toContain(why);
  expect(err).toContain('[invalid_rule]');
});

const bomb = ['a: &a0 [x, x, x, x, x, x, x, x, x]']
  .concat(Array.from({ length: 9 }, (_, i) => `b${i}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`))
  .join('\n');

test.each<[string, string, string | Uint8Array, RegExp]>([
  ['no JSON', 'a.json', '{"openapi":', /is no JSON/],
  ['no YAML', 'a.yaml', 'a: [', /is no YAML/],
  ['a document that grows without end', 'bomb.yaml', bomb, /is no YAML: Excessive alias count/],
  ['a nest without end', 'deep.yaml', '['.repeat(50_000), /is no YAML/],
  [
    'a path that is there twice',
    'twice.yaml',
    'openapi: 3.0.0\npaths:\n  /a: {}\n  /a: {}\n',
    /is no YAML: Map keys must be unique/,
  ],
  ['bytes that are no text', 'bytes.json', new Uint8Array([0x7b, 0xff, 0x7d]), /is not UTF-8/],
  ['something else', 'other.json', '{"hello":"world"}', /no OpenAPI 3 or Swagger 2\.0 document/],
  ['no operation at all', 'none.json', '{"openapi":"3.0.0","paths":{}}', /no operation of .* can be used; it has none/],
  [
    'no operation that has a name',
    'nameless.json',
    '{"openapi":"3.0.0","paths":{"/a":{"get":{}}}}',
    /can be used; as in GET \/a: it has no operationId/,
  ],
  [
    'operations that fit no message',
    'large.json',
    JSON.stringify({
      openapi: '3.0.0',
      paths: Object.fromEntries(
        Array.from({ length: 9000 }, (_, i) => [
          `/${'p'.repeat(300)}/${i}`,
          { get: { operationId: `${'i'.repeat(190)}${i}` } },
        ]),
      ),
    }),
    /the 9000 operations of .* come to \d+ bytes, and the control plane takes \d+/,
  ],
])('%s is refused, and the file named', async (_, name, content, why) => {
  const file = await fileOf(name, content);
  const { code, err } = await cli(['service', 'create', 'bad', '--upstream', upstreamUrl, '--openapi', file]);
  expect([code, err]).toEqual([2, expect.stringMatching(why)]);
  expect(err).toContain(file);
  expect((await cli(['service', 'get', 'bad'])).code).toBe(1);
});

test('a file that is not there is named', async () => {
  const { code, err } = await cli(['service', 'update', 'pets', '--openapi', join(folder, 'nowhere.json')]);
  expect([code, err]).toEqual([2, expect.stringContaining('nowhere.json cannot be read: ')]);
});

test('scope check says where the rule of an operation is found', async () => {
  const { code, err } = await cli(['scope', 'check', 'op:pets/get', 'GET', '/pets/rex']);
  expect([code, err]).toEqual([1, expect.stringContaining('daypass service operations NAME --grep pets/get')]);
});
