// Rules that look into the body: it is read whole, strictly, within a limit, and sent byte for byte as it was decided on.
import { gzipSync } from 'node:zlib';
import { ALL_REQUESTS } from '@daypass/core/seal';
import { describe, expect, test } from 'vitest';
import { type FixtureOptions, startFixture } from './fixture.ts';
import { ask, codeIn, parseAnswers, type Recorder, type Step, soon, startRecorder, talk } from './recorder.ts';

type Data = Awaited<ReturnType<typeof startFixture>>;

const LABELS = 'POST /issues/{n}/labels where body.labels[*] in ["bug", "triage"]';

async function withApi(
  work: (data: Data, upstream: Recorder) => Promise<void>,
  options: Partial<FixtureOptions> = {},
  service: Partial<FixtureOptions['services'][number]> = {},
): Promise<void> {
  using upstream = await startRecorder();
  const one = { name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true, ...service };
  await using data = await startFixture({ services: [one], ...options });
  await work(data, upstream);
}

const JSON_FIELDS = ['Content-Type: application/json'];

const post = async (data: Data, body: string, fields: readonly string[] = JSON_FIELDS, allowed = [LABELS]) =>
  ask(data.port, '/issues/1/labels', { method: 'POST', token: await data.mint({ allowed }), fields, body });

const latin1 = (text: string): string => Buffer.from(text).toString('latin1');

test('a body that the rule allows is sent byte for byte, with its length', () =>
  withApi(async (data, upstream) => {
    const body = ' {"labels":\t["bug" , "tri\\u0061ge"],\n"note":1e400}\r\n';
    expect((await post(data, body)).status).toBe(200);
    const [request] = upstream.requests();
    expect(request?.body).toBe(body);
    expect(request?.fields).toContainEqual(['content-length', String(body.length)]);
    expect(request?.fields.some(([name]) => name === 'transfer-encoding')).toBe(false);
    expect(data.audit.decisions[0]).toMatchObject({ result: 'allowed', rule: LABELS });
    expect(data.audit.outcomes[0]).toMatchObject({ request_bytes: body.length });
  }));

