// What the client sees of an answer: bytes and status as they came, URLs that lead back, no credential.
import { describe, expect, test } from 'vitest';
import { createScrubber } from '../../data-plane/scrub.ts';
import { type ServiceSpec, startFixture } from './fixture.ts';
import { type Answer, ask, fieldOf, startRecorder } from './recorder.ts';

const SECRET = 'S3cr/et+&="x';

type Told = {
  readonly service?: Partial<ServiceSpec>;
  readonly target?: string;
  readonly method?: string;
  readonly publicUrl?: string;
};

async function answerTo(
  octets: string | ((origin: string) => string),
  told: Told = {},
): Promise<Answer & { origin: string }> {
  using upstream = await startRecorder();
  await using data = await startFixture({
    services: [{ name: 'api', origin: upstream.origin, secret: SECRET, is_default: true, ...told.service }],
    publicUrl: told.publicUrl ?? 'https://pass.example',
  });
  const token = await data.mint({ allowed: ['* /**'] });
  upstream.script(typeof octets === 'string' ? octets : octets(upstream.origin));
  const answer = await ask(data.port, told.target ?? '/public/a', { token, method: told.method ?? 'GET' });
  return { ...answer, origin: upstream.origin };
}

const empty = (...fields: readonly string[]) =>
  `HTTP/1.1 200 OK\r\n${fields.map((field) => `${field}\r\n`).join('')}Content-Length: 0\r\n\r\n`;

describe('statuses and bodies come through as they are', () => {
  test.each([200, 201, 202, 206, 299, 301, 400, 401, 404, 418, 429, 500, 503, 599])('%i', async (status) => {
    const answer = await answerTo(`HTTP/1.1 ${status} Own Words\r\nContent-Length: 3\r\n\r\na\u0000\u00ff`);
    expect([answer.status, answer.body]).toEqual([status, 'a\u0000\u00ff']);
    expect(answer.head).toContain(`HTTP/1.1 ${status} Own Words\r\n`);
  });
  test.each([204, 304])('%i has no body', async (status) => {
    const answer = await answerTo(`HTTP/1.1 ${status} X\r\nETag: "a"\r\n\r\n`);
    expect([answer.status, fieldOf(answer.head, 'etag'), answer.body]).toEqual([status, '"a"', '']);
  });
  test('an interim answer is not taken for the final one', async () => {
    const early = 'HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n';
    const answer = await answerTo(`${early}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`);
    expect([answer.status, answer.body]).toEqual([200, 'ok']);
  });
  test('a body that ends with the connection is whole', async () => {
    using upstream = await startRecorder();
    await using data = await startFixture({
      services: [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }],
    });
    upstream.script((socket) => socket.end('HTTP/1.0 200 OK\r\n\r\nto the end'));
    expect((await ask(data.port, '/public/a', { token: await data.mint() })).body).toBe('to the end');
  });
});

test.each([
  'Connection: close',
  'Keep-Alive: timeout=9',
  'Proxy-Authenticate: Basic',
  'Trailer: x',
  'Upgrade: h2c',
  'Alt-Svc: h3=":443"',
  'Clear-Site-Data: "*"',
  'Strict-Transport-Security: max-age=1',
  'X-Accel-Redirect: /internal',
])('the field %s stops here', async (field) => {
  const [name = ''] = field.split(':');
  const { head } = await answerTo(empty(field, 'X-Kept: 1'));
  const ours = name === 'Connection' ? 'close' : undefined;
  expect([fieldOf(head, name), fieldOf(head, 'x-kept')]).toEqual([ours, '1']);
});

test('what the Connection field of an answer names stops here', async () => {
  const { head } = await answerTo(empty('Connection: x-hop', 'X-Hop: 1', 'X-Kept: 1'));
  expect([fieldOf(head, 'x-hop'), fieldOf(head, 'x-kept')]).toEqual([undefined, '1']);
});

