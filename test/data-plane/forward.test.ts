// Bodies in both directions: streamed, with backpressure, and an abort on one side is an abort on the other.
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { type Fixture, type FixtureOptions, startFixture } from './fixture.ts';
import { ask, codeIn, fieldOf, parseAnswers, type Recorder, soon, startRecorder, talk } from './recorder.ts';

async function withApi(
  work: (data: Fixture, upstream: Recorder) => Promise<void>,
  options: Partial<FixtureOptions> = {},
): Promise<void> {
  using upstream = await startRecorder();
  const services = [
    { name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true, response_timeout_ms: 3_000 },
  ];
  await using data = await startFixture({ services, ...options });
  await work(data, upstream);
}

const post = (token: string, ...fields: readonly string[]) =>
  `${['POST /v1/items HTTP/1.1', 'Host: h', `Authorization: Bearer ${token}`, ...fields].join('\r\n')}\r\n\r\n`;
const get = (token: string) => `GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n\r\n`;

/** A client that is driven by hand. */
async function open(port: number): Promise<{ socket: Socket; got: () => string; isClosed: () => boolean }> {
  const socket = connect(port, '127.0.0.1');
  let got = '';
  let isClosed = false;
  socket.on('data', (bytes) => (got += bytes.toString('latin1')));
  socket.on('error', () => undefined);
  socket.on('close', () => (isClosed = true));
  await new Promise((resolve) => socket.once('connect', resolve));
  return { socket, got: () => got, isClosed: () => isClosed };
}

test('a body is sent on as it comes, before its end', () =>
  withApi(async (data, upstream) => {
    const { socket, got } = await open(data.port);
    socket.write(post(await data.mint(), 'Content-Length: 6'));
    await soon(() => upstream.dialled() === 0);
    socket.write('abc');
    await soon(() => upstream.octets().endsWith('abc'));
    socket.write('def');
    await soon(() => got().includes('200 OK'));
    expect(upstream.requests()[0]?.body).toBe('abcdef');
    expect(data.audit.outcomes[0]).toMatchObject({ request_bytes: 6, response_bytes: 2 });
    socket.destroy();
  }));

test('nothing goes upstream before a body has begun to arrive', () =>
  withApi(async (data, upstream) => {
    for (const framing of ['Content-Length: 6', 'Transfer-Encoding: chunked']) {
      const { octets } = await talk(data.port, [{ send: post(await data.mint(), framing) }], 150);
      expect(octets).toBe('');
    }
    expect(upstream.dialled()).toBe(0);
  }));

test('100 is answered only to an authorised request', () =>
  withApi(async (data, upstream) => {
    const expectation = ['Expect: 100-continue', 'Content-Length: 2'];
    const refused = await talk(
      data.port,
      [{ send: post(await data.mint({ allowed: ['GET /a'] }), ...expectation) }],
      2000,
    );
    expect(parseAnswers(refused.octets).map(({ status }) => status)).toEqual([403]);
    expect(refused.isClosed).toBe(true);
    const { socket, got } = await open(data.port);
    socket.write(post(await data.mint(), ...expectation));
    await soon(() => got().includes('100 Continue'));
    expect(upstream.dialled()).toBe(0);
    socket.write('{}');
    await soon(() => got().includes('200 OK'));
    expect(upstream.requests()[0]?.fields.map(([name]) => name)).not.toContain('expect');
    socket.destroy();
  }));

test('a refused request with an unread body closes its connection', () =>
  withApi(async (data) => {
    for (const token of ['a.b.c', await data.mint({ allowed: ['GET /a'] })]) {
      const { octets, isClosed } = await talk(
        data.port,
        [{ send: `${post(token, 'Content-Length: 50')}GET / HTTP/1.1` }],
        2000,
      );
      expect(fieldOf(parseAnswers(octets)[0]?.head ?? '', 'connection')).toBe('close');
      expect(isClosed).toBe(true);
    }
  }));

test('a client that breaks off in the middle of its body breaks the upstream request off, and is recorded', () =>
  withApi(async (data, upstream) => {
    const { socket } = await open(data.port);
    socket.write(`${post(await data.mint(), 'Content-Length: 60')}abc`);
    await soon(() => upstream.octets().endsWith('abc'));
    socket.destroy();
    await soon(() => data.audit.outcomes.length === 1);
    expect(upstream.requests().filter(({ isComplete }) => isComplete)).toEqual([]);
    expect(data.audit.outcomes[0]).toMatchObject({ result: 'failed', status: 0, request_bytes: 3 });
    expect(data.audit.decisions[0]).toMatchObject({ result: 'allowed' });
  }));

test('a client that breaks off while it waits ends the upstream request', () =>
  withApi(async (data, upstream) => {
    let upstreamClosed = false;
    upstream.script((socket) => socket.on('close', () => (upstreamClosed = true)));
    const { socket } = await open(data.port);
    socket.write(get(await data.mint()));
    await soon(() => upstream.requests().length === 1);
    socket.destroy();
    await soon(() => upstreamClosed && data.audit.outcomes.length === 1);
    expect(data.audit.outcomes[0]).toMatchObject({ result: 'failed', reason: 'client_gone', status: 0 });
  }));