test.each<[string, string, (readonly string[])?]>([
  ['another value', '{"labels":["bug","security"]}'],
  ['no element', '{"labels":[]}'],
  ['no member', '{}'],
  ['no array', '{"labels":"bug"}'],
  ['an array in an array', '{"labels":[["bug"]]}'],
  ['another type', '{"labels":[true]}'],
  ['null', '{"labels":null}'],
  ['a member twice', '{"labels":["bug"],"labels":["security"]}'],
  ['a member twice, one of them escaped', '{"labels":["bug"],"l\\u0061bels":["security"]}'],
  ['a member twice elsewhere', '{"labels":["bug"],"x":{"y":1,"y":2}}'],
  ['a member equal but for case', '{"labels":["bug"],"Labels":["security"]}'],
  ['a member equal but for compatibility', latin1('{"labels":["bug"],"ｌabels":["security"]}')],
  ['trailing garbage', '{"labels":["bug"]}x'],
  ['a second text', '{"labels":["bug"]}{"labels":["security"]}'],
  ['a byte order mark', latin1('\ufeff{"labels":["bug"]}')],
  ['bytes that are not UTF-8', '{"labels":["bug"],"x":"\xff"}'],
  ['overlong UTF-8', '{"labels":["bug"],"x":"\xc0\xaf"}'],
  ['a lone surrogate', '{"labels":["bug"],"x":"\\ud800"}'],
  ['deep nesting', `{"labels":["bug"],"x":${'['.repeat(65)}${']'.repeat(65)}}`],
  ['very deep nesting', '['.repeat(200_000)],
  ['too many values', `{"labels":["bug"],"x":[${'1,'.repeat(100_000)}1]}`],
  ['a comment', '{"labels":["bug"]/**/}'],
  ['a comma too many', '{"labels":["bug",]}'],
  ['NaN', '{"labels":["bug"],"x":NaN}'],
  ['a form', 'labels=bug'],
  ['white space alone', ' '],
  ['no Content-Type', '{"labels":["bug"]}', []],
  ['text/json', '{"labels":["bug"]}', ['Content-Type: text/json']],
  ['a form by its type', '{"labels":["bug"]}', ['Content-Type: application/x-www-form-urlencoded']],
  ['two types', '{"labels":["bug"]}', ['Content-Type: application/json, text/plain']],
  ['another charset', '{"labels":["bug"]}', ['Content-Type: application/json; charset=utf-16']],
  ['two charsets', '{"labels":["bug"]}', ['Content-Type: application/json; charset=utf-8; charset=utf-7']],
  ['a boundary', '{"labels":["bug"]}', ['Content-Type: application/json; boundary=x']],
  ['a GraphQL answer', '{"labels":["bug"]}', ['Content-Type: application/graphql-response+json']],
  ['gzip', gzipSync('{"labels":["bug"]}').toString('latin1'), [...JSON_FIELDS, 'Content-Encoding: gzip']],
  ['gzip by name only', '{"labels":["bug"]}', [...JSON_FIELDS, 'Content-Encoding: gzip']],
  ['identity and gzip', '{"labels":["bug"]}', [...JSON_FIELDS, 'Content-Encoding: identity', 'Content-Encoding: br']],
  ['gzip that is not named', gzipSync('{"labels":["bug"]}').toString('latin1')],
])('%s is refused, and not one byte goes upstream', (_name, body, fields = JSON_FIELDS) =>
  withApi(async (data, upstream) => {
    const token = await data.mint({ allowed: [LABELS] });
    const lines = [`Authorization: Bearer ${token}`, `Content-Length: ${body.length}`, 'Host: proxy.test', ...fields];
    const send = `POST /issues/1/labels HTTP/1.1\r\n${lines.join('\r\n')}\r\nConnection: close\r\n\r\n${body}`;
    const [answer] = parseAnswers((await talk(data.port, [{ send }], 4000)).octets);
    expect([answer?.status, answer && codeIn(answer)]).toEqual([403, 'scope_refused']);
    expect(upstream.dialled()).toBe(0);
    expect(data.audit.decisions[0]).toMatchObject({ result: 'refused', reason: 'scope_refused' });
  }));

test.each([
  ['application/json'],
  ['Application/JSON'],
  ['application/json;charset=utf-8'],
  ['application/json ; charset="UTF-8"'],
  ['application/vnd.github+json'],
  ['application/merge-patch+json; charset=utf-8'],
])('%s is JSON', (type) =>
  withApi(async (data) => {
    expect((await post(data, '{"labels":["bug"]}', [`Content-Type: ${type}`])).status).toBe(200);
  }));

test('a request without a body does not fulfil even absent', () =>
  withApi(async (data, upstream) => {
    const rule = ['POST /issues/{n}/labels where absent body.labels'];
    expect((await post(data, '{}', JSON_FIELDS, rule)).status).toBe(200);
    expect((await post(data, '{"labels":null}', JSON_FIELDS, rule)).status).toBe(403);
    const token = await data.mint({ allowed: rule });
    const bare = await ask(data.port, '/issues/1/labels', { method: 'POST', token, fields: JSON_FIELDS });
    expect(bare.status).toBe(403);
    expect(upstream.requests()).toHaveLength(1);
  }));

const chunked = (...chunks: readonly string[]): string =>
  [...chunks, ''].map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('');

const head = (token: string, ...fields: readonly string[]): string =>
  ['POST /issues/1/labels HTTP/1.1', 'Host: proxy.test', `Authorization: Bearer ${token}`, ...JSON_FIELDS, ...fields]
    .map((line) => `${line}\r\n`)
    .join('');

const converse = async (data: Data, steps: readonly Step[], isDone?: (octets: string) => boolean) =>
  parseAnswers((await talk(data.port, steps, 1500, isDone, 4000)).octets);

