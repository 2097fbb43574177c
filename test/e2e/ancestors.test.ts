// What was wrong with magic-api-proxy (M) and lockbox-proxy (L), a test each: Daypass does it right.
import { copyFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { filesBelow, holding } from '../kit/canary.ts';
import { eventOf, events, mint, register } from '../kit/operator.ts';
import { call, type Fleet, startFleet } from '../kit/planes.ts';
import { exchange, requestText, statusOf } from '../kit/raw.ts';
import { json, startUpstream, type Upstream } from '../kit/upstream.ts';

const zipped = gzipSync('{"zipped":true}');
const secret = 'canary-ancestor-40b7d1f8e2a95c36';

let fleet: Fleet;
let upstream: Upstream;
let token: string;
let proceed = Promise.withResolvers<void>();

beforeAll(async () => {
  upstream = await startUpstream(async (seen, response) => {
    const path = seen.target.split('?')[0];
    if (path === '/public/zipped')
      return void response
        .writeHead(200, { 'content-encoding': 'gzip', 'content-type': 'application/json' })
        .end(zipped);
    if (path === '/public/cookies')
      return void response.writeHead(200, { 'set-cookie': ['a=1; Path=/', 'b=2; Path=/'] }).end();
    if (path === '/public/redirect')
      return void response.writeHead(302, { location: 'https://elsewhere.example/x' }).end();
    if (path === '/public/events') {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: first\n\n');
      await proceed.promise;
      return void response.end('data: last\n\n');
    }
    if (path === '/public/slow') return;
    json(response, 200, { target: seen.target }, { 'x-from': 'upstream' });
  });
  fleet = await startFleet();
  await register(fleet, 'things', upstream.origin, secret);
  token = await mint(fleet, 'things', ['* /public/**', 'POST /upload', 'PATCH /items/{id}'], ['--client', 'ancestor']);
});

beforeEach(() => upstream.forget());

afterAll(async () => {
  proceed.resolve();
  await fleet?.stop();
  await upstream?.close();
});

const auth = (text = token) => ({ authorization: `Bearer ${text}` });
const ask = (path: string, init: RequestInit = {}, text = token) =>
  fetch(`${fleet.dataUrl}/s/things${path}`, {
    redirect: 'manual',
    ...init,
    headers: { ...auth(text), ...init.headers },
  });

describe('scope bypass (M, L)', () => {
  test.each([
    '/public/../private',
    '/public/%2e%2e/private',
    '/public/%2E./private',
    '/public/..%2fprivate',
    '/public/..%2Fprivate',
    '/public/..%5cprivate',
    '/public/..\\private',
    '/public//../private',
    '/public/..;/private',
    '/public/%252e%252e/private',
    '/public/x%00/../../private',
    '/public/../../s/things/private',
  ])('%s is refused before any rule is looked at', async (path) => {
    const answer = await exchange(
      fleet.dataUrl,
      requestText('GET', `/s/things${path}`, [`Authorization: Bearer ${token}`]),
    );
    expect(statusOf(answer)).toBe(400);
    expect(upstream.seen).toEqual([]);
  });

  test.each([
    '/private%23/public/a',
    '/private%3f/public/a',
    '/private%23/../public/a',
  ])('%s does not become the path before its encoded delimiter', async (path) => {
    const answer = await exchange(
      fleet.dataUrl,
      requestText('GET', `/s/things${path}`, [`Authorization: Bearer ${token}`]),
    );
    expect([400, 403]).toContain(statusOf(answer));
    expect(upstream.seen).toEqual([]);
  });

  test.each(['/public/a%23b', '/public/a%3fb'])('%s goes upstream as it was written', async (path) => {
    const answer = await exchange(
      fleet.dataUrl,
      requestText('GET', `/s/things${path}`, [`Authorization: Bearer ${token}`]),
    );
    expect(statusOf(answer)).toBe(200);
    expect(upstream.seen.map((seen) => seen.target)).toEqual([path]);
  });
});

test('unanchored, case-insensitive patterns (M): a pattern is matched whole and in its own case', async () => {
  const pattern = await mint(fleet, 'things', ['GET ~/repos/acme']);
  expect((await ask('/repos/acme', {}, pattern)).status).toBe(200);
  for (const path of ['/repos/acme-evil', '/repos/acme/secrets', '/x/repos/acme', '/REPOS/acme']) {
    expect([path, (await ask(path, {}, pattern)).status]).toEqual([path, 403]);
  }
});

test('ReDoS from a minted pattern (M): the time is linear, and other requests do not wait', async () => {
  const slow = await mint(fleet, 'things', ['GET ~/(a|a)*(a+)+b', 'GET ~/(.*a){20}c']);
  const started = performance.now();
  const answers = await Promise.all([ask(`/${'a'.repeat(4000)}`, {}, slow), ask('/public/a')]);
  expect(answers.map((answer) => answer.status)).toEqual([403, 200]);
  expect(performance.now() - started).toBeLessThan(3000);
});

test('unauthenticated mint (M): without an API key there is no token', async () => {
  const answer = await call(fleet.controlUrl, 'TokenService/Mint', { service: 'things', allow: ['* /**'] }, {});
  expect(answer).toMatchObject({ status: 401, body: { code: 'unauthenticated' } });
});

test('HEAD crash or 405 (M, L): HEAD is forwarded when a rule names it, and GET does not imply it', async () => {
  const answer = await ask('/public/a', { method: 'HEAD' });
  expect([answer.status, answer.headers.get('x-from'), await answer.text()]).toEqual([200, 'upstream', '']);
  const get = await mint(fleet, 'things', ['GET /public/a']);
  expect((await ask('/public/a', { method: 'HEAD' }, get)).status).toBe(403);
});

test('PATCH 405 (L): PATCH is forwarded with its body', async () => {
  const answer = await ask('/items/7', {
    method: 'PATCH',
    body: '{"done":true}',
    headers: { 'content-type': 'application/json' },
  });
  expect(answer.status).toBe(200);
  expect(upstream.seen[0]).toMatchObject({ method: 'PATCH', body: '{"done":true}' });
});

test('repeated query keys lost (M, L): the query goes upstream byte for byte', async () => {
  const query = 'a=1&a=2&b=&c&a=3&d=%20x+y&e[]=1&e[]=2';
  await exchange(fleet.dataUrl, requestText('GET', `/s/things/public/q?${query}`, [`Authorization: Bearer ${token}`]));
  expect(upstream.seen.map((seen) => seen.target)).toEqual([`/public/q?${query}`]);
});

test('multipart body dropped while Content-Length stays (M): a form with a file arrives whole', async () => {
  const form = new FormData();
  form.set('title', 'A file');
  form.set('file', new Blob(['x'.repeat(100_000)]), 'file.bin');
  expect((await ask('/upload', { method: 'POST', body: form })).status).toBe(200);
  const seen = upstream.seen[0];
  expect(seen?.headers['content-type']).toMatch(/^multipart\/form-data; boundary=/);
  expect(seen?.body.length).toBeGreaterThan(100_000);
  expect(seen?.body).toContain('A file');
});

test.each([
  ['a length', ['Content-Length: 5'], 'hello'],
  ['chunks', ['Transfer-Encoding: chunked'], '5\r\nhello\r\n0\r\n\r\n'],
])('both Content-Length and Transfer-Encoding sent (M): a body with %s goes up with one of them', async (_name, framing, body) => {
  await exchange(
    fleet.dataUrl,
    requestText('POST', '/s/things/upload', [`Authorization: Bearer ${token}`, ...framing], body),
  );
  const headers = upstream.seen[0]?.headers ?? {};
  expect(
    [headers['content-length'] !== undefined, headers['transfer-encoding'] !== undefined].filter(Boolean),
  ).toHaveLength(1);
  expect(upstream.seen[0]?.body).toBe('hello');
});

test('a request that states both framings is refused and reaches nothing', async () => {
  const both = ['Content-Length: 5', 'Transfer-Encoding: chunked'];
  const answer = await exchange(
    fleet.dataUrl,
    requestText('POST', '/s/things/upload', [`Authorization: Bearer ${token}`, ...both], '0\r\n\r\n'),
  );
  expect(statusOf(answer)).toBe(400);
  expect(upstream.seen).toEqual([]);
});

test('all client headers dropped, Content-Type too (L): a client’s own headers arrive, its token does not', async () => {
  const headers = {
    accept: 'application/vnd.github+json',
    'content-type': 'text/plain',
    'x-custom': 'kept',
    'if-none-match': '"1"',
  };
  await ask('/upload', { method: 'POST', body: 'text', headers });
  expect(upstream.seen[0]?.headers).toMatchObject({ ...headers, authorization: `Bearer ${secret}` });
  expect(JSON.stringify(upstream.seen)).not.toContain(token.slice(-20));
});

test('gzip body decoded but still labelled gzip (M, L): the bytes and the label pass as they are', async () => {
  const answer = await exchange(
    fleet.dataUrl,
    requestText('GET', '/s/things/public/zipped', [`Authorization: Bearer ${token}`, 'Accept-Encoding: gzip']),
  );
  expect(answer).toMatch(/^content-encoding: gzip\r$/im);
  expect(Buffer.from(answer, 'latin1').includes(zipped)).toBe(true);
});

test('two Set-Cookie merged or lost (M, L): both arrive, apart', async () => {
  const answer = await ask('/public/cookies');
  expect(answer.headers.getSetCookie()).toEqual(['a=1; Path=/', 'b=2; Path=/']);
});

test('whole body buffered, so server-sent events come late (M, L): the first comes before the upstream has ended', async () => {
  proceed = Promise.withResolvers<void>();
  const answer = await ask('/public/events');
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  expect((await reader?.read())?.value).toBe('data: first\n\n');
  proceed.resolve();
  expect((await reader?.read())?.value).toBe('data: last\n\n');
});

test('redirects followed by the proxy, with a header credential to another host (M, L): the client gets the redirect', async () => {
  const answer = await ask('/public/redirect');
  expect([answer.status, answer.headers.get('location')]).toEqual([302, 'https://elsewhere.example/x']);
  expect(upstream.seen).toHaveLength(1);
});

test('credential in DEBUG logs (M): the planes log at debug here, and neither log holds it', async () => {
  expect(fleet.env.DAYPASS_LOG_LEVEL).toBe('debug');
  await ask('/public/a');
  expect(holding(secret, { control: fleet.control.logs(), data: fleet.data.logs() })).toEqual([]);
});

test('live tokens in the audit (L): the audit names a token by its id alone', async () => {
  await ask('/public/a');
  const found = await events(fleet, { client: 'ancestor' });
  expect(found.length).toBeGreaterThan(0);
  expect(holding(token.split('.')[2] ?? '', { audit: JSON.stringify(found) })).toEqual([]);
});

test('audit folders made for invented service names without authentication (L): nothing is named after them', async () => {
  for (let n = 0; n < 20; n += 1) {
    const answer = await fetch(`${fleet.dataUrl}/s/invented-${n}/x`);
    expect([401, 404]).toContain(answer.status);
  }
  const files = await filesBelow(fleet.home);
  expect(Object.keys(files).filter((path) => path.includes('invented-'))).toEqual([]);
  expect(holding('invented-', files)).toEqual([]);
  const metrics = await (await fetch(`${fleet.adminUrl}/metrics`)).text();
  expect(metrics).not.toContain('invented-');
});

test('claims told apart before the signature is checked (L): a forged token gets one answer whatever it claims', async () => {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>;
  const codes = [];
  for (const change of [
    {},
    { exp: 1 },
    { nbf: 9_999_999_999 },
    { aud: 'urn:other' },
    { service: 'nowhere' },
    { iss: 'https://other' },
  ]) {
    const forged = Buffer.from(JSON.stringify({ ...claims, jti: 'forged', ...change })).toString('base64url');
    const answer = await ask('/public/a', {}, `${header}.${forged}.${signature}`);
    codes.push([answer.status, ((await answer.json()) as { code: string }).code]);
  }
  expect(codes).toEqual(codes.map(() => [401, 'token_signature_invalid']));
});

test('one worker reloads, the others do not (L): every connection sees a change once the command returned', async () => {
  const passing = await mint(fleet, 'things', ['GET /public/a']);
  const all = () =>
    Promise.all(
      Array.from({ length: 40 }, () =>
        exchange(fleet.dataUrl, requestText('GET', '/s/things/public/a', [`Authorization: Bearer ${passing}`])).then(
          statusOf,
        ),
      ),
    );
  expect(new Set(await all())).toEqual(new Set([200]));
  await fleet.must(['revoke', '--token', passing]);
  expect(new Set(await all())).toEqual(new Set([401]));
});

test('a token of one proxy good at another with the same keys (M): another fleet refuses it by its audience', async () => {
  const other = await startFleet({ start: [] });
  try {
    await copyFile(join(fleet.home, 'control', 'token-key.jwk'), join(other.home, 'control', 'token-key.jwk'));
    await other.control.start();
    await other.data.start();
    await register(other, 'things', upstream.origin, secret);
    const answer = await fetch(`${other.dataUrl}/s/things/public/a`, { headers: auth() });
    expect(answer.status).toBe(401);
    expect(await answer.json()).toMatchObject({ code: expect.stringMatching(/^token_(?:audience|issuer)_wrong$/) });
  } finally {
    await other.stop();
  }
});

describe('upstream refused or slow is a 500 (M, L)', () => {
  let refusing: Server;
  beforeAll(async () => {
    refusing = createServer((socket) => socket.destroy());
    await new Promise<void>((resolve) => refusing.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => void refusing.close());

  test('an upstream that is not there is a 502', async () => {
    const gone = await startUpstream((_seen, response) => json(response, 200, {}));
    await register(fleet, 'gone', gone.origin, secret);
    await gone.close();
    const text = await mint(fleet, 'gone', ['GET /a']);
    const answer = await fetch(`${fleet.dataUrl}/s/gone/a`, { headers: auth(text) });
    expect(answer.status).toBe(502);
    const problem = (await answer.json()) as { code: string; decision_id: string };
    expect(problem.code).toBe('upstream_unreachable');
    expect(await eventOf(fleet, problem.decision_id)).toMatchObject({
      outcome: 'OUTCOME_FAILED',
      reason: 'upstream_unreachable',
    });
  });

  test('an upstream that closes without an answer is a 502', async () => {
    const address = refusing.address();
    const port = typeof address === 'object' ? address?.port : 0;
    await register(fleet, 'closing', `http://127.0.0.1:${port}`, secret);
    const text = await mint(fleet, 'closing', ['GET /a']);
    expect((await fetch(`${fleet.dataUrl}/s/closing/a`, { headers: auth(text) })).status).toBe(502);
  });

  test('an upstream that says nothing is a 504', async () => {
    await register(fleet, 'slow', upstream.origin, secret, ['--credential', 'bearer', '--response-timeout', '1s']);
    const text = await mint(fleet, 'slow', ['GET /public/slow']);
    const answer = await fetch(`${fleet.dataUrl}/s/slow/public/slow`, { headers: auth(text) });
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([504, 'upstream_timeout']);
  });
});
