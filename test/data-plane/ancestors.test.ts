// What was wrong with the two systems before this one, as far as it touches the proxy: a test each.
import { gzipSync } from 'node:zlib';
import { generateSigningKey } from '@daypass/core/key';
import { describe, expect, test } from 'vitest';
import { type Fixture, FLEET, startFixture } from './fixture.ts';
import { ask, codeIn, fieldOf, parseAnswers, type Recorder, startRecorder, talk } from './recorder.ts';

const SECRET = 'REAL-UPSTREAM-SECRET';

async function withApi(work: (data: Fixture, upstream: Recorder) => Promise<void>): Promise<void> {
  using upstream = await startRecorder();
  await using data = await startFixture({
    services: [{ name: 'api', origin: upstream.origin, secret: SECRET, is_default: true }],
  });
  await work(data, upstream);
}

describe('scope bypass', () => {
  test.each([
    '/public/../admin',
    '/public/%2e%2e/admin',
    '/public/..%2fadmin',
    '/public/%23/../admin',
    '/public/a%3f/../../admin',
    '/s/api/public/../../../admin',
    '/s/../admin',
  ])('by %s is refused before any rule is looked at', (target) =>
    withApi(async (data, upstream) => {
      const answer = await ask(data.port, target, { token: await data.mint() });
      expect([answer.status, codeIn(answer)]).toEqual([400, 'target_ambiguous']);
      expect(upstream.octets()).toBe('');
    }));

  test.each(['/public/a%23b', '/public/a%3fb'])('%s is one segment, sent as it came', (target) =>
    withApi(async (data, upstream) => {
      expect((await ask(data.port, target, { token: await data.mint() })).status).toBe(200);
      expect(upstream.requests()[0]?.target).toBe(target);
    }));
});

test.each([
  ['/repos/acme/x/issues', 200],
  ['/repos/acme/x/issues/1', 403],
  ['/v1/repos/acme/x/issues', 403],
  ['/REPOS/acme/x/issues', 403],
])('a pattern is matched whole and by case: %s is %i', (target, status) =>
  withApi(async (data) => {
    const token = await data.mint({ allowed: ['GET ~/repos/acme/[^/]+/issues'] });
    expect((await ask(data.port, target, { token })).status).toBe(status);
  }));

test('a minted pattern cannot stop the proxy (ReDoS)', () =>
  withApi(async (data) => {
    const token = await data.mint({ allowed: ['GET ~/(a+)+b', 'GET ~/(a|a)*c', 'GET ~/(.*)*d'] });
    const started = performance.now();
    expect((await ask(data.port, `/${'a'.repeat(6000)}`, { token })).status).toBe(403);
    expect(performance.now() - started).toBeLessThan(1500);
  }));

test.each([
  'HEAD',
  'PATCH',
  'PUT',
  'DELETE',
  'OPTIONS',
  'GET',
  'POST',
  'QUERY',
  'PROPFIND',
])('%s is forwarded when it is allowed', (method) =>
  withApi(async (data, upstream) => {
    const answer = await ask(data.port, '/thing', { method, token: await data.mint({ allowed: ['* /thing'] }) });
    expect(answer.status).toBe(200);
    expect(upstream.requests()[0]?.method).toBe(method);
  }));

test('HEAD has the length of the body and no body', () =>
  withApi(async (data) => {
    const answer = await ask(data.port, '/thing', {
      method: 'HEAD',
      token: await data.mint({ allowed: ['HEAD /thing'] }),
    });
    expect([fieldOf(answer.head, 'content-length'), answer.body]).toEqual(['2', '']);
  }));

test('repeated query keys all arrive, in order', () =>
  withApi(async (data, upstream) => {
    await ask(data.port, '/public/a?x=1&y=2&x=3', { token: await data.mint() });
    expect(upstream.requests()[0]?.target).toBe('/public/a?x=1&y=2&x=3');
  }));

