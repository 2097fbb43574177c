// Where a data plane may not go: addresses of this machine and its network, by number, by name, and its own listeners.
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

let closed: Fleet;
let open: Fleet;
let upstream: Upstream;

beforeAll(async () => {
  upstream = await startUpstream((_seen, response) => json(response, 200, {}));
  closed = await startFleet({ env: { DAYPASS_ALLOW_UPSTREAM_RANGES: '' } });
  open = await startFleet({ env: { DAYPASS_ALLOW_UPSTREAM_RANGES: '127.0.0.0/8 ::1/128' } });
});

afterAll(async () => {
  await Promise.all([closed?.stop(), open?.stop()]);
  await upstream?.close();
});

describe('with no range allowed', () => {
  test.each([
    'http://127.0.0.1:9000',
    'https://127.0.0.1',
    'https://127.1',
    'https://0x7f.0.0.1',
    'https://2130706433',
    'https://localhost',
    'https://api.localhost:8443',
    'https://[::1]',
    'https://[::ffff:127.0.0.1]',
    'https://0.0.0.0',
    'https://10.0.0.1',
    'https://172.16.0.1',
    'https://192.168.1.1',
    'https://100.64.0.1',
    'https://169.254.169.254',
    'https://[fd00:ec2::254]',
    'https://[fe80::1]',
    'https://[64:ff9b::7f00:1]',
  ])('%s is refused when the service is registered', async (url) => {
    const answer = await closed.rpc('ServiceRegistry/Create', {
      service: { name: 'inside', upstream: url, insecureUpstream: true },
    });
    expect(answer.body).toMatchObject({ code: 'invalid_argument' });
    expect(JSON.stringify(answer.body)).toContain('upstream');
  });

  test('a name that leads to such an address is refused when it is dialled', async () => {
    const name = await localName();
    await register(closed, 'named', `http://${name}:${upstream.port}`, 'secret', [
      '--credential',
      'bearer',
      '--insecure-upstream',
    ]);
    const token = await mint(closed, 'named', ['GET /a']);
    const answer = await fetch(`${closed.dataUrl}/s/named/a`, { headers: { authorization: `Bearer ${token}` } });
    expect(answer.status).toBe(502);
    expect(await answer.json()).toMatchObject({ code: 'upstream_address_refused' });
    expect(upstream.seen).toEqual([]);
  });

  test('plain http to the world needs to be asked for', async () => {
    const service = { name: 'plain', upstream: 'http://api.example.com' };
    const refused = await closed.rpc('ServiceRegistry/Create', { service, wait: '0s' });
    expect(refused.body).toMatchObject({ code: 'invalid_argument' });
    const asked = await closed.rpc('ServiceRegistry/Create', {
      service: { ...service, insecureUpstream: true },
      wait: '0s',
    });
    expect(asked.status).toBe(200);
  });
});

describe('with loopback allowed', () => {
  test.each(['control', 'data', 'admin'] as const)('the %s listener is never an upstream', async (listener) => {
    const url = { control: open.controlUrl, data: open.dataUrl, admin: open.adminUrl }[listener];
    const service = { name: `own-${listener}`, upstream: url };
    const made = await open.rpc('ServiceRegistry/Create', { service });
    if (made.status !== 200) {
      expect(made.body).toMatchObject({ code: 'invalid_argument' });
      return;
    }
    const token = await mint(open, `own-${listener}`, ['GET /healthz']);
    const answer = await fetch(`${open.dataUrl}/s/own-${listener}/healthz`, {
      headers: { authorization: `Bearer ${token}` },
    });
    expect(answer.status).toBe(502);
  });

  test('a redirect is handed to the client, never followed', async () => {
    const redirecting = await startUpstream((seen, response) => {
      if (seen.target === '/there') return json(response, 200, { followed: true });
      response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data' }).end();
    });
    try {
      await register(open, 'redirecting', redirecting.origin, 'secret');
      const token = await mint(open, 'redirecting', ['GET /here']);
      const answer = await fetch(`${open.dataUrl}/s/redirecting/here`, {
        headers: { authorization: `Bearer ${token}` },
        redirect: 'manual',
      });
      expect([answer.status, answer.headers.get('location')]).toEqual([302, 'http://169.254.169.254/latest/meta-data']);
      expect(redirecting.seen.map((seen) => seen.target)).toEqual(['/here']);
    } finally {
      await redirecting.close();
    }
  });
});

/** A name, not `localhost`, that this machine resolves to itself. */
async function localName(): Promise<string> {
  const hosts = (await readFile('/etc/hosts', 'utf8'))
    .split('\n')
    .flatMap((line) => line.replace(/#.*/, '').split(/\s+/).slice(1));
  for (const name of [hostname(), ...hosts]) {
    if (!/^[a-z0-9-]+$/.test(name) || name === 'localhost') continue;
    const found = await lookup(name, { all: true }).catch(() => []);
    if (found.some(({ address }) => /^(?:127\.|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|::1$)/.test(address)))
      return name;
  }
  throw new Error('this machine has no name for itself in /etc/hosts');
}
