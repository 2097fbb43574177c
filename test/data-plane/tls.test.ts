// TLS to the upstream: its certificate is verified, whatever the environment says; and TLS to the client.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { run } from '../kit/process.ts';
import { startFixture } from './fixture.ts';
import { ask, codeIn, startRecorder } from './recorder.ts';

let folder: string;
let tls: { readonly cert: string; readonly key: string };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-tls-'));
  const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const made = await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
  ]);
  if (made.code !== 0) throw new Error(made.stderr);
  tls = { cert: await readFile(cert, 'utf8'), key: await readFile(key, 'utf8') };
});

afterAll(() => rm(folder, { recursive: true, force: true }));

test('an upstream whose certificate nobody vouches for gets no request', async () => {
  vi.stubEnv('NODE_TLS_REJECT_UNAUTHORIZED', '0');
  let requests = 0;
  const server = createServer(tls, (_request, response) => {
    requests += 1;
    response.end('ok');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  try {
    await using data = await startFixture({
      services: [{ name: 'api', origin: `https://127.0.0.1:${port}`, secret: 'S3CRET', is_default: true }],
    });
    const answer = await ask(data.port, '/public/a', { token: await data.mint() });
    expect([answer.status, codeIn(answer), requests]).toEqual([502, 'upstream_unreachable', 0]);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});

test('with a certificate the server speaks TLS, and its URLs say so', async () => {
  using upstream = await startRecorder();
  await using data = await startFixture({
    services: [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }],
    tls,
  });
  upstream.script('HTTP/1.1 302 X\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n');
  const headers = { authorization: `Bearer ${await data.mint()}` };
  const location = await new Promise((resolve, reject) => {
    get(`https://127.0.0.1:${data.port}/public/a`, { ca: tls.cert, headers, agent: false }, (response) =>
      resolve(response.resume().headers.location),
    ).on('error', reject);
  });
  expect(location).toBe(`https://127.0.0.1:${data.port}/b`);
});
