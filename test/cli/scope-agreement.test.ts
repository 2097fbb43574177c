// `daypass scope check` answers as the data plane does: each request is asked of both, and both give the same code.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Fixture, startFixture } from '../data-plane/fixture.ts';
import { ask, codeIn, type Recorder, startRecorder } from '../data-plane/recorder.ts';
import { daypass, jsonLines } from './fake-io.ts';

let folder: string;
let upstream: Recorder;
let data: Fixture;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-agreement-'));
  upstream = await startRecorder();
  const one = { name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true };
  data = await startFixture({ services: [one, { ...one, name: 'slashes', is_default: false, encoded_slashes: true }] });
});

afterAll(async () => {
  await data?.[Symbol.asyncDispose]();
  upstream?.[Symbol.dispose]();
  await rm(folder, { recursive: true, force: true });
});

type Asked = {
  readonly fields?: readonly string[];
  readonly body?: string;
};

const JSON_TYPE = 'Content-Type: application/json';
const LABELS = 'POST /a where body.labels[*] in ["bug"]';
const TOOL = 'mcp /a tools/call t where arg.x = 1';
const FIELD = 'graphql /a query f where arg.x = "y"';
const call = (name: string, x: unknown) =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name, arguments: { x } } });

const rows: readonly (readonly [string, string, string, Asked?])[] = [
  ['GET /a/{x}', 'GET', '/a/b'],
  ['GET /a/{x}', 'GET', '/a/'],
  ['GET /a/{x}', 'HEAD', '/a/b'],
  ['* /**', 'TRACE', '/a'],
  ['* /**', 'get', '/a'],
  ['* /**', 'GET', '/a/../b'],
  ['* /**', 'GET', '/a/%2e%2e/b'],
  ['* /**', 'GET', '/a//b'],
  ['* /**', 'GET', '/a;b/c'],
  ['* /**', 'GET', '/a%2Fb'],
  ['* /**', 'GET', '/a%5cb'],
  ['* /**', 'GET', '/a?b=/../c'],
  ['GET ~/a/.+', 'GET', '/a/b/c'],
  ['GET ~/a/.+', 'GET', '/b/a/c'],
  ['GET /a where query.q = "x y"', 'GET', '/a?q=x+y'],
  ['GET /a where query.q = "x"', 'GET', '/a?q=x&Q=y'],
  ['GET /a where query.q = "x"', 'GET', '/a?q=x&%zz'],
  ['GET /a where query.q <= 5', 'GET', '/a?q=5.0'],
  ['GET /a where query.q <= 5', 'GET', '/a?q=1e1'],
  ['GET /a where absent query._method', 'GET', '/a?_method=DELETE'],
  ['GET /a where query._method = "DELETE"', 'GET', '/a?_method=DELETE'],
  ['GET /a where header.x-a = "b"', 'GET', '/a', { fields: ['X-A: b'] }],
  ['GET /a where header.x-a = "b"', 'GET', '/a', { fields: ['X-A: b', 'X-A: b'] }],
  ['GET /a where header.x-a = "b"', 'GET', '/a', { fields: ['X-A: b', 'Connection: X-A'] }],
  ['GET /a where absent header.x-a', 'GET', '/a', { fields: ['X-A: b', 'Connection: X-A'] }],
  [LABELS, 'POST', '/a'],
  [LABELS, 'POST', '/a', { body: '{"labels":["bug"]}' }],
  [LABELS, 'POST', '/a', { body: '{"labels":["bug","p0"]}' }],
  [LABELS, 'POST', '/a', { body: '{"labels":["bug"],"Labels":[]}' }],
  [LABELS, 'POST', '/a', { body: '{"labels":["bug"],"labels":["p0"]}' }],
  [LABELS, 'POST', '/a', { body: '{"labels":["bug"]}', fields: ['Content-Type: text/plain'] }],
  [LABELS, 'POST', '/a', { body: '{"labels":["bug"]}', fields: [JSON_TYPE, 'Connection: content-type'] }],
  [LABELS, 'POST', '/a', { body: '{"labels":["bug"]}', fields: [JSON_TYPE, 'Content-Encoding: gzip'] }],
  [LABELS, 'POST', '/a', { body: `{"labels":["bug"],"x":"${'x'.repeat(1024 * 1024)}"}` }],
  ['POST /a', 'POST', '/a', { body: `{"x":"${'x'.repeat(1024 * 1024)}"}` }],
  [TOOL, 'POST', '/a', { body: call('t', 1) }],
  [TOOL, 'POST', '/a?x', { body: call('t', 1) }],
  [TOOL, 'POST', '/a', { body: call('u', 1) }],
  [TOOL, 'POST', '/a', { body: `[${call('t', 1)}]` }],
  [TOOL, 'POST', '/a', { body: `[${call('t', 1)},${call('t', 2)}]` }],
  ['mcp /a response', 'POST', '/a', { body: '{"jsonrpc":"2.0","id":1,"result":{}}' }],
  [FIELD, 'POST', '/a', { body: '{"query":"{ f(x: \\"y\\") }"}' }],
  [FIELD, 'POST', '/a', { body: '{"query":"{ f(x: \\"z\\") }"}' }],
  [FIELD, 'GET', '/a?query=%7Bf%7D'],
];

const byDataPlane = async (rule: string, method: string, target: string, asked: Asked): Promise<unknown> => {
  const token = await data.mint({ allowed: [rule] });
  const { body, fields = body === undefined ? [] : [JSON_TYPE] } = asked;
  const answer = await ask(data.port, target, { method, token, fields, ...(body === undefined ? {} : { body }) });
  if (answer.status === 200) return 'allowed';
  return method === 'HEAD' || method === 'get' || answer.body === '' ? answer.status : codeIn(answer);
};

const byCommand = async (rule: string, method: string, target: string, { fields = [], body }: Asked) => {
  const headers = fields.flatMap((field) => ['--header', field]);
  const file = join(folder, 'body');
  if (body !== undefined) await writeFile(file, body);
  const bodyFile = body === undefined ? [] : ['--body', file];
  const { out } = await daypass(['scope', 'check', rule, method, target, ...headers, ...bodyFile, '--json']);
  const [answer] = jsonLines(out);
  return answer?.allowed === true ? 'allowed' : answer?.code;
};

test.each(
  rows.map(([rule, method, target, asked = {}]) => [rule, method, target, asked] as const),
)('%s, asked %s %s', async (rule, method, target, asked) => {
  const [here, there] = [await byCommand(rule, method, target, asked), await byDataPlane(rule, method, target, asked)];
  if (typeof there === 'number') expect([here !== 'allowed', there >= 400]).toEqual([true, true]);
  else expect(here).toBe(there);
});

test.each([
  '/a%2Fb',
  '/a%2F%2e%2e',
  '/a%2F..',
  '/a%252Fb',
  '/a%5Cb',
  '/a%2F%2Fb',
])('with encoded slashes allowed, %s', async (target) => {
  const { out } = await daypass(['scope', 'check', 'GET /{x}', 'GET', target, '--encoded-slashes', '--json']);
  const token = await data.mint({ service: 'slashes', allowed: ['GET /{x}'] });
  const answer = await ask(data.port, `/s/slashes${target}`, { token });
  expect(jsonLines(out)[0]?.code ?? 'allowed').toBe(answer.status === 200 ? 'allowed' : codeIn(answer));
});
