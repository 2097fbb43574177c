// The contract over Connect, gRPC and gRPC-Web with a client that is not ours, which learns it by reflection.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../check/sources.ts';
import { claim, mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';
import { type Ended, launch, run } from '../kit/process.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

const buf = join(root, 'node_modules', '.bin', 'buf');
const protocols = ['connect', 'grpc', 'grpcweb'] as const;

let fleet: Fleet;
let upstream: Upstream;

beforeAll(async () => {
  upstream = await startUpstream((_seen, response) => json(response, 200, { fine: true }));
  fleet = await startFleet();
  await register(fleet, 'orders', upstream.origin, 'real-credential');
});

afterAll(async () => {
  await fleet?.stop();
  await upstream?.close();
});

/** The arguments of a call; gRPC needs HTTP/2, reflection over gRPC does too. */
function args(protocol: (typeof protocols)[number], method: string, message: unknown): readonly string[] {
  const http2 = protocol === 'grpc' ? ['--http2-prior-knowledge'] : [];
  const key = ['-H', `Authorization: Bearer ${fleet.adminKey}`];
  const schema = protocol === 'grpc' ? ['--reflect'] : ['--schema', join(root, 'proto/baseline.binpb')];
  return [
    'curl',
    '--protocol',
    protocol,
    ...http2,
    ...schema,
    ...key,
    '-d',
    JSON.stringify(message),
    `${fleet.controlUrl}/${method}`,
  ];
}

const bufCurl = (protocol: (typeof protocols)[number], method: string, message: unknown): Promise<Ended> =>
  run(buf, args(protocol, method, message));

describe.each(protocols)('over %s', (protocol) => {
  test('Mint makes a token that the data plane takes', async () => {
    const answer = await bufCurl(protocol, 'daypass.v1.TokenService/Mint', {
      service: 'orders',
      allow: ['GET /orders/{id}'],
      ttl: '60s',
      client: protocol,
    });
    expect(answer).toMatchObject({ code: 0, stderr: '' });
    const { token } = JSON.parse(answer.stdout) as { token: string };
    const used = await fetch(`${fleet.dataUrl}/s/orders/orders/7`, { headers: { authorization: `Bearer ${token}` } });
    expect(used.status).toBe(200);
  });

  test('Query answers with what happened', async () => {
    const answer = await bufCurl(protocol, 'daypass.v1.AuditService/Query', { filter: { kind: 'AUDIT_KIND_CHANGE' } });
    expect(answer.code).toBe(0);
    const { events } = JSON.parse(answer.stdout) as { events: { method: string }[] };
    expect(events.map((event) => event.method)).toContain('ServiceRegistry/Create');
  });

  test('Tail streams an event as it comes in', async () => {
    const token = await mint(fleet, 'orders', ['GET /tailed'], ['--client', `tail-${protocol}`]);
    const tail = launch(
      buf,
      args(protocol, 'daypass.v1.AuditService/Tail', { filter: { client: `tail-${protocol}` } }),
    );
    try {
      // An event that came before the stream began is not on it, so requests are made until one is.
      const arrived = tail.line(/"path": ?"\/tailed"|\/tailed/);
      let waiting = true;
      const settled = arrived.finally(() => {
        waiting = false;
      });
      while (waiting) {
        const used = await fetch(`${fleet.dataUrl}/s/orders/tailed`, { headers: { authorization: `Bearer ${token}` } });
        await used.arrayBuffer();
        await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, 100))]);
      }
      expect(await arrived).toContain('/tailed');
      expect(tail.stdout()).toContain(String(claim(token, 'jti')));
    } finally {
      tail.kill('SIGKILL');
      await tail.ended;
    }
  });

  test('a wrong message is an error that names the field', async () => {
    const answer = await bufCurl(protocol, 'daypass.v1.TokenService/Mint', {
      service: 'orders',
      allow: ['GET /a', 'GET nothing'],
    });
    expect(answer.code).not.toBe(0);
    expect(answer.stderr).toContain('invalid_argument');
    expect(answer.stderr).toContain('allow[1]');
  });

  test('the service is healthy, its schema learnt by reflection', async () => {
    const url = `${fleet.controlUrl}/grpc.health.v1.Health/Check`;
    const answer = await run(buf, [
      'curl',
      '--protocol',
      protocol,
      '--http2-prior-knowledge',
      '--reflect',
      '-d',
      '{}',
      url,
    ]);
    expect(answer).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(answer.stdout)).toEqual({ status: 'SERVING' });
  });
});

test('reflection lists every service of the contract', async () => {
  const answer = await run(buf, ['curl', '--http2-prior-knowledge', '--list-services', fleet.controlUrl]);
  expect(answer.stdout.trim().split('\n')).toEqual(
    expect.arrayContaining(
      ['TokenService', 'ServiceRegistry', 'SnapshotService', 'AuditService', 'KeyService', 'CallerService'].map(
        (name) => `daypass.v1.${name}`,
      ),
    ),
  );
});

test('a call without an API key is refused', async () => {
  const answer = await run(buf, [
    'curl',
    '--schema',
    join(root, 'proto/baseline.binpb'),
    '-d',
    '{}',
    `${fleet.controlUrl}/daypass.v1.ServiceRegistry/List`,
  ]);
  expect(answer.code).not.toBe(0);
  expect(answer.stderr).toContain('unauthenticated');
});
