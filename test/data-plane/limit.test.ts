// How often and how many at once.
import { describe, expect, test } from 'vitest';
import { type FixtureOptions, startFixture } from './fixture.ts';
import { ask, codeIn, fieldOf, soon, startRecorder, talk } from './recorder.ts';

const NONE = { per_token: null, per_client: null, per_service: null } as const;
const TWO = { requests: 2, per_seconds: 60 } as const;

async function withLimits(
  limits: Partial<typeof NONE> | { [K in keyof typeof NONE]?: typeof TWO },
  work: (
    data: Awaited<ReturnType<typeof startFixture>>,
    upstream: Awaited<ReturnType<typeof startRecorder>>,
  ) => Promise<void>,
  options: Partial<FixtureOptions> = {},
): Promise<void> {
  using upstream = await startRecorder();
  const service = {
    name: 'api',
    origin: upstream.origin,
    secret: 'S3CRET',
    is_default: true,
    limits: { ...NONE, ...limits },
  };
  await using data = await startFixture({ services: [service], ...options });
  await work(data, upstream);
}

describe('a limit', () => {
  const cases = [
    ['per token', { per_token: TWO }, [200, 200, 429, 200, 200, 200]],
    ['per client', { per_client: TWO }, [200, 200, 429, 429, 200, 200]],
    ['per service', { per_service: TWO }, [200, 200, 429, 429, 429, 429]],
  ] as const;
  test.each(cases)('%s holds, says when to come back, and fills again', (_name, limits, expected) =>
    withLimits(limits, async (data, upstream) => {
      const [one, same, other] = [await data.mint(), await data.mint(), await data.mint({ client_id: 'other' })];
      const statuses: number[] = [];
      for (const token of [one, one, one, same, other, other])
        statuses.push((await ask(data.port, '/public/a', { token })).status);
      expect(statuses).toEqual(expected);
      const refused = await ask(data.port, '/public/a', { token: one });
      expect([codeIn(refused), fieldOf(refused.head, 'retry-after')]).toEqual(['rate_limited', '30']);
      const before = upstream.requests().length;
      data.clock.nowMs += 30_000;
      expect((await ask(data.port, '/public/a', { token: one })).status).toBe(200);
      expect(upstream.requests()).toHaveLength(before + 1);
    }));

  test('that refuses costs the other limits nothing', () =>
    withLimits({ per_service: { ...TWO, requests: 3 } as never, per_token: TWO }, async (data) => {
      const [one, other] = [await data.mint(), await data.mint()];
      for (let at = 0; at < 5; at += 1) await ask(data.port, '/public/a', { token: one });
      expect((await ask(data.port, '/public/a', { token: other })).status).toBe(200);
    }));
});

test('more requests than may be in flight are answered 503, and their places come back', () =>
  withLimits(
    {},
    async (data, upstream) => {
      const token = await data.mint();
      upstream.script(() => undefined);
      upstream.script(() => undefined);
      const running = [ask(data.port, '/public/1', { token }), ask(data.port, '/public/2', { token })];
      await soon(() => upstream.requests().length === 2);
      const refused = await ask(data.port, '/public/3', { token });
      expect([refused.status, codeIn(refused)]).toEqual([503, 'overloaded']);
      expect(data.metrics.render()).toContain('daypass_requests_in_flight 2');
      for (const socket of upstream.sockets()) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      expect((await Promise.all(running)).map(({ status }) => status)).toEqual([200, 200]);
      expect((await ask(data.port, '/public/4', { token })).status).toBe(200);
      await soon(() => data.metrics.render().includes('daypass_requests_in_flight 0'));
    },
    { limits: { maxInFlight: 2 } },
  ));

test('places come back however a request ends', () =>
  withLimits(
    {},
    async (data, upstream) => {
      const token = await data.mint();
      for (const script of ['garbage\r\n\r\n', 'HTTP/1.1 204 X\r\n\r\n', 'HTTP/1.1 200 OK\r\n\r\n']) {
        upstream.script((socket) => void (script.includes('OK') ? socket.end(script) : socket.write(script)));
        await ask(data.port, '/public/a', { token });
      }
      upstream.script(() => undefined);
      const request = `GET /public/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n\r\n`;
      await talk(data.port, [{ send: request }], 60);
      await soon(() => data.metrics.render().includes('daypass_requests_in_flight 0'));
      expect((await ask(data.port, '/public/a', { token })).status).toBe(200);
    },
    { limits: { maxInFlight: 1 } },
  ));

describe('a connection', () => {
  const get = (token: string, target: string) =>
    `GET ${target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n\r\n`;

  test('has its requests sent on one after the other', () =>
    withLimits({}, async (data, upstream) => {
      const token = await data.mint();
      upstream.script(() => undefined);
      const talking = talk(data.port, [{ send: get(token, '/public/1') + get(token, '/public/2') }], 2000, (got) =>
        got.includes('/public/2'),
      );
      await soon(() => upstream.requests().length === 1);
      upstream.sockets()[0]?.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Up: /public/1\r\n\r\nok');
      const { octets } = await talking;
      expect(octets.indexOf('/public/1')).toBeLessThan(octets.indexOf('/public/2'));
      expect(upstream.requests().map(({ target }) => target)).toEqual(['/public/1', '/public/2']);
    }));

  test('that is gone has none of its waiting requests sent on', () =>
    withLimits({}, async (data, upstream) => {
      const token = await data.mint();
      upstream.script(() => undefined);
      await talk(data.port, [{ send: get(token, '/public/1') + get(token, '/public/2') }], 80);
      await soon(() => data.audit.outcomes.length === 1);
      expect((await ask(data.port, '/public/3', { token })).status).toBe(200);
      expect(upstream.requests().map(({ target }) => target)).toEqual(['/public/1', '/public/3']);
    }));

  test('that sends many ahead has one on its way, and is not read on', () =>
    withLimits({}, async (data, upstream) => {
      upstream.script(() => undefined);
      await talk(data.port, [{ send: get(await data.mint(), '/public/1').repeat(50) }], 500);
      expect(upstream.requests().length).toBeLessThanOrEqual(1);
    }));
});