describe('URLs of the upstream lead back through the proxy', () => {
  const PUBLIC = 'https://pass.example';
  const cases: readonly [string, Told, string, string][] = [
    ['absolute', {}, '{origin}/x?p=2#f', `${PUBLIC}/x?p=2#f`],
    ['absolute, by name', { target: '/s/api/y' }, '{origin}/x', `${PUBLIC}/s/api/x`],
    ['in other case', {}, '{ORIGIN}/X', `${PUBLIC}/X`],
    ['without a path', {}, '{origin}', `${PUBLIC}/`],
    ['with only a query', {}, '{origin}?p=2', `${PUBLIC}/?p=2`],
    ['scheme-relative', {}, '//{host}/x', `${PUBLIC}/x`],
    ['absolute path', { target: '/s/api/y' }, '/x', `${PUBLIC}/s/api/x`],
    ['under the base path', { service: { base_path: '/api/v3' } }, '{origin}/api/v3/x?p=2', `${PUBLIC}/x?p=2`],
    ['the base path itself', { service: { base_path: '/api/v3' } }, '/api/v3', `${PUBLIC}/`],
    ['beside the base path', { service: { base_path: '/api/v3' } }, '/api/v33/x', '{origin}/api/v33/x'],
    ['outside the base path', { service: { base_path: '/api/v3' } }, '{origin}/login', '{origin}/login'],
    ['relative', {}, 'x?p=2', 'x?p=2'],
    ['of another host', {}, 'https://other.example/x', 'https://other.example/x'],
    ['of a host that only begins like it', {}, '{origin}.evil.example/x', '{origin}.evil.example/x'],
    ['of another port', {}, '{origin}1/x', '{origin}1/x'],
    ['with a user', {}, 'http://u@{host}/x', 'http://u@{host}/x'],
  ];
  const fill = (text: string, origin: string) =>
    text.replace('{origin}', origin).replace('{ORIGIN}', origin.toUpperCase()).replace('{host}', new URL(origin).host);
  test.each(cases)('%s', async (_name, told, given, wanted) => {
    const answer = await answerTo(
      (origin) => empty(`Location: ${fill(given, origin)}`, `Content-Location: ${fill(given, origin)}`),
      told,
    );
    expect(fieldOf(answer.head, 'location')).toBe(fill(wanted, answer.origin));
    expect(fieldOf(answer.head, 'content-location')).toBe(fill(wanted, answer.origin));
  });

  test('every target of a Link field', async () => {
    const link =
      '<{o}/i?page=2>; rel="next", <{o}/i?page=3>; rel="last"; title="a, <b>", <https://other.example/>; rel=x';
    const answer = await answerTo((origin) => empty(`Link: ${link.replaceAll('{o}', origin)}`), { target: '/s/api/i' });
    expect(fieldOf(answer.head, 'link')).toBe(link.replaceAll('{o}', `${PUBLIC}/s/api`));
  });

  test('without the key that carries the credential', async () => {
    const service = { place: { kind: 'query', name: 'api_key' } } as const;
    const key = encodeURIComponent(SECRET);
    const answer = await answerTo(
      (origin) =>
        empty(
          `Link: <${origin}/i?api_key=${key}&page=2>; rel="next"`,
          `Location: /x?api_key=${key}`,
          `X-Own: ?api_key=${key}`,
        ),
      { service },
    );
    expect(fieldOf(answer.head, 'link')).toBe(`<${PUBLIC}/i?page=2>; rel="next"`);
    expect(fieldOf(answer.head, 'location')).toBe(`${PUBLIC}/x`);
    expect(fieldOf(answer.head, 'x-own')).toBe('?api_key=[redacted]');
  });
});