test('a chunked body is put together and sent with a Content-Length', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint({ allowed: [LABELS] });
    const start = head(token, 'Transfer-Encoding: chunked', 'Trailer: X-T', 'Connection: close');
    const end = chunked('{"labels"', ':["bu', 'g"]}').replace(/\r\n$/, 'X-T: 1\r\n\r\n');
    const answers = await converse(data, [{ send: `${start}\r\n` }, { wait_ms: 20 }, { send: end }]);
    expect(answers.map(({ status }) => status)).toEqual([200]);
    const [request] = upstream.requests();
    expect(request?.body).toBe('{"labels":["bug"]}');
    expect(Object.fromEntries(request?.fields ?? [])).toMatchObject({ 'content-length': '18' });
    expect(request?.fields.some(([name]) => ['transfer-encoding', 'trailer', 'x-t'].includes(name))).toBe(false);
  }));

test('100-continue is answered before the body is read, and once', () =>
  withApi(async (data) => {
    const token = await data.mint({ allowed: [LABELS] });
    const body = '{"labels":["bug"]}';
    const start = head(token, 'Expect: 100-continue', `Content-Length: ${body.length}`, 'Connection: close');
    const before = await converse(data, [{ send: `${start}\r\n` }], (octets) => octets.includes('100 Continue'));
    expect(before.map(({ status }) => status)).toEqual([100]);
    const all = await converse(data, [{ send: `${start}\r\n` }, { wait_ms: 50 }, { send: body }]);
    expect(all.map(({ status }) => status)).toEqual([100, 200]);
  }));

describe('a body beyond the limit', () => {
  const limits = { ruleBodyBytesMax: 64 };
  const large = `{"labels":["bug"],"x":"${'y'.repeat(64)}"}`;

  test('is refused with 413 by its length alone, and asked for by nobody', () =>
    withApi(
      async (data, upstream) => {
        const token = await data.mint({ allowed: [LABELS] });
        const send = `${head(token, 'Expect: 100-continue', `Content-Length: ${large.length}`)}\r\n`;
        const answers = await converse(data, [{ send }]);
        expect(answers.map((one) => [one.status, codeIn(one)])).toEqual([[413, 'body_too_large']]);
        expect(upstream.dialled()).toBe(0);
      },
      { limits },
    ));

  test('is refused with 413 when it grows beyond it in chunks', () =>
    withApi(
      async (data, upstream) => {
        const token = await data.mint({ allowed: [LABELS] });
        const send = `${head(token, 'Transfer-Encoding: chunked')}\r\n${chunked(large.slice(0, 40), large.slice(40))}`;
        const answers = await converse(data, [{ send }]);
        expect(answers.map((one) => [one.status, codeIn(one)])).toEqual([[413, 'body_too_large']]);
        expect(upstream.dialled()).toBe(0);
        expect(data.audit.outcomes[0]).toMatchObject({ status: 413, reason: 'body_too_large' });
      },
      { limits },
    ));

  test('is fine where another rule needs no body, and at the limit itself', () =>
    withApi(
      async (data, upstream) => {
        expect((await post(data, large, JSON_FIELDS, [LABELS, 'POST /issues/**'])).status).toBe(200);
        expect((await post(data, '{"labels":["bug"]}'.padEnd(64), JSON_FIELDS)).status).toBe(200);
        expect(upstream.requests()).toHaveLength(2);
        expect(data.audit.decisions[0]).toMatchObject({ rule: 'POST /issues/**' });
      },
      { limits },
    ));

  test('has no room beside too many others, which get theirs back', () =>
    withApi(
      async (data, upstream) => {
        const token = await data.mint({ allowed: [LABELS] });
        const body = '{"labels":["bug"]}';
        const slow = talk(
          data.port,
          [{ send: `${head(token, 'Transfer-Encoding: chunked')}\r\n1\r\n{\r\n` }],
          60_000,
          () => false,
        );
        await soon(() => data.metrics.render().includes('daypass_held_body_bytes 64'));
        const refused = await post(data, body);
        expect([refused.status, codeIn(refused)]).toEqual([503, 'overloaded']);
        expect(upstream.dialled()).toBe(0);
        const { octets } = await slow;
        expect(octets).toContain('408');
        await soon(() => data.metrics.render().includes('daypass_held_body_bytes 0'));
        expect((await post(data, body)).status).toBe(200);
      },
      { limits: { ruleBodyBytesMax: 64, ruleBodiesBytesMax: 64, bodyIdleTimeoutMs: 400 } },
    ));
});

