// `daypass scope`: what rules allow and what changes between them, offline.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { daypass, jsonLines } from './fake-io.ts';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-scope-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const file = async (name: string, content: string): Promise<string> => {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
};

const ask = async (...args: readonly string[]) => {
  const { code, out } = await daypass(['scope', ...args, '--json']);
  return { code, answer: jsonLines(out)[0] };
};

test.each([
  ['GET /a/{x}', 'GET', 'https://api.example/a/b'],
  ['GET /a/{x}', 'GET', '/a/b?q=1'],
  ['GET /', 'GET', 'https://api.example'],
  ['* /**', 'PATCH', '/a'],
  ['GET /a where query.q = "x y"', 'GET', '/a?q=x%20y'],
])('%s allows %s %s', async (rule, method, url) => {
  expect(await ask('check', rule, method, url)).toEqual({ code: 0, answer: { allowed: true, rule } });
});

test.each([
  ['GET /a', 'POST', '/a', 'scope_refused', { kind: 'methods' }],
  ['GET /a', 'get', '/a', 'method_refused', undefined],
  ['* /a', 'TRACE', '/a', 'method_refused', undefined],
  ['GET /a', 'GET', '/b', 'scope_refused', { kind: 'path' }],
  ['GET /a/**', 'GET', '/a/%2e%2e/b', 'target_ambiguous', undefined],
  ['GET /a/**', 'GET', 'https://api.example/a/../b', 'target_ambiguous', undefined],
  ['GET /a/**', 'GET', '/a/x%2Fy', 'target_ambiguous', undefined],
  ['GET /a', 'GET', '/a#b', 'target_ambiguous', undefined],
  ['GET /a where query.q = 1', 'GET', '/a?q=2', 'scope_refused', { kind: 'condition', text: 'query.q = 1' }],
  ['GET /a where query.q = 1', 'GET', '/a?q=1&Q=1', 'scope_refused', { kind: 'condition', text: 'query.q = 1' }],
  [
    'GET /a where query.q = 1 and absent query.r',
    'GET',
    '/a?q=1&r',
    'scope_refused',
    { kind: 'condition', text: 'absent query.r' },
  ],
  ['graphql /g query a', 'POST', '/g', 'scope_refused', { kind: 'operation' }],
  ['scope:triage', 'GET', '/a', 'scope_refused', { kind: 'form' }],
])('%s refuses %s %s: %s', async (rule, method, url, code, clause) => {
  const found = await ask('check', rule, method, url);
  expect(found.code).toBe(1);
  expect(found.answer).toMatchObject({ allowed: false, code, ...(clause === undefined ? {} : { clause }) });
  if (clause === undefined) expect(found.answer).not.toHaveProperty('clause');
});

test('an encoded slash is let through as for a service that asks for it', async () => {
  expect((await ask('check', 'GET /a/{x}', 'GET', '/a/x%2Fy', '--encoded-slashes')).code).toBe(0);
});

test('a body is read as the data plane reads it, and is JSON unless a header says otherwise', async () => {
  const rule = 'POST /a where body.labels[*] in ["bug", "triage"]';
  const good = await file('good.json', '{"labels":["bug"]}');
  const bad = await file('bad.json', '{"labels":["bug","p0"]}');
  const twice = await file('twice.json', '{"labels":["bug"],"labels":["bug"]}');
  const clause = { kind: 'condition', text: 'body.labels[*] in ["bug", "triage"]' };
  expect((await ask('check', rule, 'POST', '/a', '--body', good)).code).toBe(0);
  expect((await ask('check', rule, 'POST', '/a', '--body', bad)).answer).toMatchObject({ allowed: false, clause });
  const repeated = await ask('check', rule, 'POST', '/a', '--body', twice);
  expect(repeated.answer?.problem).toContain('labels');
  const typed = ['--header', 'Content-Type: text/plain'];
  expect((await ask('check', rule, 'POST', '/a', '--body', good, ...typed)).answer).toMatchObject({ clause });
  expect((await ask('check', rule, 'POST', '/a')).answer).toMatchObject({ clause, problem: 'it has no body' });
  expect((await ask('check', 'POST /a', 'POST', '/a', '--body', twice)).code).toBe(0);
});

test('a body larger than rules look into is refused only where a rule has to', async () => {
  const large = await file('large.json', `{"a":1,"b":"${'x'.repeat(1024 * 1024)}"}`);
  const { code, answer } = await ask('check', 'POST /a where body.a = 1', 'POST', '/a', '--body', large);
  expect([code, answer?.code]).toEqual([1, 'body_too_large']);
  expect((await ask('check', 'POST /a', 'POST', '/a', '--body', large)).code).toBe(0);
});

