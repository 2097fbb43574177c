// fetch through the data plane: tokens are minted, held, renewed, and refusals are typed.
import { Code, ConnectError } from '@connectrpc/connect';
import { DaypassError, type ErrorCode } from '@daypass/core/errors';
import { readToken, readUnverifiedClaims } from '@daypass/core/token';
import { createDaypass, type DaypassInit, type DaypassOptions, RefusedError } from '@daypass/sdk';
import { expect, test } from 'vitest';
import { NOW } from '../core/fixture.ts';
import { CONTROL, createDataPlane, createMinter, fetchTo, refuse, thrownBy, tokenOf } from './fixture.ts';

const setUp = async (answer: Parameters<typeof createDataPlane>[0], options: Partial<DaypassOptions> = {}) => {
  const minter = createMinter();
  const plane = await createDataPlane(answer);
  const daypass = createDaypass({
    controlPlane: CONTROL,
    dataPlane: plane.url,
    apiKey: 'dpk_key',
    fetch: fetchTo(minter.routes),
    ...options,
  });
  return { minter, plane, daypass, [Symbol.asyncDispose]: () => plane[Symbol.asyncDispose]() };
};
const ok = (_: unknown, response: { end(text: string): void }): void => response.end('ok');

test('a request is sent with a token for the smallest rule that allows it', async () => {
  await using at = await setUp(ok, { client: 'bot', ttlSeconds: 60 });
  const response = await at.daypass.fetch('github', '/repos/acme/site/issues?page=2');
  expect(await response.text()).toBe('ok');
  expect(at.minter.asked).toMatchObject([
    { service: 'github', allow: ['GET /repos/acme/site/issues'], client: 'bot', ttl: { seconds: 60n } },
  ]);
  expect(at.minter.authorizations).toEqual(['Bearer dpk_key']);
  expect(at.plane.seen).toMatchObject([
    {
      method: 'GET',
      url: '/s/github/repos/acme/site/issues?page=2',
      headers: { authorization: `Bearer ${await tokenOf('t1')}` },
    },
  ]);
});

test('method, headers and body go through, and the API key does not', async () => {
  await using at = await setUp(ok);
  const init = {
    method: 'post',
    body: '{"a":1}',
    headers: { 'content-type': 'application/json', authorization: 'Bearer mine' },
  };
  await at.daypass.fetch('github', '/issues', init);
  expect(at.minter.asked[0]?.allow).toEqual(['POST /issues']);
  const [seen] = at.plane.seen;
  expect(seen).toMatchObject({ method: 'POST', body: '{"a":1}', headers: { 'content-type': 'application/json' } });
  expect(seen?.headers.authorization).toBe(`Bearer ${await tokenOf('t1')}`);
  expect(JSON.stringify(at.plane.seen)).not.toContain('dpk_key');
});

test('an API key may come from a function', async () => {
  const given = ['dpk_1', 'dpk_2'];
  const apiKey = async (): Promise<string> => given.shift() ?? '';
  await using at = await setUp(ok, { apiKey });
  await at.daypass.fetch('github', '/a');
  await at.daypass.fetch('github', '/b');
  expect(at.minter.authorizations).toEqual(['Bearer dpk_1', 'Bearer dpk_2']);
});

test('a token is used again for the same scope, whatever the order of its rules', async () => {
  await using at = await setUp(ok);
  await at.daypass.fetch('github', '/a', { allow: ['GET /a', 'GET /b'] });
  await at.daypass.fetch('github', '/b', { allow: ['GET /b', 'GET /a'] });
  expect(at.minter.asked).toHaveLength(1);
  await at.daypass.fetch('gitlab', '/b', { allow: ['GET /b', 'GET /a'] });
  expect(at.minter.asked).toHaveLength(2);
});

test('rules of the Daypass hold where a request names none', async () => {
  await using at = await setUp(ok, { allow: ['GET /**'] });
  await at.daypass.fetch('github', '/a');
  await at.daypass.fetch('github', '/b');
  await at.daypass.fetch('github', '/b', { allow: ['GET /b'] });
  expect(at.minter.asked.map(({ allow }) => allow)).toEqual([['GET /**'], ['GET /b']]);
});

test('requests at the same time share one mint', async () => {
  await using at = await setUp(ok, { allow: ['GET /**'] });
  const responses = await Promise.all(Array.from({ length: 50 }, (_, n) => at.daypass.fetch('github', `/${n}`)));
  expect(responses.every(({ status }) => status === 200)).toBe(true);
  expect(at.minter.asked).toHaveLength(1);
});