test('a request whose rules need no body still streams', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint({ allowed: ['POST /issues/**', LABELS] });
    const start = `${head(token, 'Transfer-Encoding: chunked')}\r\n5\r\nhello\r\n`;
    const talking = talk(data.port, [{ send: start }], 3000, () => false, 3000);
    await soon(() => upstream.octets().includes('hello'));
    expect(upstream.requests()[0]?.isComplete).toBe(false);
    for (const socket of upstream.sockets()) socket.destroy();
    await talking;
  }));

test('a chunked body takes only the room of its bytes while the answer is awaited', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint({ allowed: [LABELS] });
    const body = '{"labels":["bug"]}';
    upstream.script(() => undefined);
    const send = `${head(token, 'Transfer-Encoding: chunked')}\r\n${chunked(body)}`;
    const talking = talk(data.port, [{ send }], 3000, () => false, 3000);
    await soon(() => upstream.requests().length === 1);
    expect(data.metrics.render()).toContain(`daypass_held_body_bytes ${body.length}\n`);
    for (const socket of upstream.sockets()) socket.destroy();
    await talking;
    await soon(() => data.metrics.render().includes('daypass_held_body_bytes 0'));
  }));

test('a client that goes before its body is whole leaves nothing behind', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint({ allowed: [LABELS] });
    const send = `${head(token, 'Content-Length: 500')}\r\n{"labels"`;
    await talk(data.port, [{ send }, { wait_ms: 50 }], 10);
    await soon(() => data.audit.outcomes.length === 1);
    expect(data.audit.outcomes[0]).toMatchObject({ reason: 'client_gone' });
    await soon(() => data.metrics.render().includes('daypass_held_body_bytes 0'));
    expect(upstream.dialled()).toBe(0);
  }));

test('chunks that are not chunks are refused before anything goes upstream', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint({ allowed: [LABELS] });
    const send = `${head(token, 'Transfer-Encoding: chunked')}\r\n12\r\n{"labels":["bug"]}\r\nZZ\r\n`;
    const answers = await converse(data, [{ send }]);
    expect(answers.map(({ status }) => status)).toEqual([400]);
    expect(upstream.dialled()).toBe(0);
    await soon(() => data.metrics.render().includes('daypass_held_body_bytes 0'));
  }));

test('what changed while the body came counts: the token is looked at again', () =>
  withApi(async (data, upstream) => {
    const token = await data.mint({ allowed: [LABELS] });
    const body = '{"labels":["bug"]}';
    const start = `${head(token, `Content-Length: ${body.length}`, 'Connection: close')}\r\n{`;
    const talking = talk(
      data.port,
      [{ send: start }, { wait_ms: 300 }, { send: body.slice(1) }],
      1500,
      undefined,
      4000,
    );
    await soon(() => data.metrics.render().includes(`daypass_held_body_bytes ${body.length}`));
    data.clock.nowMs += 3_000_000;
    const service = { name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true };
    await data.publish({ services: [service] });
    const [answer] = parseAnswers((await talking).octets);
    expect([answer?.status, answer && codeIn(answer)]).toEqual([401, 'token_expired']);
    expect(upstream.dialled()).toBe(0);
  }));

describe('a seal', () => {
  test('has its own rules on the same body', () =>
    withApi(
      async (data, upstream) => {
        const allowed = ['POST /issues/**'];
        expect((await post(data, '{"labels":["bug"]}', JSON_FIELDS, allowed)).status).toBe(200);
        const refused = await post(data, '{"labels":["security"]}', JSON_FIELDS, allowed);
        expect([refused.status, codeIn(refused)]).toEqual([403, 'seal_scope_refused']);
        expect(upstream.requests()).toHaveLength(1);
      },
      {},
      { seal: { rules: [LABELS] } },
    ));

  test('and a token must both allow the body', () =>
    withApi(
      async (data, upstream) => {
        expect((await post(data, '{"labels":["bug"],"draft":true}')).status).toBe(200);
        expect((await post(data, '{"labels":["bug"],"draft":false}')).status).toBe(403);
        expect((await post(data, '{"labels":["security"],"draft":true}')).status).toBe(403);
        expect(upstream.requests()).toHaveLength(1);
      },
      {},
      { seal: { rules: ['* /issues/** where body.draft = true', 'GET /**'] } },
    ));

  test('that allows all reads nothing by itself', () =>
    withApi(
      async (data, upstream) => {
        expect((await post(data, 'no JSON', ['Content-Type: text/plain'], ['POST /issues/**'])).status).toBe(200);
        expect(upstream.requests()[0]?.body).toBe('no JSON');
      },
      {},
      { seal: { rules: [ALL_REQUESTS] } },
    ));
});