test('headers are compared, and one that comes twice is not', async () => {
  const rule = 'GET /a where header.x-a = "b"';
  expect((await ask('check', rule, 'GET', '/a', '--header', 'X-A: b')).code).toBe(0);
  expect((await ask('check', rule, 'GET', '/a', '--header', 'X-A: b', '--header', 'x-a: b')).code).toBe(1);
});

test('a person reads which clause decided', async () => {
  const { code, out } = await daypass(['scope', 'check', 'GET /a where query.q < 5', 'GET', '/a?q=7']);
  expect([code, out]).toEqual([
    1,
    'Refused by GET /a where query.q < 5\n    decided by: query.q < 5 [scope_refused]\n',
  ]);
});

test.each([
  ['GET /a', 'GET /a', 0, 'equal'],
  ['GET /a/**', 'GET /a/b', 0, 'narrower'],
  ['GET /a', 'GET,POST /a', 1, 'wider'],
  ['GET /a', 'GET /b', 1, 'both'],
])('from %s to %s is %i, %s', async (before, after, code, result) => {
  const found = await ask('diff', before, after);
  expect([found.code, found.answer?.result]).toEqual([code, result]);
});

test('a change names its part, what decided, and a request that shows it', async () => {
  const { answer } = await ask('diff', 'GET /a where query.q <= 3', 'GET,POST /a where query.q <= 3');
  expect(answer?.widens).toEqual([
    {
      rule: 'GET,POST /a where query.q <= 3',
      part: 'POST /a where query.q <= 3',
      nearest: 'GET /a where query.q <= 3',
      clause: { kind: 'methods' },
      example: { method: 'POST', path: '/a', query: 'q=3', headers: {} },
    },
  ]);
});

test('rules may stand in files, one a line', async () => {
  const before = await file('old.txt', '# what was\nGET /a\n\nGET /b\n');
  const after = await file('new.txt', 'GET /a\nPOST /b where body.x = "y"\n');
  const { code, out } = await daypass(['scope', 'diff', before, after]);
  expect(code).toBe(1);
  expect(out).toBe(
    [
      '+ POST /b where body.x = "y"',
      '    decided by: the method, against GET /b',
      `    example: POST /b --header 'content-type: application/json' with the body {"x":"y"}`,
      '- GET /b',
      '    decided by: the method, against POST /b where body.x = "y"',
      '    example: GET /b',
      'The new rules are wider and narrower.',
      '',
    ].join('\n'),
  );
});

test('what never goes upstream is not there for rules', async () => {
  const options = ['--header', 'X-A: b', '--header', 'Connection: close, X-A'];
  expect((await ask('check', 'GET /a where header.x-a = "b"', 'GET', '/a', ...options)).code).toBe(1);
  expect((await ask('check', 'GET /a where absent header.x-a', 'GET', '/a', ...options)).code).toBe(0);
  expect((await ask('check', 'GET /a where absent query._method', 'GET', '/a?_method=DELETE')).code).toBe(0);
  expect((await ask('check', 'GET /a where query._method = "x"', 'GET', '/a?_method=x')).code).toBe(1);
});

test.each([
  [['check', 'GET /a', 'get', '/a'], 'GET is another one than get'],
  [['check', 'GET /a', 'GET', 'api.example/a'], 'begins with https://'],
  [['check', 'scope:triage', 'GET', '/a'], 'daypass service get'],
  [['check', 'op:issues/list', 'GET', '/a'], 'daypass service operations'],
  [['diff', 'get /a', 'GET /a'], 'column 1'],
  [['diff', 'GET a', 'GET /a'], 'column 5'],
  [['diff', 'no-such-file', 'GET /a'], 'there is no such file'],
])('a person who asks %j is told: %s', async (args, hint) => {
  const { code, err } = await daypass(['scope', ...args]);
  expect([code === 0, err]).toEqual([false, expect.stringContaining(hint)]);
});

test('a wrong rule of a file is named by its line', async () => {
  const rules = await file('wrong.txt', '# these\nGET /a\n\nnonsense\n');
  const { code, err } = await daypass(['scope', 'diff', 'GET /a', rules]);
  expect([code, err]).toEqual([2, expect.stringContaining('new, line 4')]);
});

test('what has nothing to be compared with says so, and patterns have no example', async () => {
  const empty = await file('empty.txt', '');
  expect((await daypass(['scope', 'diff', 'GET /a', empty])).out).toContain('there is nothing of its kind');
  expect((await daypass(['scope', 'diff', 'GET /a/**', 'GET ~/a/.*'])).out).toContain(
    'a pattern matches is not compared',
  );
});
