// One port, three protocols, two versions of HTTP, with and without TLS.
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { controlPaths } from '@daypass/core/home';
import { expect, test } from 'vitest';
import { Health } from '../../control-plane/gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from '../../control-plane/gen/grpc/reflection/v1/reflection_pb.ts';
import { ServerReflection as ServerReflectionAlpha } from '../../control-plane/gen/grpc/reflection/v1alpha/reflection_pb.ts';
import { services } from '../../control-plane/rpc/routes.ts';
import { clientsOf, errorOf, makeHome, type Running, startControl, withBearer } from './fixture.ts';

type Make = (baseUrl: string, key: string) => Transport;
const transports: Readonly<Record<string, Make>> = {
  'Connect over HTTP/1.1': (baseUrl, key) =>
    createConnectTransport({ baseUrl, httpVersion: '1.1', interceptors: [withBearer(key)] }),
  'Connect over h2c': (baseUrl, key) =>
    createConnectTransport({ baseUrl, httpVersion: '2', interceptors: [withBearer(key)] }),
  'Connect JSON over h2c': (baseUrl, key) =>
    createConnectTransport({ baseUrl, httpVersion: '2', useBinaryFormat: false, interceptors: [withBearer(key)] }),
  'gRPC over h2c': (baseUrl, key) => createGrpcTransport({ baseUrl, interceptors: [withBearer(key)] }),
  'gRPC-Web over HTTP/1.1': (baseUrl, key) =>
    createGrpcWebTransport({ baseUrl, httpVersion: '1.1', interceptors: [withBearer(key)] }),
  'gRPC-Web over h2c': (baseUrl, key) =>
    createGrpcWebTransport({ baseUrl, httpVersion: '2', interceptors: [withBearer(key)] }),
};

test.each(
  Object.entries(transports),
)('%s carries calls, errors with code and field, and streams', async (_name, make) => {
  await using control = await startControl();
  const { services: registry, tokens, audit } = clientsOf(make(control.url, control.home.adminKey));

  const made = await registry.create({ service: { name: 'open', upstream: 'https://api.example.com' } });
  expect(made.service?.upstream).toBe('https://api.example.com');
  const minted = await tokens.mint({ service: 'open', allow: ['GET /**'] });
  expect(minted.token.split('.')).toHaveLength(3);

  const error = await errorOf(tokens.mint({ service: 'open', allow: ['GET nowhere'] }));
  expect(ConnectError.from(error).code).toBe(Code.InvalidArgument);
  expect(ConnectError.from(error).rawMessage).toMatch(/^allow\[0\]: /);
  expect(ConnectError.from(error).metadata.get('daypass-error-code')).toBe('invalid_rule');
  expect(ConnectError.from(error).metadata.get('daypass-error-field')).toBe('allow[0]');

  const stop = new AbortController();
  const seen: string[] = [];
  const tail = audit.tail({ filter: { kind: 2, since: { seconds: 0n, nanos: 0 } } }, { signal: stop.signal });
  for await (const { event } of tail) {
    if (event !== undefined) seen.push(event.method);
    if (seen.length === 2) break;
  }
  stop.abort();
  expect(seen).toEqual(['ServiceRegistry/Create', 'TokenService/Mint']);
});

test('TLS is spoken with both versions of HTTP when there is a certificate', async () => {
  const home = await makeHome();
  try {
    const [certPath, keyPath] = [join(home.path, 'cert.pem'), join(home.path, 'key.pem')];
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2'];
    const request = ['req', '-x509', '-newkey', 'ed25519', '-nodes', '-keyout', keyPath, '-out', certPath, ...subject];
    await promisify(execFile)('openssl', request);
    const env = { DAYPASS_CONTROL_TLS_CERT: certPath, DAYPASS_CONTROL_TLS_KEY: keyPath };
    await using control = await startControl({ home, env });
    expect(control.url).toMatch(/^https:/);
    const ca = await readFile(certPath);
    for (const httpVersion of ['1.1', '2'] as const) {
      const interceptors = [withBearer(home.adminKey)];
      const transport = createConnectTransport({
        baseUrl: control.url,
        httpVersion,
        nodeOptions: { ca },
        interceptors,
      });
      const { caller } = await clientsOf(transport).callers.whoAmI({});
      expect(caller?.name).toBe('admin');
    }
    // A key that is no key is a matter of configuration.
    await writeFile(keyPath, 'nonsense');
    const error = await errorOf(startControl({ home, env }));
    expect(error).toMatchObject({ code: 'config_invalid' });
  } finally {
    await home.remove();
  }
});

test('/healthz answers OK and other paths 404', async () => {
  await using control = await startControl();
  const answer = await fetch(`${control.url}/healthz`);
  expect([answer.status, await answer.text()]).toEqual([200, 'OK']);
  expect((await fetch(`${control.url}/healthz`, { method: 'POST' })).status).toBe(405);
  expect((await fetch(`${control.url}/elsewhere`)).status).toBe(404);
});

test('/readyz answers 503 while the database is away, and /healthz 200', async () => {
  const home = await makeHome();
  try {
    await using control = await startControl({ home });
    const ask = async () => (await fetch(`${control.url}/readyz`)).status;
    expect(await ask()).toBe(200);
    expect((await fetch(`${control.url}/readyz`, { method: 'POST' })).status).toBe(405);
    const { database } = controlPaths(home.path);
    await rename(database, `${database}.away`);
    expect(await Promise.all([ask(), ask(), ask()])).toEqual([503, 503, 503]);
    expect((await fetch(`${control.url}/healthz`)).status).toBe(200);
    await rename(`${database}.away`, database);
    expect(await ask()).toBe(200);
  } finally {
    await home.remove();
  }
});