describe('query and headers', () => {
  const rule = 'GET /search where query.q = "repo:acme/site" and header.x-mode = "safe" and absent query.page';
  const target = '/search?q=repo:acme/site';
  test.each([
    [target, ['X-Mode: safe'], 200],
    ['/search?q=repo%3Aacme%2Fsite&sort=a;b', ['X-Mode: safe'], 200],
    [target, [], 403],
    [target, ['X-Mode: safe', 'X-Mode: safe'], 403],
    [target, ['X-Mode: safe', 'Connection: X-Mode'], 403],
    [target, ['X_Mode: safe'], 403],
    [`${target}&q=x`, ['X-Mode: safe'], 403],
    [`${target}&Q=x`, ['X-Mode: safe'], 403],
    [`${target}&q[]=x`, ['X-Mode: safe'], 403],
    [`${target}&%71=x`, ['X-Mode: safe'], 403],
    [`${target}&x=1;q=x`, ['X-Mode: safe'], 403],
    [`${target}&page`, ['X-Mode: safe'], 403],
    [`${target}&PAGE=1`, ['X-Mode: safe'], 403],
    [`${target}&page%5B0%5D=1`, ['X-Mode: safe'], 403],
    [`${target}&x%ff=1`, ['X-Mode: safe'], 403],
    [`${target}%zz`, ['X-Mode: safe'], 403],
  ])('%s with %j gets %i', (asked, fields, status) =>
    withApi(async (data, upstream) => {
      const answer = await ask(data.port, asked, { token: await data.mint({ allowed: [rule] }), fields });
      expect(answer.status).toBe(status);
      expect(upstream.requests().map((one) => one.target)).toEqual(status === 200 ? [asked] : []);
    }));

  test('a key or header that ends here is not there', () =>
    withApi(
      async (data) => {
        const token = await data.mint({ allowed: ['GET /a where query.k = "1"', 'GET /b where header.x-own = "1"'] });
        expect((await ask(data.port, '/a?k=1', { token })).status).toBe(403);
        expect((await ask(data.port, '/b', { token, fields: ['X-Own: 1'] })).status).toBe(403);
      },
      {},
      { drop_query: ['k'], drop_headers: ['x-own'] },
    ));
});

test.each<[string, string, object, object]>([
  [
    'graphql /graphql query repository where arg.owner = "acme"',
    '/graphql',
    { query: 'query ($o: String!) { a: repository(owner: $o) { id } }', variables: { o: 'acme' } },
    { query: 'query ($o: String!) { repository: secrets(owner: $o) { id } }', variables: { o: 'acme' } },
  ],
  [
    'mcp /mcp tools/call add_labels where arg.repo = "site"',
    '/mcp',
    { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'add_labels', arguments: { repo: 'site' } } },
    { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'add_labels', arguments: { repo: 'other' } } },
  ],
])('%s lets one call through and not another, also as its seal has it', (rule, target, good, bad) =>
  withApi(
    async (data, upstream) => {
      for (const allowed of [[rule], ['POST /**']]) {
        const token = await data.mint({ allowed });
        const send = (body: object) =>
          ask(data.port, target, { method: 'POST', token, fields: JSON_FIELDS, body: JSON.stringify(body) });
        expect((await send(good)).status).toBe(200);
        expect((await send(bad)).status).toBe(403);
        expect((await send([good, bad])).status).toBe(403);
      }
      expect(upstream.requests().map(({ body }) => body)).toEqual([JSON.stringify(good), JSON.stringify(good)]);
      expect(upstream.requests()[0]?.target).toBe(`/api${target}`);
    },
    {},
    { base_path: '/api', seal: { rules: [rule.replace(' /', ' /api/')] } },
  ));