test('token() hands out the held token', async () => {
  await using at = await setUp(ok);
  const first = await at.daypass.token('github', ['GET /a']);
  expect(await at.daypass.token('github', ['GET /a'])).toBe(first);
  expect(at.minter.asked).toHaveLength(1);
});

test('mintBatch() mints many to hand out, in order, with what each says for itself', async () => {
  await using at = await setUp(ok);
  const minted = await at.daypass.mintBatch('github', [
    { allow: ['GET /a'], client: 'one', subject: 'ann', ttlSeconds: 60, dpopJkt: 'x'.repeat(43) },
    { allow: ['GET /b'], client: 'two' },
  ]);
  expect(minted.map(({ jti, allow }) => [jti, allow])).toEqual([
    ['one', ['GET /a']],
    ['two', ['GET /b']],
  ]);
  expect(minted.map(({ token }) => readUnverifiedClaims(readToken(token)).jti)).toEqual(['one', 'two']);
  expect(minted[0]?.expiresAt.getTime()).toBe((NOW + 900) * 1000);
  const [first, second] = at.minter.batches[0]?.tokens ?? [];
  expect(first).toMatchObject({ client: 'one', subject: 'ann', ttl: { seconds: 60n }, dpopJkt: 'x'.repeat(43) });
  expect([second?.subject, second?.ttl]).toEqual(['', undefined]);
  const short = at.daypass.mintBatch('github', [{ allow: ['GET /a'] }, { allow: ['GET /a'], ttlSeconds: 0 }]);
  await expect(short).rejects.toMatchObject({ code: 'invalid_argument', field: 'tokens[1].ttlSeconds' });
  await expect(at.daypass.mintBatch('no name', [])).rejects.toMatchObject({ field: 'service' });
  at.minter.fail(new ConnectError('no', Code.PermissionDenied));
  await expect(at.daypass.mintBatch('github', [{ allow: ['GET /a'] }])).rejects.toBeInstanceOf(DaypassError);
});

test('an answer of the upstream is returned as it is, a problem of its own included', async () => {
  const problem = JSON.stringify({ title: 'No', status: 403 });
  await using at = await setUp((_, response) => {
    response
      .writeHead(403, { 'content-type': 'application/problem+json', 'content-length': problem.length })
      .end(problem);
  });
  const response = await at.daypass.fetch('github', '/a');
  expect(response.status).toBe(403);
  expect(await response.text()).toBe(problem);
  expect(at.plane.seen).toHaveLength(1);
});

test.each([
  'not json',
  '{"code":"scope_refused"}',
  '{"code":"made_up","detail":"x","decision_id":"d"}',
  '[]',
])('a body that is no refusal of Daypass stays readable: %s', async (body) => {
  await using at = await setUp((_, response) => {
    response.writeHead(401, { 'content-type': 'application/problem+json', 'content-length': body.length }).end(body);
  });
  expect(await (await at.daypass.fetch('github', '/a')).text()).toBe(body);
  expect(at.minter.asked).toHaveLength(1);
});

test('a refusal of Daypass is thrown with its code, decision and needed rule', async () => {
  await using at = await setUp((_, response) =>
    refuse(response, new DaypassError('scope_refused', 'No.', { neededRule: 'GET /a' })),
  );
  const error = await thrownBy(() => at.daypass.fetch('github', '/a', { allow: ['GET /b'] }));
  expect(error).toBeInstanceOf(RefusedError);
  expect(error).toBeInstanceOf(DaypassError);
  expect(error).toMatchObject({
    code: 'scope_refused',
    status: 403,
    decisionId: 'decision-1',
    neededRule: 'GET /a',
    message: 'No.',
  });
  expect(at.plane.seen).toHaveLength(1);
});

test('a refusal says when to come back', async () => {
  await using at = await setUp((_, response) => refuse(response, new DaypassError('snapshot_missing', 'Not yet')));
  expect(await thrownBy(() => at.daypass.fetch('github', '/a'))).toMatchObject({
    code: 'snapshot_missing',
    retryAfterSeconds: 1,
  });
});

