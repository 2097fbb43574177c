// With a certificate each plane speaks TLS, and only TLS; the command and the data plane verify it.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { run } from '../kit/process.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

let fleet: Fleet;
let upstream: Upstream;
let folder: string;
let certificate: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-tls-'));
  certificate = join(folder, 'cert.pem');
  const key = join(folder, 'key.pem');
  const made = await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', '/CN=daypass test', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', certificate],
  ]);
  if (made.code !== 0) throw new Error(made.stderr);
  upstream = await startUpstream((_seen, response) => json(response, 200, { fine: true }));
  fleet = await startFleet({
    env: {
      DAYPASS_CONTROL_TLS_CERT: certificate,
      DAYPASS_CONTROL_TLS_KEY: key,
      DAYPASS_DATA_TLS_CERT: certificate,
      DAYPASS_DATA_TLS_KEY: key,
      NODE_EXTRA_CA_CERTS: certificate,
    },
  });
});

afterAll(async () => {
  await fleet?.stop();
  await upstream?.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

test('a service is registered, a token minted and used, all over TLS', async () => {
  await register(fleet, 'orders', upstream.origin, 'real-credential');
  const token = await mint(fleet, 'orders', ['GET /a']);
  const answer = await run('curl', [
    '-sS',
    '--cacert',
    certificate,
    '-H',
    `Authorization: Bearer ${token}`,
    `${fleet.dataUrl}/s/orders/a`,
  ]);
  expect(answer).toMatchObject({ code: 0, stdout: '{"fine":true}' });
});

test.each(['controlUrl', 'dataUrl'] as const)('plain HTTP to %s is not answered', async (name) => {
  const answer = await run('curl', [
    '-sS',
    '-o',
    '/dev/null',
    '-w',
    '%{http_code}',
    fleet[name].replace('https:', 'http:'),
  ]);
  expect(answer.code === 0 ? answer.stdout : '000').toMatch(/^(?:000|400)$/);
});

test('gRPC works over TLS by ALPN, and Connect over HTTP/1.1', async () => {
  const version2 = await run('curl', [
    '-sS',
    '--http2',
    '--cacert',
    certificate,
    '-o',
    '/dev/null',
    '-w',
    '%{http_version}',
    `${fleet.controlUrl}/`,
  ]);
  expect(version2.stdout).toBe('2');
  const version1 = await run('curl', [
    '-sS',
    '--http1.1',
    '--cacert',
    certificate,
    '-o',
    '/dev/null',
    '-w',
    '%{http_version}',
    `${fleet.controlUrl}/`,
  ]);
  expect(version1.stdout).toBe('1.1');
});

test('TLS 1.1 is refused', async () => {
  const ca = await readFile(certificate);
  const refused = await new Promise<string>((resolve) => {
    const asked = request(fleet.dataUrl, {
      ca,
      minVersion: 'TLSv1.1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    asked.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    asked.on('response', () => resolve('answered'));
    asked.end();
  });
  expect(refused).not.toBe('answered');
});

test('the command refuses a certificate that it cannot verify', async () => {
  const refused = await fleet.cli(['service', 'list'], { env: { NODE_EXTRA_CA_CERTS: '' } });
  expect(refused.code).toBe(3);
});