test('a multipart body arrives whole, with its type and length', () =>
  withApi(async (data, upstream) => {
    const body = '--b\r\nContent-Disposition: form-data; name="f"; filename="x"\r\n\r\nbytes\u0000\u00ff\r\n--b--\r\n';
    const request = [
      'POST /v1/items HTTP/1.1',
      'Host: h',
      `Authorization: Bearer ${await data.mint()}`,
      'Content-Type: multipart/form-data; boundary=b',
      `Content-Length: ${body.length}`,
      'Connection: close',
    ];
    await talk(data.port, [{ send: `${request.join('\r\n')}\r\n\r\n${body}` }], 3000);
    const [seen] = upstream.requests();
    expect(seen?.body).toBe(body);
    expect(seen?.fields).toContainEqual(['content-type', 'multipart/form-data; boundary=b']);
    expect(seen?.fields).toContainEqual(['content-length', String(body.length)]);
  }));

test.each([
  ['a length', ['Content-Length: 2'], '{}'],
  ['chunks', ['Transfer-Encoding: chunked'], '2\r\n{}\r\n0\r\n\r\n'],
])('a body with %s never goes up with both Content-Length and Transfer-Encoding', (_name, framing, body) =>
  withApi(async (data, upstream) => {
    const head = ['POST /v1/items HTTP/1.1', 'Host: h', `Authorization: Bearer ${await data.mint()}`, ...framing];
    await talk(data.port, [{ send: `${[...head, 'Connection: close'].join('\r\n')}\r\n\r\n${body}` }], 3000);
    const [seen] = upstream.requests();
    const framed = seen?.fields.filter(([name]) => name === 'content-length' || name === 'transfer-encoding');
    expect(framed).toHaveLength(1);
    expect(seen?.body).toBe('{}');
  }));

test('client headers arrive, Content-Type and Accept-Encoding with them', () =>
  withApi(async (data, upstream) => {
    const fields = [
      'Content-Type: text/x',
      'Accept: a/b',
      'Accept-Encoding: gzip',
      'User-Agent: me',
      'X-Own: 1',
      'Cookie: a=b',
    ];
    await ask(data.port, '/v1/items', { method: 'POST', token: await data.mint(), fields, body: 'x' });
    const seen = upstream.requests()[0]?.fields;
    for (const field of fields) {
      const [name = '', value] = field.split(': ');
      expect(seen).toContainEqual([name.toLowerCase(), value]);
    }
  }));

test('a gzip body stays gzip, byte for byte, and is labelled so', () =>
  withApi(async (data, upstream) => {
    const zipped = gzipSync('hello hello hello').toString('latin1');
    const head = `HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: ${zipped.length}\r\n\r\n`;
    upstream.script(head + zipped);
    const answer = await ask(data.port, '/public/a', { token: await data.mint() });
    expect(fieldOf(answer.head, 'content-encoding')).toBe('gzip');
    expect(answer.body).toBe(zipped);
  }));

test('two Set-Cookie stay two', () =>
  withApi(async (data, upstream) => {
    upstream.script('HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n');
    const { head } = await ask(data.port, '/public/a', { token: await data.mint() });
    expect(head.match(/set-cookie: .*/gi)).toEqual(['Set-Cookie: a=1; Path=/', 'Set-Cookie: b=2']);
  }));

test('server-sent events arrive one by one, each before the next is sent', () =>
  withApi(async (data, upstream) => {
    const sent = Promise.withResolvers<import('node:net').Socket>();
    upstream.script((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n');
      sent.resolve(socket);
    });
    const request = `GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${await data.mint()}\r\n\r\n`;
    let step = 0;
    const { octets } = await talk(data.port, [{ send: request }], 3000, (got) => {
      // The next event is sent only when the one before has come through.
      if (step === 0 && got.includes('text/event-stream')) {
        step = 1;
        void sent.promise.then((socket) => socket.write('9\r\ndata: 1\n\n\r\n'));
      } else if (step === 1 && got.includes('data: 1')) {
        step = 2;
        void sent.promise.then((socket) => socket.write('9\r\ndata: 2\n\n\r\n'));
      }
      return got.includes('data: 2');
    });
    expect(octets).toContain('data: 2');
  }));

