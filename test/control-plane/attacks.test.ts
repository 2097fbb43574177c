// What somebody without the right, or with little of it, tries against a control plane that runs.
import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Running, startControl, until } from './fixture.ts';

let control: Running;
let low: string;

beforeAll(async () => {
  control = await startControl();
  const service = { name: 'plain', upstream: 'https://api.example.com' };
  await control.admin.services.create({ service, wait: {} });
  low = (await control.admin.callers.create({ caller: { name: 'low', services: ['plain'] } })).apiKey;
});

afterAll(() => control?.[Symbol.asyncDispose]());

type Answer = {
  readonly status: number;
  readonly code: string | null;
  readonly field: string | null;
  readonly body: string;
};

const post = async (
  method: string,
  body: string | Uint8Array<ArrayBuffer>,
  key: string,
  headers: Record<string, string> = {},
): Promise<Answer> => {
  const response = await fetch(`${control.url}/daypass.v1.${method}`, {
    ...{ method: 'POST', body },
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...headers },
  });
  const named = (name: string): string | null => response.headers.get(`daypass-error-${name}`);
  return { status: response.status, code: named('code'), field: named('field'), body: await response.text() };
};

const session = async (): Promise<ClientHttp2Session & AsyncDisposable> => {
  const opened = connect(control.url);
  opened.on('error', () => {});
  await once(opened, 'connect');
  return Object.assign(opened, { [Symbol.asyncDispose]: async () => opened.destroy() });
};

const start = (on: ClientHttp2Session, path: string, headers: Record<string, string> = {}, body?: string) => {
  const stream = on.request({ ':method': 'POST', ':path': path, 'content-type': 'application/json', ...headers });
  stream.on('error', () => {}).resume();
  if (body !== undefined) stream.end(body);
  return stream;
};

const proto = { 'content-type': 'application/proto' };

test.each([
  ['a wrong type', '{"service":5}', {}, 400, 'invalid_argument', 'service'],
  ['a lone surrogate', '{"service":"plain","subject":"\\ud800"}', {}, 400, 'invalid_argument', 'subject'],
  ['a misspelt field', '{"service":"plain","allow":["GET /a"],"tll":"1s"}', {}, 400, 'invalid_argument', 'tll'],
  ['no JSON', '{', {}, 400, 'invalid_argument', null],
  ['no protobuf', new Uint8Array([255, 255, 255, 255]), proto, 400, 'invalid_argument', null],
  ['text that is no UTF-8', new Uint8Array([10, 2, 255, 254]), proto, 400, 'invalid_argument', null],
  ['a body that is no gzip', '{}', { 'content-encoding': 'gzip' }, 400, 'invalid_argument', null],
  ['an unknown compression', '{}', { 'content-encoding': 'zstd' }, 501, 'header_invalid', null],
  ['a message that is too large', `{"service":"${'a'.repeat(4_200_000)}"}`, {}, 429, 'body_too_large', null],
] as const)('a request with %s is refused with a code', async (_, body, headers, status, code, field) => {
  const answer = await post('TokenService/Mint', body, low, headers);
  expect([answer.status, answer.code, answer.field]).toEqual([status, code, field]);
  expect(JSON.parse(answer.body)).toMatchObject({ code: expect.any(String), message: expect.any(String) });
});

test('one caller that floods the database cannot keep an admin from revoking', async () => {
  // More at once than the database's queue holds.
  const sessions = await Promise.all(Array.from({ length: 20 }, session));
  const mint = (on: ClientHttp2Session): Promise<number> => {
    const body = '{"service":"plain","allow":["GET /a"]}';
    const stream = start(on, '/daypass.v1.TokenService/Mint', { authorization: `Bearer ${low}` }, body);
    return new Promise((resolve) => stream.once('response', (head) => resolve(Number(head[':status']))));
  };
  const minted = Promise.all(sessions.flatMap((on) => Array.from({ length: 120 }, () => mint(on))));
  const revoke = () => post('TokenService/Revoke', '{"cutOff":{"client":"x"},"wait":"0s"}', control.home.adminKey);
  for (let count = 0; count < 5; count += 1) expect(await revoke()).toMatchObject({ status: 200 });
  expect(new Set(await minted)).toEqual(new Set([200, 429]));
  for (const one of sessions) one.destroy();
});