test('a refusal of HEAD, which has no body, is told by its challenge', async () => {
  await using at = await setUp((_, response) =>
    refuse(response, new DaypassError('scope_refused', 'No.', { neededRule: 'HEAD /a' })),
  );
  expect(await thrownBy(() => at.daypass.fetch('github', '/a', { method: 'HEAD' }))).toMatchObject({
    code: 'scope_refused',
    status: 403,
    decisionId: '',
    neededRule: 'HEAD /a',
  });
});

const bodies: readonly (readonly [string, () => NonNullable<DaypassInit['body']>])[] = [
  ['a text', () => 'again'],
  ['bytes', () => new TextEncoder().encode('again')],
  ['a buffer', () => new TextEncoder().encode('again').buffer],
  ['a blob', () => new Blob(['again'])],
  ['parameters', () => new URLSearchParams({ again: '' })],
];

test.each(bodies)('a refused token is replaced once, and a body that is %s is sent again', async (_what, body) => {
  await using at = await setUp((_, response, count) =>
    count === 1 ? refuse(response, new DaypassError('token_revoked', 'Revoked')) : void response.end('ok'),
  );
  const response = await at.daypass.fetch('github', '/a', { method: 'POST', body: body() });
  expect(await response.text()).toBe('ok');
  expect(at.minter.asked).toHaveLength(2);
  expect(at.plane.seen.map(({ body: sent }) => sent)).toEqual([at.plane.seen[0]?.body, at.plane.seen[0]?.body]);
  expect(at.plane.seen[0]?.body).toContain('again');
  expect(at.plane.seen[1]?.headers.authorization).toBe(`Bearer ${await tokenOf('t2')}`);
  await at.daypass.fetch('github', '/a', { method: 'POST', body: body() });
  expect(at.minter.asked).toHaveLength(2);
});

test('a token that is refused again is not tried a third time', async () => {
  await using at = await setUp((_, response) => refuse(response, new DaypassError('token_key_unknown', 'Unknown')));
  expect(await thrownBy(() => at.daypass.fetch('github', '/a'))).toMatchObject({ code: 'token_key_unknown' });
  expect(at.plane.seen).toHaveLength(2);
});

test('a streamed body is not sent again, and the next request has a fresh token', async () => {
  await using at = await setUp((_, response, count) =>
    count === 1 ? refuse(response, new DaypassError('token_expired', 'Expired')) : void response.end('ok'),
  );
  const init = { method: 'POST', body: new Blob(['x']).stream(), duplex: 'half', allow: ['POST /a'] } as const;
  expect(await thrownBy(() => at.daypass.fetch('github', '/a', init))).toMatchObject({ code: 'token_expired' });
  expect(at.plane.seen).toHaveLength(1);
  expect((await at.daypass.fetch('github', '/a', { method: 'POST' })).status).toBe(200);
  expect(at.minter.asked).toHaveLength(2);
});

test.each([
  'scope_refused',
  'token_ambiguous',
  'rate_limited',
  'seal_expired',
] as const satisfies ErrorCode[])('a refusal for %s is not retried', async (code) => {
  await using at = await setUp((_, response) => refuse(response, new DaypassError(code, 'No')));
  expect(await thrownBy(() => at.daypass.fetch('github', '/a'))).toMatchObject({ code });
  expect(at.plane.seen).toHaveLength(1);
  expect(at.minter.asked).toHaveLength(1);
});

test('an upstream that says 401 keeps its answer', async () => {
  await using at = await setUp((_, response) => void response.writeHead(401).end('who?'));
  expect((await at.daypass.fetch('github', '/a')).status).toBe(401);
  expect(at.minter.asked).toHaveLength(1);
});

test('a mint that is refused is thrown with code and field, and is tried anew', async () => {
  await using at = await setUp(ok);
  const headers = { 'daypass-error-code': 'invalid_rule', 'daypass-error-field': 'allow%5B0%5D' };
  at.minter.fail(new ConnectError('allow[0]: no', Code.InvalidArgument, headers));
  const error = await thrownBy(() => at.daypass.fetch('github', '/a'));
  expect(error).toBeInstanceOf(DaypassError);
  expect(error).toMatchObject({ code: 'invalid_rule', field: 'allow[0]', message: 'allow[0]: no' });
  expect(at.plane.seen).toHaveLength(0);
  at.minter.fail(undefined);
  expect((await at.daypass.fetch('github', '/a')).status).toBe(200);
});

