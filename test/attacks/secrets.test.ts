// The control cases SEC-* and SNP-25: what a secret could come out by, and what still works when it should not.
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { DaypassError } from '@daypass/core/errors';
import { Secret } from '@daypass/core/secret';
import { expect, test } from 'vitest';
import { prepareInjection } from '../../data-plane/injection.ts';
import { createLog } from '../../data-plane/log.ts';
import { root } from '../check/sources.ts';
import { type Fixture, startFixture } from '../data-plane/fixture.ts';
import { ask, parseAnswers, type Recorder, soon, startRecorder, talk } from '../data-plane/recorder.ts';

const SECRET = 'canary-4f1e9b7a2c';

async function withApi(run: (data: Fixture, upstream: Recorder) => Promise<void>): Promise<void> {
  using upstream = await startRecorder();
  const services = [
    { name: 'api', origin: upstream.origin, secret: SECRET, is_default: true },
    { name: 'other', origin: upstream.origin, secret: SECRET },
  ];
  await using data = await startFixture({ services });
  await run(data, upstream);
}

test('SEC-03 a secret prints as nothing: inspected, as JSON, in an error, in a log', () => {
  const secret = new Secret(SECRET);
  const seal = { place: { kind: 'bearer' }, secret, rules: [] };
  const injection = prepareInjection(seal as never);
  const lines: string[] = [];
  const error = new DaypassError('internal', 'x', {
    cause: Object.assign(new Error('y'), { request: { secret, seal } }),
  });
  createLog('debug', (line) => lines.push(line)).error('failed', { error, seal, injection, secret });
  const texts = [
    inspect(seal, { depth: 9, showHidden: true }),
    JSON.stringify(seal),
    `${secret}`,
    String(error),
    ...lines,
  ];
  texts.push(JSON.stringify(injection), inspect(error, { depth: 9 }));
  for (const text of texts) expect(text).not.toContain(SECRET);
});

test('SEC-05 nothing that starts a plane has it write its heap or a report, or open a debugger', async () => {
  for (const file of ['package.json', 'Dockerfile', 'docker-compose.yml', 'cli/daypass.mjs']) {
    const text = await readFile(join(root, file), 'utf8');
    expect(text).not.toMatch(/--heapsnapshot|--heap-prof|--report-|--inspect|--diagnostic-dir/);
  }
});

test('SEC-09 a token for one service is told the same of another that is there and of one that is not', () =>
  withApi(async (data) => {
    const told = async (path: string, token: string | undefined) => {
      const answer = await ask(data.port, path, token === undefined ? {} : { token });
      return [answer.status, answer.body.replace(/"decision_id":"[^"]*"/, '')];
    };
    for (const token of [undefined, 'a.b.c', await data.mint()])
      expect(await told('/s/other/public/a', token)).toEqual(await told('/s/absent/public/a', token));
  }));

test('SEC-11 the token of the client reaches no upstream, wherever else it stands', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint();
    const fields = [
      `Proxy-Authorization: Bearer ${token}`,
      `X-Api-Key: ${token}`,
      `DPoP: ${token}`,
      `X_Authorization: ${token}`,
    ];
    expect((await ask(data.port, '/public/a', { token, fields })).status).toBe(200);
    upstream.script('HTTP/1.1 302 Found\r\nLocation: /public/b\r\nContent-Length: 0\r\n\r\n');
    expect((await ask(data.port, '/public/a', { token })).status).toBe(302);
    expect(upstream.octets()).not.toContain(token);
    expect(upstream.requests()).toHaveLength(2);
  }));

test('SEC-13 a request is sent once, whatever becomes of it', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint();
    for (let time = 0; time < 3; time += 1) {
      upstream.script((socket) => socket.destroy());
      const answer = await ask(data.port, '/v1/items', { method: 'POST', token, body: '{}' });
      expect(answer.status).toBe(502);
      expect(upstream.requests()).toHaveLength(time + 1);
    }
  }));

test('SNP-25 a service that was removed is refused to the next request of a connection that stays open', () =>
  withApi(async (data, upstream) => {
    const socket = connect(data.port, '127.0.0.1');
    let got = '';
    socket.on('data', (bytes) => (got += bytes.toString('latin1'))).on('error', () => undefined);
    const request = `GET /s/api/public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${await data.mint()}\r\n\r\n`;
    socket.write(request);
    await soon(() => parseAnswers(got).length === 1);
    await data.publish({ services: [] });
    socket.write(request);
    await soon(() => parseAnswers(got).length === 2);
    expect(parseAnswers(got).map(({ status }) => status)).toEqual([200, 404]);
    expect(upstream.requests()).toHaveLength(1);
    socket.destroy();
  }));

test('SNP-15 a chunk of the status list that inflates beyond its size is refused, and memory stays as it is', async () => {
  const { deflateSync } = await import('node:zlib');
  const { encodeEntry } = await import('@daypass/core/snapshot');
  const lst = deflateSync(Buffer.alloc(50_000_000)).toString('base64url');
  await using data = await startFixture({ services: [] });
  const before = process.memoryUsage().rss;
  await expect(
    data.publish({ services: [], entries: [encodeEntry('status', '0', { bits: 1, lst })] }),
  ).rejects.toMatchObject({
    code: 'snapshot_inconsistent',
  });
  expect(process.memoryUsage().rss - before).toBeLessThan(32 * 1024 * 1024);
  expect((await talk(data.port, [{ send: 'GET / HTTP/1.1\r\nHost: h\r\n\r\n' }], 500)).octets).toContain('401');
});