describe('the credential is scrubbed from the head', () => {
  const percent = [...Buffer.from(SECRET)].map((byte) => `%${byte.toString(16)}`).join('');
  const spellings: readonly [string, string][] = [
    ['raw', SECRET],
    ['percent-encoded', encodeURIComponent(SECRET)],
    ['percent-encoded in lower case', encodeURIComponent(SECRET).toLowerCase().replace('s3', 'S3')],
    ['percent-encoded whole', percent],
    ['percent-encoded twice', encodeURIComponent(encodeURIComponent(SECRET))],
    ['JSON', JSON.stringify(SECRET).slice(1, -1)],
    ['JSON in unicode escapes', [...SECRET].map((char) => `\\u00${char.charCodeAt(0).toString(16)}`).join('')],
    ['base64', Buffer.from(SECRET).toString('base64')],
  ];
  test.each(spellings)('written %s', async (_name, text) => {
    const { head } = await answerTo(
      `HTTP/1.1 200 ${text}\r\nX-Echo: a ${text} b ${text}\r\nSet-Cookie: k=${text}\r\nLocation: https://u:${text}@x/\r\nContent-Length: 0\r\n\r\n`,
    );
    expect(head).toContain('HTTP/1.1 200 [redacted]');
    expect(fieldOf(head, 'x-echo')).toBe('a [redacted] b [redacted]');
    expect(fieldOf(head, 'set-cookie')).toBe('k=[redacted]');
    expect(fieldOf(head, 'location')).toBe('https://u:[redacted]@x/');
  });

  test('of basic, also in its halves and as the header has it', async () => {
    const service = { place: { kind: 'basic' }, secret: 'longuser1:pw' } as const;
    const { head } = await answerTo(empty('X-A: bG9uZ3VzZXIxOnB3', 'X-B: longuser1', 'X-C: the pw is'), { service });
    expect([fieldOf(head, 'x-a'), fieldOf(head, 'x-b'), fieldOf(head, 'x-c')]).toEqual([
      '[redacted]',
      '[redacted]',
      'the [redacted] is',
    ]);
  });

  test('even as a field name', async () => {
    const { head } = await answerTo(empty('tok3n: 1'), { service: { secret: 'tok3n' } });
    expect(head).not.toContain('tok3n');
  });

  test('but never so that the length of the body changes', async () => {
    const answer = await answerTo('HTTP/1.1 200 OK\r\nX-A: 12\r\nContent-Length: 12\r\n\r\nhello world!', {
      service: { secret: '12' },
    });
    expect([answer.body, fieldOf(answer.head, 'x-a')]).toEqual(['hello world!', '[redacted]']);
  });

  test('in linear time', () => {
    const scrubber = createScrubber(['%'.repeat(40), 'a'.repeat(200)]);
    const started = performance.now();
    expect(scrubber.finds(`${'%25'.repeat(20_000)}${'a'.repeat(199)}b`)).toBe(true);
    expect(scrubber.finds(`${'a'.repeat(199)}b`.repeat(300))).toBe(false);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

test('the decision is shown on the answer only when asked for', async () => {
  using upstream = await startRecorder();
  const services = [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }];
  await using quiet = await startFixture({ services });
  await using open = await startFixture({ services, serverTiming: true });
  expect(
    fieldOf((await ask(quiet.port, '/public/a', { token: await quiet.mint() })).head, 'server-timing'),
  ).toBeUndefined();
  const answer = await ask(open.port, '/public/a', { token: await open.mint() });
  expect(fieldOf(answer.head, 'server-timing')).toBe(
    `daypass;desc="${open.audit.decisions[0]?.id}", snapshot;desc="1"`,
  );
});

test('an upstream cannot spoof the header of a refusal, which every refusal has', async () => {
  const answer = await answerTo(
    'HTTP/1.1 403 No\r\nDaypass-Refusal: scope_refused\r\nDAYPASS-REFUSAL: x\r\nX-A: b\r\nContent-Length: 0\r\n\r\n',
  );
  expect(answer.status).toBe(403);
  expect(answer.head.toLowerCase()).not.toContain('daypass-refusal');
  expect(fieldOf(answer.head, 'x-a')).toBe('b');
  const refused = await answerTo('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', { target: '/public/%2e%2e/a' });
  expect(fieldOf(refused.head, 'daypass-refusal')).toBe('target_ambiguous');
});