test('planes that do not answer are unavailable', async () => {
  await using at = await setUp(ok);
  const gone = await createDataPlane(ok);
  await gone[Symbol.asyncDispose]();
  const noData = createDaypass({
    controlPlane: CONTROL,
    dataPlane: gone.url,
    apiKey: 'k',
    fetch: fetchTo(at.minter.routes),
  });
  expect(await thrownBy(() => noData.fetch('github', '/a'))).toMatchObject({ code: 'unavailable' });
  const noControl = createDaypass({ controlPlane: gone.url, dataPlane: at.plane.url, apiKey: 'k' });
  expect(await thrownBy(() => noControl.fetch('github', '/a'))).toMatchObject({ code: 'unavailable' });
});

test('a data plane that sends no head in time is unavailable', async () => {
  await using at = await setUp(() => undefined, { headTimeoutMs: 50 });
  expect(await thrownBy(() => at.daypass.fetch('github', '/a'))).toMatchObject({ code: 'unavailable' });
});

test("an abort ends the request with the caller's reason, and leaves a shared mint alone", async () => {
  await using at = await setUp(() => undefined, { allow: ['GET /**'] });
  const reason = new Error('enough');
  expect(await thrownBy(() => at.daypass.fetch('github', '/a', { signal: AbortSignal.abort(reason) }))).toBe(reason);
  const stop = new AbortController();
  const pending = thrownBy(() => at.daypass.fetch('github', '/a', { signal: stop.signal }));
  await expect.poll(() => at.plane.seen.length).toBe(1);
  stop.abort(reason);
  expect(await pending).toBe(reason);
});

test.each([
  ['/a/../b', 'target_ambiguous'],
  ['/a/%2e%2e/b', 'target_ambiguous'],
  ['/a%2fb', 'target_ambiguous'],
  ['//evil.example/a', 'target_ambiguous'],
  ['/a\\b', 'target_ambiguous'],
  ['/a#b', 'target_ambiguous'],
  ['/a\nb', 'target_ambiguous'],
  ['a', 'target_ambiguous'],
  ['', 'target_ambiguous'],
  ['https://evil.example/', 'target_ambiguous'],
])('the path %j is refused before anything is minted or sent', async (path, code) => {
  await using at = await setUp(ok);
  expect(await thrownBy(() => at.daypass.fetch('github', path, { allow: ['* /**'] }))).toMatchObject({ code });
  expect([at.minter.asked, at.plane.seen]).toEqual([[], []]);
});

test.each(['', '..', 'a/b', 'A', 'a?b', '%61', 'a'.repeat(64)])('the service %j is refused', async (service) => {
  await using at = await setUp(ok);
  expect(await thrownBy(() => at.daypass.fetch(service, '/a'))).toMatchObject({
    code: 'invalid_argument',
    field: 'service',
  });
  expect(await thrownBy(() => at.daypass.token(service, ['GET /a']))).toMatchObject({ code: 'invalid_argument' });
  expect(at.minter.asked).toEqual([]);
});

test.each([
  [{ controlPlane: 'ftp://a' }, 'controlPlane'],
  [{ dataPlane: 'not a url' }, 'dataPlane'],
  [{ dataPlane: 'https://user:pw@a' }, 'dataPlane'],
  [{ dataPlane: 'https://a/?b' }, 'dataPlane'],
  [{ ttlSeconds: 0 }, 'ttlSeconds'],
  [{ ttlSeconds: Number.NaN }, 'ttlSeconds'],
])('the options %j are refused', async (options, field) => {
  const all = { controlPlane: CONTROL, dataPlane: CONTROL, apiKey: 'k', ...options };
  expect(await thrownBy(() => createDaypass(all))).toMatchObject({ code: 'invalid_argument', field });
});

test('a data plane may live under a path', async () => {
  await using at = await setUp(ok);
  const daypass = createDaypass({
    controlPlane: CONTROL,
    dataPlane: `${at.plane.url}/proxy/`,
    apiKey: 'k',
    fetch: fetchTo(at.minter.routes),
  });
  await daypass.fetch('github', '/a');
  expect(at.plane.seen[0]?.url).toBe('/proxy/s/github/a');
});

test('a closed Daypass mints no more', async () => {
  await using at = await setUp(ok);
  await at.daypass.fetch('github', '/a');
  at.daypass.close();
  expect(await thrownBy(() => at.daypass.fetch('github', '/a'))).toMatchObject({ code: 'failed_precondition' });
  expect(at.minter.asked).toHaveLength(1);
});
