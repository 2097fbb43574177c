// The listener: what is not HTTP, slow clients, draining and closing.
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { type FixtureOptions, startFixture } from './fixture.ts';
import { ask, codeIn, fieldOf, parseAnswers, soon, startRecorder, talk } from './recorder.ts';

async function withApi(
  work: (
    data: Awaited<ReturnType<typeof startFixture>>,
    upstream: Awaited<ReturnType<typeof startRecorder>>,
  ) => Promise<void>,
  options: Partial<FixtureOptions> = {},
): Promise<void> {
  using upstream = await startRecorder();
  const services = [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }];
  await using data = await startFixture({ services, ...options });
  await work(data, upstream);
}

test.each([
  ['nonsense', 'nonsense\r\n\r\n', 400, 'framing_invalid'],
  [
    'a head that is too large',
    `GET / HTTP/1.1\r\nHost: h\r\nX: ${'x'.repeat(17_000)}\r\n\r\n`,
    431,
    'headers_too_large',
  ],
  ['CONNECT', 'CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n', 501, 'method_refused'],
  [
    'two content types',
    'GET / HTTP/1.1\r\nHost: h\r\nContent-Type: a/b\r\nContent-Type: a/b\r\n\r\n',
    400,
    'header_invalid',
  ],
  [
    'HTTP/1.0 with chunks',
    'POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
    'framing_invalid',
  ],
  ['another expectation', 'GET / HTTP/1.1\r\nHost: h\r\nExpect: magic\r\n\r\n', 417, 'expectation_failed'],
  [
    'a websocket',
    'GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
    400,
    'upgrade_refused',
  ],
])('%s is answered with a problem, and nothing goes upstream', (_name, octets, status, code) =>
  withApi(async (data, upstream) => {
    const talked = await talk(data.port, [{ send: octets }], 2000);
    const [answer] = parseAnswers(talked.octets);
    expect([answer?.status, answer === undefined ? '' : codeIn(answer)]).toEqual([status, code]);
    expect(fieldOf(answer?.head ?? '', 'content-type')).toBe('application/problem+json; charset=utf-8');
    expect(talked.isClosed).toBe(true);
    expect(upstream.dialled()).toBe(0);
  }));

test('ten thousand header fields within 16 KiB are either all seen or all refused', () =>
  withApi(async (data) => {
    const many = 'a:b\r\n'.repeat(2_500);
    const token = await data.mint();
    const last = `GET /public/a HTTP/1.1\r\nHost: h\r\n${many}Authorization: Bearer ${token}\r\nConnection: close\r\n\r\n`;
    const { octets } = await talk(data.port, [{ send: last }], 2000);
    expect(parseAnswers(octets)[0]?.status).toBe(200);
  }));

test.each([
  ['says nothing', ''],
  ['sends its head by drops', 'GET /public/a HTTP/1.1\r\nHost: h\r\n'],
])('a client that %s is let go', (_name, start) =>
  withApi(
    async (data) => {
      const { isClosed, octets } = await talk(data.port, [{ send: start }], 5000);
      expect(isClosed).toBe(true);
      expect(parseAnswers(octets).map(({ status }) => status)).toEqual(octets === '' ? [] : [408]);
    },
    { limits: { headTimeoutMs: 200 } },
  ));

test('draining answers what runs, takes nothing new, and ends idle connections', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint();
    const idle = connect(data.port, '127.0.0.1');
    idle.on('error', () => undefined);
    let idleClosed = false;
    idle.on('close', () => (idleClosed = true));
    await new Promise((resolve) => idle.once('connect', resolve));
    upstream.script(() => undefined);
    const request = `GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    const running = talk(data.port, [{ send: request + request }], 3000);
    await soon(() => upstream.requests().length === 1);
    let isDrained = false;
    const drained = data.server.drain().then(() => (isDrained = true));
    await soon(() => idleClosed);
    expect((await ask(data.port, '/public/b', { token, quietMs: 500 })).status).toBe(0);
    expect(isDrained).toBe(false);
    upstream.sockets()[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    const { octets, isClosed } = await running;
    const [first] = parseAnswers(octets);
    expect([first?.status, fieldOf(first?.head ?? '', 'connection'), isClosed]).toEqual([200, 'close', true]);
    await drained;
    expect(upstream.requests()).toHaveLength(1);
  }));

test('closing ends everything at once', () =>
  withApi(async (data, upstream) => {
    upstream.script(() => undefined);
    const request = `GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${await data.mint()}\r\n\r\n`;
    const running = talk(data.port, [{ send: request }], 5000);
    await soon(() => upstream.requests().length === 1);
    await data.server.close();
    expect((await running).isClosed).toBe(true);
    await soon(() => upstream.sockets().length === 0 && data.audit.outcomes.length === 1);
  }));

test('a port that is taken is said so', () =>
  withApi(async (data) => {
    await expect(startFixture({ services: [], port: data.port })).rejects.toThrow('EADDRINUSE');
  }));

test('an error that is not ours says nothing to the client and is logged once', () =>
  withApi(async (data) => {
    data.setCurrent({
      get expiresAt(): number {
        throw new Error('inner detail');
      },
    } as never);
    const answer = await ask(data.port, '/public/a', { token: await data.mint() });
    expect([answer.status, codeIn(answer), answer.body.includes('inner detail')]).toEqual([500, 'internal', false]);
    expect(data.logs.filter((line) => line.includes('inner detail'))).toHaveLength(1);
  }));