test('health and reflection know every service', async () => {
  await using control = await startControl();
  const health = control.client(Health);
  expect((await health.check({})).status).toBe(1);
  expect((await health.check({ service: 'daypass.v1.TokenService' })).status).toBe(1);
  expect(ConnectError.from(await errorOf(health.check({ service: 'nobody' }))).code).toBe(Code.NotFound);
  expect(Object.keys((await health.list({})).statuses)).toContain('daypass.v1.AuditService');
  for await (const { status } of health.watch({ service: 'nobody' })) {
    expect(status).toBe(3);
    break;
  }

  const transport = createGrpcTransport({ baseUrl: control.url });
  for (const service of [ServerReflection, ServerReflectionAlpha]) {
    const ask = async function* () {
      yield { messageRequest: { case: 'listServices' as const, value: '' } };
      yield { messageRequest: { case: 'fileContainingSymbol' as const, value: 'daypass.v1.TokenService.Mint' } };
      yield { messageRequest: { case: 'fileByFilename' as const, value: 'no/such.proto' } };
    };
    const answers = [];
    const client = createClient(service, transport);
    for await (const { messageResponse } of client.serverReflectionInfo(ask())) answers.push(messageResponse);
    expect(answers[0]?.value).toMatchObject({ service: services.map(({ typeName }) => ({ name: typeName })) });
    expect(answers.map((answer) => answer.case)).toEqual([
      'listServicesResponse',
      'fileDescriptorResponse',
      'errorResponse',
    ]);
  }
});

test('a message above 4 MiB is refused, by its length and while it comes', async () => {
  await using control = await startControl();
  const message = JSON.stringify({ service: 'open', allow: ['x'.repeat(5 * 1024 * 1024)] });
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${control.home.adminKey}` };
  const whole = await fetch(`${control.url}/daypass.v1.TokenService/Mint`, { method: 'POST', headers, body: message });
  expect(whole.status).toBe(429);
  expect(await whole.json()).toMatchObject({ code: 'resource_exhausted' });
  const body = new Blob([message]).stream();
  const streamed = { method: 'POST', headers, body, duplex: 'half' } as RequestInit;
  const chunked = await fetch(`${control.url}/daypass.v1.TokenService/Mint`, streamed);
  expect(chunked.status).toBe(429);
});

const raw: Readonly<Record<string, string>> = {
  'no Host': 'POST /daypass.v1.TokenService/Mint HTTP/1.0\r\ncontent-length: 2\r\n\r\n{}',
  'a Host that is no authority':
    'POST /daypass.v1.TokenService/Mint HTTP/1.1\r\nhost: a b<>\r\ncontent-length: 2\r\n\r\n{}',
  'an absolute target': 'GET http://:99999/daypass.v1.TokenService/Mint HTTP/1.1\r\nhost: x\r\n\r\n',
  'no HTTP at all': '\x16\x03\x01\x02\x00 hello\r\n\r\n',
  'half of the preface': 'PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n',
};
test.each(
  Object.entries(raw),
)('%s is answered with 4xx or the end of the connection, and harms nobody', async (_name, bytes) => {
  await using control = await startControl();
  const answer = await exchange(control, bytes);
  expect(answer).toMatch(/^(HTTP\/1\.1 4\d\d |$)/);
  expect((await fetch(`${control.url}/healthz`)).status).toBe(200);
});

test('an HTTP/2 request with an authority that is none is refused', async () => {
  await using control = await startControl();
  const session = connectHttp2(control.url);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/daypass.v1.TokenService/Mint',
    ':authority': 'x:99999',
  });
  stream.end('{}');
  const [headers] = await once(stream, 'response');
  expect(headers[':status']).toBe(400);
  session.close();
});

test('a drain lets a running call end, ends streams, and closes the connections', async () => {
  await using control = await startControl();
  const transport = createConnectTransport({
    baseUrl: control.url,
    httpVersion: '2',
    interceptors: [withBearer(control.home.adminKey)],
  });
  const { audit, callers } = clientsOf(transport);
  const filter = { kind: 2, since: { seconds: 0n, nanos: 0 } } as const;
  await callers.create({ caller: { name: 'bot' } });
  const messages: boolean[] = [];
  const tail = (async () => {
    for await (const { event } of audit.tail({ filter })) {
      if (event === undefined) continue;
      messages.push(true);
      void control.app.drain();
    }
  })();
  await tail;
  expect(messages).toEqual([true]);
  await control.app.drain();
  await expect(fetch(`${control.url}/healthz`)).rejects.toThrow();
});

test('a drain does not wait for a connection that says nothing, nor for one between two requests', async () => {
  await using control = await startControl();
  const silent = createConnection({ host: '127.0.0.1', port: Number(new URL(control.url).port) });
  await once(silent, 'connect');
  const closed = once(silent, 'close');
  await (await fetch(`${control.url}/healthz`)).text();
  const started = performance.now();
  await control.app.drain();
  expect(performance.now() - started).toBeLessThan(2000);
  await closed;
});

/** What comes back for bytes on a connection of its own. */
const exchange = async (control: Running, bytes: string): Promise<string> => {
  const { hostname, port } = new URL(control.url);
  const socket = createConnection({ host: hostname, port: Number(port) });
  socket.end(bytes, 'latin1');
  let answer = '';
  socket.setEncoding('latin1');
  socket.on('data', (chunk) => {
    answer += chunk;
  });
  socket.on('error', () => {});
  await once(socket, 'close');
  return answer;
};