test.each([
  'application/json',
  'application/proto',
  'application/grpc',
  'application/grpc-web',
])('calls that have ended are not counted as under way: %s', async (type) => {
  await using client = await session();
  const path = '/daypass.v1.TokenService/Mint';
  for (let count = 0; count < 70; count += 1) {
    const stream = start(client, path, { 'content-type': type, authorization: `Bearer ${low}` });
    // Some are ended by the client, others by a body that is none.
    if (count % 2 === 0) stream.close(8);
    else stream.end(Buffer.from([0, 0, 0, 0, 0]));
    await once(stream, 'close');
  }
  const all = () => Promise.all(Array.from({ length: 64 }, () => post('TokenService/List', '{}', low)));
  await until(async () => (await all()).every(({ status }) => status === 200));
  expect((await all()).map(({ code }) => code)).toEqual(Array(64).fill(null));
});

test('clients that go away in the middle of a stream leave nothing in the log', async () => {
  const before = control.logged.length;
  for (let count = 0; count < 5; count += 1) {
    await using client = await session();
    const path = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
    const stream = start(client, path, { 'content-type': 'application/grpc' });
    stream.write(Buffer.from([0, 0, 0, 0, 2, 58, 0]));
    await once(stream, 'response');
    stream.close(8);
    await once(stream, 'close');
  }
  expect((await fetch(`${control.url}/healthz`)).status).toBe(200);
  expect(control.logged.slice(before)).toEqual([]);
});

test('streams that are open to anyone are bounded, and free again when they end', async () => {
  const path = '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo';
  const heads: number[] = [];
  const sessions = await Promise.all(Array.from({ length: 6 }, session));
  for (const [at, one] of sessions.entries())
    for (let count = 0; count < (at < 4 ? 128 : 5); count += 1)
      start(one, path, { 'content-type': 'application/grpc' }).once('response', (head) =>
        heads.push(Number(head[':status'])),
      );
  await until(() => heads.length >= 10);
  expect(heads.filter((status) => status === 503)).toHaveLength(10);
  // Who shows a key is served all the same.
  expect((await post('CallerService/WhoAmI', '{}', low)).status).toBe(200);
  for (const one of sessions) one.destroy();
  await until(async () => (await post('KeyService/GetVerificationKeys', '{}', low)).status === 200);
});

test('a caller cannot fill the snapshots of all nodes with cut-offs of its own', async () => {
  const cutOff = (value: object, key: string) =>
    post('TokenService/Revoke', JSON.stringify({ cutOff: value, wait: '0s' }), key);
  for (let count = 0; count < 100; count += 1)
    expect((await cutOff({ caller: 'low', subject: `s${count}` }, low)).status).toBe(200);
  const refused = await cutOff({ caller: 'low', subject: 'one more' }, low);
  expect([refused.status, refused.code, refused.field]).toEqual([400, 'failed_precondition', 'cut_off']);
  // One of a kind that stands may be renewed; others are not touched by it.
  expect((await cutOff({ caller: 'low', subject: 's7' }, low)).status).toBe(200);
  expect((await cutOff({ caller: 'low', subject: 'of the admin' }, control.home.adminKey)).status).toBe(200);
  const held = async (): Promise<number> => {
    const { snapshot } = await control.asNode('node-1').snapshots.get({});
    return (
      snapshot?.entries.filter(({ kind, content }) => kind === 'cutoff' && Buffer.from(content).includes('"low"'))
        .length ?? 0
    );
  };
  expect(await held()).toBe(101);
  // All at once covers every one of them.
  expect((await cutOff({ caller: 'low' }, low)).status).toBe(200);
  expect(await held()).toBe(1);
  expect((await cutOff({ caller: 'low', subject: 'one more' }, low)).status).toBe(200);
});

test('a browser page can neither read nor be let in: no CORS, no preflight, GET needs the key', async () => {
  const list = `${control.url}/daypass.v1.TokenService/List`;
  const preflight = await fetch(list, { method: 'OPTIONS', headers: { origin: 'https://evil.example' } });
  expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([405, null]);
  const get = await fetch(`${list}?connect=v1&encoding=json&message=%7B%7D`, {
    headers: { origin: 'https://evil.example' },
  });
  expect([get.status, get.headers.get('access-control-allow-origin')]).toEqual([401, null]);
  const simple = await fetch(list, { method: 'POST', body: '{}', headers: { 'content-type': 'text/plain' } });
  expect(simple.status).toBe(415);
});