test('an upstream that breaks off in the middle of its answer breaks the client off, and is recorded', () =>
  withApi(async (data, upstream) => {
    for (const head of ['Content-Length: 10\r\n\r\nabc', 'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n']) {
      upstream.script((socket) => socket.end(`HTTP/1.1 200 OK\r\n${head}`));
      const { octets, isClosed } = await talk(data.port, [{ send: get(await data.mint()) }], 2000);
      expect([octets.includes('abc'), octets.endsWith('0\r\n\r\n'), isClosed]).toEqual([true, false, true]);
    }
    expect(data.audit.outcomes.map(({ result, status }) => [result, status])).toEqual([
      ['failed', 200],
      ['failed', 200],
    ]);
  }));

test('an answer that comes before the body is whole is handed on', () =>
  withApi(async (data, upstream) => {
    const { socket, got } = await open(data.port);
    socket.write(`${post(await data.mint(), 'Content-Length: 60')}abc`);
    await soon(() => upstream.octets().endsWith('abc'));
    upstream.sockets()[0]?.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno');
    await soon(() => got().includes('413 Too Large'));
    expect(data.audit.outcomes[0]).toMatchObject({ result: 'completed', status: 413 });
    socket.destroy();
  }));

test('a client that does not read holds the upstream back, and is let go in time', () =>
  withApi(
    async (data, upstream) => {
      let sent = 0;
      upstream.script((socket) => {
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n');
        const piece = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
        const more = () => {
          while (sent < 64 * 1024 * 1024) {
            sent += 0x10000;
            if (!socket.write(piece)) return;
          }
        };
        socket.on('drain', more);
        more();
      });
      const { socket } = await open(data.port);
      socket.pause();
      socket.write(get(await data.mint()));
      await soon(() => data.audit.outcomes.length === 1);
      expect(sent).toBeLessThan(32 * 1024 * 1024);
      expect(data.audit.outcomes[0]).toMatchObject({ result: 'failed', reason: 'request_timeout', status: 200 });
      socket.destroy();
    },
    { limits: { stallTimeoutMs: 300 } },
  ));

test('a large body goes through in both directions, byte for byte', () =>
  withApi(async (data, upstream) => {
    const body = Array.from({ length: 40_000 }, (_one, at) => `line ${at}\n`).join('');
    upstream.script(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const answer = await ask(data.port, '/v1/items', { method: 'POST', token: await data.mint(), body });
    expect(answer.body === body).toBe(true);
    expect(upstream.requests()[0]?.body === body).toBe(true);
    expect(data.audit.outcomes[0]).toMatchObject({ request_bytes: body.length, response_bytes: body.length });
  }));

test.each([
  ['by its length', 'Content-Length: 1001', ''],
  ['as it comes', 'Transfer-Encoding: chunked', `400\r\n${'x'.repeat(0x400)}\r\n`],
])('a body that is too large is refused %s', (_name, framing, body) =>
  withApi(
    async (data, upstream) => {
      const { octets, isClosed } = await talk(data.port, [{ send: post(await data.mint(), framing) + body }], 2000);
      const [answer] = parseAnswers(octets);
      expect([answer?.status, answer === undefined ? '' : codeIn(answer), isClosed]).toEqual([
        413,
        'body_too_large',
        true,
      ]);
      expect(upstream.requests().filter(({ isComplete }) => isComplete)).toEqual([]);
    },
    { limits: { bodyBytesMax: 1000 } },
  ));

test('a body that stops coming is given up', () =>
  withApi(
    async (data, upstream) => {
      const { octets } = await talk(data.port, [{ send: `${post(await data.mint(), 'Content-Length: 60')}abc` }], 2000);
      expect(parseAnswers(octets)[0]?.status).toBe(408);
      expect(upstream.requests().filter(({ isComplete }) => isComplete)).toEqual([]);
      expect(data.audit.outcomes[0]).toMatchObject({ result: 'failed', reason: 'request_timeout', status: 408 });
    },
    { limits: { bodyIdleTimeoutMs: 150 } },
  ));

test('a request is never sent twice, not even one that could be', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint();
    expect((await ask(data.port, '/public/a', { token })).status).toBe(200);
    upstream.script((socket) => socket.destroy());
    const answer = await ask(data.port, '/public/b', { token });
    expect([answer.status, codeIn(answer)]).toEqual([502, 'upstream_unreachable']);
    expect(upstream.requests().filter(({ target }) => target === '/public/b')).toHaveLength(1);
  }));

test('connections to the upstream are used again', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint();
    for (let at = 0; at < 5; at += 1) expect((await ask(data.port, '/public/a', { token })).status).toBe(200);
    expect([upstream.dialled(), upstream.requests().length]).toEqual([1, 5]);
  }));

test.each([
  ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n'],
  [`HTTP/1.1 200 OK\r\n${'X-Long: x\r\n'.repeat(10_000)}\r\n`],
  ['{}\r\n'],
  ['\r\n\r\n\r\nnothing'],
])('an answer that is not sound HTTP is 502 (%#)', (octets) =>
  withApi(async (data, upstream) => {
    upstream.script(octets);
    const answer = await ask(data.port, '/public/a', { token: await data.mint() });
    expect([answer.status, codeIn(answer)]).toEqual([502, 'upstream_response_invalid']);
  }));
