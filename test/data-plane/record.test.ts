// The audit of a request: one decision and one outcome for each verified token, before the last byte leaves.
import { describe, expect, test } from 'vitest';
import { type Fixture, type FixtureOptions, startFixture } from './fixture.ts';
import { ask, codeIn, type Recorder, soon, startRecorder, talk } from './recorder.ts';

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

test('an allowed request is one decision and one outcome of one id', () =>
  withApi(async (data) => {
    const token = await data.mint({ jti: 'the-jti', sub: 'bot', client_id: 'label', caller: 'ci' });
    await ask(data.port, '/v1/items?secret=1', { method: 'POST', token, body: '{}' });
    const [decision] = data.audit.decisions;
    expect(data.audit.decisions).toEqual([
      {
        kind: 'decision',
        id: expect.stringMatching(/^[0-9a-f]{32}$/),
        time: data.clock.nowMs,
        result: 'allowed',
        reason: '',
        jti: 'the-jti',
        caller: 'ci',
        principal: 'bot',
        client: 'label',
        service: 'api',
        method: 'POST',
        path: '/v1/items',
        rule: 'POST /v1/items',
        credential_id: expect.stringMatching(/^[0-9a-f]{32}$/),
        snapshot_version: 1,
        count: 1,
        source: '',
      },
    ]);
    expect(data.audit.outcomes).toEqual([
      {
        kind: 'outcome',
        id: decision?.id,
        time: data.clock.nowMs,
        result: 'completed',
        reason: '',
        status: 200,
        request_bytes: 2,
        response_bytes: 2,
        latency_micros: expect.any(Number),
      },
    ]);
    expect(Number.isInteger(data.audit.outcomes[0]?.latency_micros)).toBe(true);
    expect(data.audit.counted).toEqual([]);
  }));

test('a refusal after authentication is one decision and one outcome too', () =>
  withApi(async (data) => {
    await ask(data.port, '/admin', { token: await data.mint() });
    await ask(data.port, '/s/invented/x', { token: await data.mint() });
    expect(data.audit.decisions.map(({ result, reason, service, path }) => [result, reason, service, path])).toEqual([
      ['refused', 'scope_refused', 'api', '/admin'],
      ['refused', 'service_wrong', 'invented', '/x'],
    ]);
    expect(data.audit.outcomes.map(({ result, status }) => [result, status])).toEqual([
      ['refused', 403],
      ['refused', 403],
    ]);
  }));

test('a failure of the upstream leaves the decision as it was', () =>
  withApi(async (data, upstream) => {
    upstream.script('garbage\r\n\r\n');
    await ask(data.port, '/public/a', { token: await data.mint() });
    expect(data.audit.decisions).toMatchObject([{ result: 'allowed', reason: '' }]);
    expect(data.audit.outcomes).toMatchObject([{ result: 'failed', reason: 'upstream_response_invalid', status: 502 }]);
  }));

test('refusals before authentication are counted by reason, source and known service', () =>
  withApi(async (data) => {
    await ask(data.port, '/s/api/x');
    await ask(data.port, '/x', { token: 'a.b.c' });
    await ask(data.port, '/a/../b', { token: await data.mint() });
    await talk(data.port, [{ send: 'nonsense\r\n\r\n' }], 1000);
    expect(data.audit.decisions).toEqual([]);
    const source = '127.0.0.1';
    expect(data.audit.counted).toEqual([
      { reason: 'token_missing', source, service: 'api' },
      { reason: 'token_malformed', source, service: 'api' },
      { reason: 'target_ambiguous', source, service: '' },
      { reason: 'framing_invalid', source, service: '' },
    ]);
  }));

describe('both records are written before the last byte leaves', () => {
  const answers: readonly [string, string, string][] = [
    ['of a body with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab', 'cd'],
    ['of a chunked body', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n', '0\r\n\r\n'],
  ];
  test.each(answers)('%s', (_name, first, last) =>
    withApi(async (data, upstream) => {
      upstream.script(first);
      const seen: number[] = [];
      const request = `GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${await data.mint()}\r\n\r\n`;
      await talk(data.port, [{ send: request }], 3000, (got) => {
        seen.push(data.audit.outcomes.length);
        if (got.includes('ab') && seen.at(-1) === 0) upstream.sockets()[0]?.write(last);
        return data.audit.outcomes.length > 0 && (got.includes('cd') || got.endsWith('0\r\n\r\n'));
      });
      expect(seen[0]).toBe(0);
      expect(seen.at(-1)).toBe(1);
    }));

  const whole = [
    'HTTP/1.1 204 X\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  ];
  test.each([
    ...whole,
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  ])('or the client does not get a whole answer when they cannot be (%#)', (octets) =>
    withApi(async (data, upstream) => {
      upstream.script((socket) => {
        data.audit.isFailing = true;
        socket.write(octets);
      });
      const request = `GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${await data.mint()}\r\n\r\n`;
      const { octets: got, isClosed } = await talk(data.port, [{ send: request }], 2000);
      expect(got).not.toMatch(/204|Content-Length|0\r\n\r\n$/);
      expect(isClosed).toBe(true);
      expect(data.logs.join('')).toContain('audit_unavailable');
    }));
});

test('a long answer has its decision written at once, and its outcome once', () =>
  withApi(
    async (data, upstream) => {
      upstream.script(() => undefined);
      const asking = ask(data.port, '/public/a', { token: await data.mint() });
      await soon(() => data.audit.decisions.length === 1);
      expect(data.audit.outcomes).toEqual([]);
      upstream.sockets()[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      expect((await asking).status).toBe(200);
      expect([data.audit.decisions.length, data.audit.outcomes.length]).toEqual([1, 1]);
      expect(data.audit.outcomes[0]?.id).toBe(data.audit.decisions[0]?.id);
    },
    { limits: { slowDecisionMs: 50 } },
  ));

test('nothing goes upstream while the audit does not accept', () =>
  withApi(async (data, upstream) => {
    data.audit.isAccepting = false;
    const answer = await ask(data.port, '/public/a', { token: await data.mint() });
    expect([answer.status, codeIn(answer)]).toEqual([503, 'audit_unavailable']);
    expect([upstream.dialled(), data.audit.decisions.length]).toEqual([0, 0]);
    data.audit.isAccepting = true;
    expect((await ask(data.port, '/public/a', { token: await data.mint() })).status).toBe(200);
  }));

test('a refusal that cannot be recorded is not answered', () =>
  withApi(async (data, upstream) => {
    data.audit.isFailing = true;
    expect((await ask(data.port, '/admin', { token: await data.mint() })).status).toBe(0);
    expect(upstream.dialled()).toBe(0);
  }));

test('every connection to the upstream belongs to a recorded request', () =>
  withApi(async (data, upstream) => {
    const targets = ['/public/1', '/admin', '/public/2', '/public/../x', '/v1/items/1', '/v1/items/1/2'];
    for (const target of targets) await ask(data.port, target, { token: await data.mint() });
    const allowed = data.audit.decisions.filter(({ result }) => result === 'allowed').map(({ path }) => path);
    expect(upstream.requests().map(({ target }) => target)).toEqual(allowed);
    expect(data.audit.outcomes).toHaveLength(data.audit.decisions.length);
  }));
