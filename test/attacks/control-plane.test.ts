// The control cases CPL-*: what somebody sends to a control plane that runs.
import { readFile } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ConnectError } from '@connectrpc/connect';
import { TokenService } from '@daypass/sdk/gen/daypass/v1/token_pb';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { parseConfig } from '../../data-plane/config.ts';
import { root } from '../check/sources.ts';
import { errorOf, makeHome, type Running, startControl } from '../control-plane/fixture.ts';
import { startFixture } from '../data-plane/fixture.ts';
import { launch } from '../kit/process.ts';

let control: Running;

beforeAll(async () => {
  control = await startControl();
  await control.admin.services.create({ service: { name: 'plain', upstream: 'https://api.example.com' } });
});
afterAll(() => control?.[Symbol.asyncDispose]());
afterEach(async () => {
  // Whatever was sent, it goes on.
  expect((await fetch(`${control.url}/healthz`)).status).toBe(200);
});

const authorization = () => ({ authorization: `Bearer ${control.home.adminKey}` });
const post = (path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
  fetch(`${control.url}${path}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...authorization(), ...headers },
    body,
    signal: AbortSignal.timeout(10_000),
  });

/** Bytes over a connection of their own, and all that came back. */
function send(bytes: string | Buffer, withinMs = 1500): Promise<string> {
  const { hostname, port } = new URL(control.url);
  return new Promise((resolve) => {
    let got = '';
    const socket = connectTcp(Number(port), hostname, () => socket.write(bytes));
    const timer = setTimeout(() => socket.destroy(), withinMs);
    socket.on('data', (some) => (got += some.toString('latin1'))).on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(got);
    });
  });
}

test.each([
  'daypass.v1.TokenService/List',
  '//daypass.v1.TokenService/List',
  '/daypass.v1.TokenService//List',
  '/daypass.v1.tokenservice/list',
  '/daypass.v1.TokenService/list',
  '/daypass.v1.TokenService/List/',
  '/daypass.v1.TokenService%2fList',
  '/daypass.v1.TokenService/%4cist',
  '/./daypass.v1.TokenService/List',
  '/x/../daypass.v1.TokenService/List',
  '/daypass.v1.TokenService/List;a',
  '/daypass.v1.TokenService\\List',
  '/.daypass.v1.TokenService/List',
])('CPL-01 the path %s is no RPC', async (path) => {
  const head = `POST ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2`;
  const answer = await send(`${head}\r\nAuthorization: Bearer ${control.home.adminKey}\r\n\r\n{}`);
  expect(Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1])).toSatisfy((status: number) => [400, 404].includes(status));
});

test.each([
  ['a unary call', '/daypass.v1.TokenService/List', 'application/json', (bytes: Buffer) => bytes],
  [
    'a stream',
    '/daypass.v1.AuditService/Tail',
    'application/connect+json',
    (bytes: Buffer) => Buffer.concat([Buffer.from([1]), length(bytes), bytes]),
  ],
  [
    'gRPC',
    '/daypass.v1.TokenService/List',
    'application/grpc-web+json',
    (bytes: Buffer) => Buffer.concat([Buffer.from([1]), length(bytes), bytes]),
  ],
])('CPL-05 what inflates from a little to 100 MB is refused, and never inflated whole: %s', async (_name, path, type, framed) => {
  const bomb = gzipSync(Buffer.alloc(100_000_000, ' '));
  const before = process.memoryUsage().rss;
  const encodings = { 'content-encoding': 'gzip', 'connect-content-encoding': 'gzip', 'grpc-encoding': 'gzip' };
  const headers = type === 'application/json' ? { 'content-encoding': 'gzip' } : encodings;
  const answer = await post(path, Uint8Array.from(framed(bomb)), { ...headers, 'content-type': type });
  const told = `${answer.status} ${answer.headers.get('grpc-status') ?? ''} ${await answer.text()}`;
  expect(told).toMatch(/resource_exhausted|grpc-status: 8|^200 8|body_too_large/);
  expect(process.memoryUsage().rss - before).toBeLessThan(48 * 1024 * 1024);
});

const length = (bytes: Buffer): Buffer => {
  const four = Buffer.alloc(4);
  four.writeUInt32BE(bytes.length);
  return four;
};

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
/** A frame of HTTP/2 (RFC 9113 §4.1). */
const frame = (type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};
const many = (count: number, one: (at: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, at) => one(at)));
const settings = frame(4, 0, 0);
// :method POST, :scheme http, :path /, from the static table (RFC 7541 §A).
const headers = Buffer.from([0x83, 0x86, 0x84]);

test.each<[string, Buffer]>([
  ['a bad preface', Buffer.from('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n')],
  ['a preface that stops', Buffer.from(PREFACE.slice(0, 10))],
  ['no settings', Buffer.concat([Buffer.from(PREFACE), frame(0, 0, 1)])],
  [
    'a flood of CONTINUATION',
    Buffer.concat([
      Buffer.from(PREFACE),
      settings,
      frame(1, 0, 1, headers),
      many(20_000, () => frame(9, 0, 1, Buffer.alloc(8, 0x40))),
    ]),
  ],
  [
    'rapid resets',
    Buffer.concat([
      Buffer.from(PREFACE),
      settings,
      many(5_000, (at) => Buffer.concat([frame(1, 4, 2 * at + 1, headers), frame(3, 0, 2 * at + 1, Buffer.alloc(4))])),
    ]),
  ],
  ['a flood of settings', Buffer.concat([Buffer.from(PREFACE), many(20_000, () => settings)])],
  [
    'a flood of pings',
    Buffer.concat([Buffer.from(PREFACE), settings, many(20_000, () => frame(6, 0, 0, Buffer.alloc(8)))]),
  ],
  [
    'ten thousand streams',
    Buffer.concat([Buffer.from(PREFACE), settings, many(10_000, (at) => frame(1, 4, 2 * at + 1, headers))]),
  ],
  [
    'a header list of a megabyte',
    Buffer.concat([
      Buffer.from(PREFACE),
      settings,
      frame(1, 0, 1, headers),
      many(64, () => frame(9, 0, 1, Buffer.alloc(16_000, 0x40))),
    ]),
  ],
  [
    'a frame beyond the largest',
    Buffer.concat([Buffer.from(PREFACE), settings, frame(0, 0, 1, Buffer.alloc(100_000))]),
  ],
  ['an even stream', Buffer.concat([Buffer.from(PREFACE), settings, frame(1, 5, 2, headers)])],
])('CPL-07 %s over HTTP/2 costs little and ends the connection or the stream', async (_name, bytes) => {
  const before = process.memoryUsage().rss;
  await send(bytes, 300);
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  const session = connectHttp2(control.url);
  const stream = session.request({ ':path': '/healthz' });
  stream.resume();
  const status = await new Promise((resolve) => stream.once('response', (head) => resolve(head[':status'])));
  session.destroy();
  expect(status).toBe(200);
});

test.each([
  ['grpc-timeout', '99999999H'],
  ['grpc-timeout', '-1S'],
  ['grpc-timeout', '0n'],
  ['grpc-timeout', '1n'],
  ['grpc-timeout', 'soon'],
  ['connect-timeout-ms', '99999999999999999999'],
  ['connect-timeout-ms', '-1'],
  ['connect-timeout-ms', '0'],
  ['connect-timeout-ms', 'soon'],
])('CPL-09 the deadline %s: %s is bounded', async (name, value) => {
  const isGrpc = name === 'grpc-timeout';
  const started = performance.now();
  const answer = await post('/daypass.v1.TokenService/List', isGrpc ? Buffer.from([0, 0, 0, 0, 2, 0x7b, 0x7d]) : '{}', {
    [name]: value,
    ...(isGrpc ? { 'content-type': 'application/grpc-web+json' } : {}),
  });
  await answer.arrayBuffer();
  expect([200, 400, 408, 504]).toContain(answer.status);
  expect(performance.now() - started).toBeLessThan(5000);
});

const INJECTIONS = [
  "' OR 1=1 --",
  "'; DROP TABLE services; --",
  '%00',
  '0x27',
  '\u2019 OR \u02bc1\u02bc=\u02bc1',
  '"; SELECT 1; --',
  '\\',
  '1); ATTACH',
];

test('CPL-13 what looks like SQL is text: stored as it is, found as it is, and nothing else', async () => {
  const { services, tokens, callers, audit } = control.admin;
  for (const [at, text] of INJECTIONS.entries()) {
    const service = { name: `sql-${at}`, upstream: 'https://api.example.com', description: text };
    expect((await services.create({ service })).service?.description).toBe(text);
    const { jti } = await tokens.mint({ service: `sql-${at}`, allow: ['GET /a'], subject: text });
    const listed = (await tokens.list({ pageSize: 1000 })).tokens.find((one) => one.jti === jti);
    expect(listed?.subject).toBe(text);
    // Most of these are refused; what counts is what is there after them.
    await Promise.allSettled([
      ...[services.get({ name: text }), services.delete({ name: text }), services.list({ pageToken: text })],
      ...[callers.delete({ name: text }), callers.create({ caller: { name: text } })],
      tokens.revoke({ target: { case: 'jti', value: text }, wait: {} }),
    ]);
    expect(await tokens.introspect({ token: text })).toMatchObject({ active: false });
    for (const name of ['service', 'client', 'jti', 'decisionId'] as const) {
      const { events } = await audit.query({ filter: { [name]: text } }).catch(() => ({ events: [] }));
      expect(events.filter((event) => event[name] !== text)).toEqual([]);
    }
  }
  const names = (await services.list({})).services.map(({ name }) => name);
  expect(names).toEqual(['plain', ...INJECTIONS.map((_, at) => `sql-${at}`)]);
});

test('CPL-15 ids are compared byte for byte: no affinity, no case, no NUL', async () => {
  const { services, tokens } = control.admin;
  const { jti } = await tokens.mint({ service: 'plain', allow: ['GET /a'] });
  for (const value of [jti.toUpperCase(), `${jti} `, ` ${jti}`, `${jti}\0`, `${jti}%`, `${jti.slice(0, -1)}_`].filter(
    (one) => one !== jti,
  )) {
    const { metadata } = ConnectError.from(await errorOf(tokens.revoke({ target: { case: 'jti', value }, wait: {} })));
    expect(metadata.get('daypass-error-code')).toMatch(/^(not_found|invalid_argument)$/);
  }
  for (const name of ['PLAIN', 'plain ', 'plain\0', 'Plain']) await errorOf(services.get({ name }));
  for (const name of ['1', '1e0', '01']) {
    const made = services.create({ service: { name, upstream: 'https://api.example.com' } });
    await made;
  }
  const names = (await services.list({})).services.map(({ name }) => name);
  expect(names.filter((name) => /^[01]/.test(name))).toEqual(['01', '1', '1e0']);
});

test('CPL-17 an order, a mask and a page come from a list of what may be, never from the text', async () => {
  const update = (path: string) =>
    control.admin.services.update({ service: { name: 'plain', description: 'x' }, updateMask: { paths: [path] } });
  for (const path of [
    'etag',
    'create_time',
    'name',
    '__proto__',
    'constructor',
    'description; DROP',
    'description.x',
    '',
  ]) {
    const { metadata } = ConnectError.from(await errorOf(update(path)));
    expect([path, metadata.get('daypass-error-code')]).toEqual([path, 'invalid_argument']);
  }
  const asked = errorOf(control.admin.services.list({ pageToken: Buffer.from('["a\' OR 1"]').toString('base64url') }));
  expect(ConnectError.from(await asked).metadata.get('daypass-error-code')).toBe('invalid_argument');
});

test('CPL-27 a wrong key and one that was are told the same', async () => {
  const { apiKey } = await control.admin.callers.create({ caller: { name: 'gone', services: ['plain'] } });
  await control.admin.callers.delete({ name: 'gone', wait: {} });
  const told = async (key: string) => {
    const error = ConnectError.from(await errorOf(control.client(TokenService, key).list({})));
    return [error.code, error.rawMessage];
  };
  expect(await told(apiKey)).toEqual(await told(`dpk_${'A'.repeat(43)}`));
  expect((await told('password'))[0]).toBe((await told(apiKey))[0]);
});

test('CPL-31 what is for the operator is on the loopback by itself, and metrics name no secret', async () => {
  expect(parseConfig({}).adminListen.host).toBe('127.0.0.1');
  await using data = await startFixture({
    services: [{ name: 'api', origin: 'https://api.example.com', secret: 'S3CRET-CANARY' }],
  });
  expect(data.metrics.render()).not.toContain('S3CRET');
});

test('CPL-31 a signal does not open the inspector of a plane that runs', async () => {
  await using home = await homeOfItsOwn();
  const env = { DAYPASS_HOME: home.path, DAYPASS_CONTROL_LISTEN: '127.0.0.1:0' };
  const running = launch(process.execPath, [join(root, 'control-plane', 'main.ts')], { env });
  try {
    await running.line(/^\{"ready":true/);
    running.kill('SIGUSR1');
    // It goes on, and says nothing of a debugger.
    running.kill('SIGTERM');
    const { code, stderr } = await running.ended;
    expect([code, stderr.includes('Debugger')]).toEqual([0, false]);
  } finally {
    running.kill('SIGKILL');
  }
});

test('CPL-31 the data plane takes the signal for nothing, too', async () => {
  const source = await readFile(join(root, 'data-plane', 'main.ts'), 'utf8');
  expect(source.indexOf("process.on('SIGUSR1'")).toBeGreaterThan(0);
  expect(source.indexOf("process.on('SIGUSR1'")).toBeLessThan(source.indexOf('startDataPlane(config'));
});

async function homeOfItsOwn() {
  const home = await makeHome();
  return { path: home.path, [Symbol.asyncDispose]: () => home.remove() };
}