test('a redirect to another host is handed on, and the credential goes nowhere', async () => {
  using other = await startRecorder();
  await withApi(async (data, upstream) => {
    upstream.script(`HTTP/1.1 307 Go\r\nLocation: ${other.origin}/x\r\nContent-Length: 0\r\n\r\n`);
    const answer = await ask(data.port, '/public/a', { token: await data.mint() });
    expect([answer.status, fieldOf(answer.head, 'location')]).toEqual([307, `${other.origin}/x`]);
    expect(other.dialled()).toBe(0);
  });
});

test('neither credential nor token is in any log, even at debug, nor in the audit', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint();
    upstream.script(`HTTP/1.1 200 ${SECRET}\r\nX-Echo: Bearer ${SECRET}\r\nContent-Length: 0\r\n\r\n`);
    await ask(data.port, `/public/a?access_token=${token}`, { token });
    upstream.script('garbage\r\n\r\n');
    expect((await ask(data.port, '/public/b', { token })).status).toBe(502);
    await ask(data.port, '/admin', { token });
    const written =
      data.logs.join('\n') + JSON.stringify([data.audit.decisions, data.audit.outcomes, data.audit.counted]);
    expect(written).toContain('/public/a');
    expect(written).not.toContain(SECRET);
    for (const part of token.split('.')) expect(written).not.toContain(part);
  }));

test('an invented service name without a token leaves no trace of itself', () =>
  withApi(async (data) => {
    const answer = await ask(data.port, '/s/invented/x');
    expect([answer.status, codeIn(answer)]).toEqual([401, 'token_missing']);
    expect(data.audit.decisions).toEqual([]);
    expect(data.audit.counted).toEqual([{ reason: 'token_missing', source: '127.0.0.1', service: '' }]);
  }));

test('nothing of a claim is told before the signature is checked', () =>
  withApi(async (data) => {
    const foreign = await generateSigningKey();
    const cases = [
      { service: 'nothing' },
      { exp: 2_000_000_000, iat: 1_999_999_000, nbf: 1_999_999_000 },
      { aud: 'urn:other' },
      {},
    ];
    for (const claims of cases) {
      const answer = await ask(data.port, '/public/a', { token: await data.mint(claims, foreign) });
      expect([answer.status, codeIn(answer)]).toEqual([401, 'token_key_unknown']);
    }
    expect(data.audit.decisions).toEqual([]);
  }));

test('a token of another fleet with the same keys is no token here', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint({ aud: `${FLEET.slice(0, -1)}B` });
    const answer = await ask(data.port, '/public/a', { token });
    expect([answer.status, codeIn(answer)]).toEqual([401, 'token_audience_wrong']);
    expect(upstream.octets()).toBe('');
  }));

test('an upstream that refuses is 502', async () => {
  const upstream = await startRecorder();
  upstream.close();
  await using data = await startFixture({
    services: [{ name: 'api', origin: upstream.origin, secret: SECRET, is_default: true }],
  });
  const answer = await ask(data.port, '/public/a', { token: await data.mint() });
  expect([answer.status, codeIn(answer)]).toEqual([502, 'upstream_unreachable']);
});

test('an upstream that is slow is 504', async () => {
  using upstream = await startRecorder();
  await using data = await startFixture({
    services: [{ name: 'api', origin: upstream.origin, secret: SECRET, is_default: true, response_timeout_ms: 150 }],
  });
  upstream.script(() => undefined);
  const answer = await ask(data.port, '/public/a', { token: await data.mint() });
  expect([answer.status, codeIn(answer)]).toEqual([504, 'upstream_timeout']);
});

test('a new snapshot is in force at the next request', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint();
    const request = `GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n\r\n`;
    const first = await talk(data.port, [{ send: request }], 200);
    await data.publish({
      services: [{ name: 'api', origin: upstream.origin, secret: SECRET, is_default: true, clients: [] }],
    });
    const second = await talk(data.port, [{ send: request }], 200);
    expect([parseAnswers(first.octets)[0]?.status, parseAnswers(second.octets)[0]?.status]).toEqual([200, 403]);
  }));
