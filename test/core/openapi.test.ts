// What becomes of an OpenAPI document: which rule an operation is, and why another is none.
import { type CompiledOpenApi, compileOpenApi } from '@daypass/core/openapi';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';
import { parseTarget } from '@daypass/core/target';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

type Json = Readonly<Record<string, unknown>>;

const compile = (paths: Json, more: Json = {}): CompiledOpenApi => compileOpenApi({ openapi: '3.1.0', paths, ...more });

/** One operation, `a`, at a path. */
const at = (path: string, operation: Json = {}, item: Json = {}, more: Json = {}): CompiledOpenApi =>
  compile({ [path]: { get: { operationId: 'a', ...operation }, ...item } }, more);

const parameter = (name: string, more: Json = {}): Json => ({ parameters: [{ name, in: 'path', ...more }] });

describe('paths', () => {
  test.each<[path: string, rule: string, operation?: Json]>([
    ['/', 'GET /'],
    ['/a/b', 'GET /a/b'],
    ['/a/', 'GET /a/'],
    ['/a'.repeat(2000), `GET ${'/a'.repeat(2000)}`],
    ['/a/{id}/b', 'GET /a/{id}/b'],
    ['/a/{user-id}', 'GET /a/{user_id}'],
    ['/a/{user-id}/{user_id}', 'GET /a/{user_id_2}/{user_id}'],
    ['/a/{user.id}/{user-id}', 'GET /a/{user_id}/{user_id_2}'],
    ['/a/{1st}', 'GET /a/{_1st}'],
    ['/a/{--}', 'GET /a/{_}'],
    [`/a/{${'n'.repeat(70)}}`, `GET /a/{${'n'.repeat(60)}}`],
    ['/a/{größe}', 'GET /a/{gr_e}'],
    ['/straße/{id}', 'GET /stra%C3%9Fe/{id}'],
    ['/a b/[c]', 'GET /a%20b/%5Bc%5D'],
    ['/a%20b', 'GET /a%20b'],
    ["/Users('me')/@x:y", "GET /Users('me')/@x:y"],
    ['/a/{x}.json', 'GET ~/a/[^/]+\\.json'],
    ['/a/{x}...{y}', 'GET ~/a/[^/]+\\.\\.\\.[^/]+'],
    ['/v1/{name}:cancel', 'GET ~/v1/[^/]+:cancel'],
    ['/a/*/{b}', 'GET ~/a/\\*/[^/]+'],
    ['/a/{path}', 'GET /a/**', parameter('path', { 'x-multi-segment': true })],
    ['/a/{path}', 'GET /a/**', parameter('path', { allowReserved: true })],
    ['/a/{proxy+}', 'GET /a/**'],
    ['/a/{+path}', 'GET /a/**', parameter('path')],
    ['/a/{path}/b', 'GET /a/{path}/b', parameter('path', { 'x-multi-segment': true })],
    ['/a/{path}.zip', 'GET ~/a/[^/]+\\.zip', parameter('path', { 'x-multi-segment': true })],
    ['/a/{path}', 'GET /a/{path}', { parameters: [{ name: 'path', in: 'query', allowReserved: true }] }],
  ])('%s is %s', (path, rule, operation = {}) => {
    const { operations, skipped } = at(path, operation);
    expect([operations.map((one) => one.rule), skipped]).toEqual([[rule], []]);
  });

  test.each<[path: string, reason: RegExp, operation?: Json]>([
    ['a', /does not begin with a slash/],
    ['/a?b=c', /a query or a fragment/],
    ['/a{?page}', /a query or a fragment/],
    ['/#Action', /a query or a fragment/],
    ['/a//b', /an empty segment/],
    ['//a', /an empty segment/],
    ['/a/../b', /a dot segment/],
    ['/a/%2e%2e/{x}.json', /needs no encoding/],
    ['/a;v=1', /semicolon|character ;/],
    ['/a\\b', /character \\/],
    ['/a/{x', /braces/],
    ['/a/x}', /braces/],
    ['/a/{}', /braces/],
    ['/a/{{x}}', /braces/],
    ['/a/{x/y}', /braces/],
    ['/a/{+}', /braces/],
    ['/a/{id}/b/{id}', /\{id\} occurs twice/],
    [`/${'a'.repeat(5000)}`, /longer than 4096/],
    ['/a'.repeat(2049), /longer than a rule may be/],
    ['/{a}'.repeat(100_000), /longer than a rule may be/],
    [`/{x}.${'a'.repeat(600)}`, /at most 512/],
    ['/a/{id}', /matrix/, parameter('id', { style: 'matrix' })],
    ['/a/{id}', /label/, parameter('id', { style: 'label' })],
    ['/a', /server of its own: https:\/\/b\.example$/, { servers: [{ url: 'https://b.example' }] }],
  ])('%s is none: %s', (path, reason, operation = {}) => {
    const { operations, skipped } = at(path, operation);
    expect(operations).toEqual([]);
    expect(skipped).toEqual([{ id: 'a', reason: expect.stringMatching(reason) }]);
  });
});

describe('operations', () => {
  test('each method is its own, HEAD and OPTIONS as well, and TRACE is none', () => {
    const methods = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace', 'query'];
    const { operations, skipped } = compile({
      '/a': Object.fromEntries(methods.map((method) => [method, { operationId: `a.${method}` }])),
    });
    expect(operations.map(({ rule }) => rule)).toEqual(
      methods.filter((method) => method !== 'trace').map((method) => `${method.toUpperCase()} /a`),
    );
    expect(skipped).toEqual([{ id: 'a.trace', reason: expect.stringContaining('never forwarded') }]);
  });

  test('methods beyond those that OpenAPI names may be added, not all of them', () => {
    const additionalOperations = {
      PURGE: { operationId: 'purge' },
      CONNECT: { operationId: 'c' },
      '*': { operationId: 'd' },
    };
    const { operations, skipped } = compile({ '/a': { additionalOperations, 'get,post': { operationId: 'e' } } });
    expect(operations.map(({ rule }) => rule)).toEqual(['PURGE /a']);
    expect(skipped.map(({ id }) => id).sort()).toEqual(['c', 'd', 'e']);
  });

  test('what is no operation is passed over: extensions, parameters, webhooks, empty items', () => {
    const paths = {
      '/a': { parameters: [], summary: 's', description: 'd', 'x-get': { operationId: 'x' }, servers: [] },
      '/b': null,
      'x-c': { get: { operationId: 'x' } },
    };
    expect(compile(paths, { webhooks: { w: { post: { operationId: 'w' } } } })).toMatchObject({
      operations: [],
      skipped: [],
    });
  });

  test.each<[string, unknown, string, RegExp]>([
    ['none', undefined, 'GET /a', /no operationId/],
    ['one that is no text', 5, 'GET /a', /no operationId/],
    ['one with blanks', 'List all', 'List all', /is not 1 to 200 letters/],
    ['one with conditions in it', 'a where path.x = "y"', 'a where path.x = "y"', /is not 1 to 200 letters/],
    ['one of 201 letters', 'a'.repeat(201), 'a'.repeat(201), /is not 1 to 200 letters/],
  ])('an operation without a usable id is named by what it has: %s', (_, operationId, id, reason) => {
    expect(at('/a', { operationId }).skipped).toEqual([{ id, reason: expect.stringMatching(reason) }]);
  });

  test('an id that two operations have names neither', () => {
    const { operations, skipped } = compile({
      '/a': { get: { operationId: 'twice' }, post: { operationId: 'once' } },
      '/b': { get: { operationId: 'twice' } },
    });
    expect(operations.map(({ id }) => id)).toEqual(['once']);
    expect(skipped).toEqual(Array(2).fill({ id: 'twice', reason: expect.stringContaining('several') }));
  });

  test('the summary is one line of at most 200 characters', () => {
    const summaryOf = (operation: Json) => at('/a', operation).operations[0]?.summary;
    expect(summaryOf({ summary: ' Lists\r\n\tall\u0000 of\u2028it ' })).toBe('Lists all of it');
    expect(summaryOf({ description: 'Only this' })).toBe('Only this');
    expect(summaryOf({ summary: ['x'] })).toBe('');
    expect([...(summaryOf({ summary: '😀'.repeat(300) }) ?? '')]).toHaveLength(200);
    expect(summaryOf({ summary: `${'x'.repeat(799)}😀` })?.isWellFormed()).toBe(true);
  });
});

describe('what a rule takes in besides', () => {
  const multi = (id: string) => ({ operationId: id, ...parameter('ref', { 'x-multi-segment': true }) });

  test('a last parameter with slashes stands for one segment where another operation lies below', () => {
    const { operations, notes } = compile({
      '/c/{ref}': { get: multi('get'), put: multi('put') },
      '/c/{ref}/pulls': { get: multi('pulls') },
      '/c/d/{x}.json': { put: { operationId: 'json' } },
    });
    expect(operations.map(({ rule }) => rule)).toEqual([
      'GET /c/{ref}',
      'PUT /c/{ref}',
      'GET /c/{ref}/pulls',
      'PUT ~/c/d/[^/]+\\.json',
    ]);
    expect(notes).toEqual([
      { id: 'get', kind: 'one', others: ['pulls'] },
      { id: 'put', kind: 'one', others: ['json'] },
      { id: 'pulls', kind: 'one', others: [] },
      { id: 'json', kind: 'pattern', others: [] },
    ]);
  });

  test('what is open is said', () => {
    expect(compile({ '/c/{ref}': { get: multi('get') } }).notes).toEqual([{ id: 'get', kind: 'many', others: [] }]);
  });

  test('the operations that a parameter takes in as well are named, at most 20 of them', () => {
    const { notes } = compile({
      '/u/{id}': { get: { operationId: 'get' }, put: { operationId: 'put' } },
      '/u/me': { get: { operationId: 'me' }, post: { operationId: 'post' } },
      '/{a}/me': { get: { operationId: 'any' } },
    });
    expect(notes).toEqual([
      { id: 'get', kind: 'also', others: ['me'] },
      { id: 'any', kind: 'also', others: ['me'] },
    ]);
    const many = Object.fromEntries(
      Array.from({ length: 50 }, (_, i) => [`/u/x${i}`, { get: { operationId: `x${i}` } }]),
    );
    expect(compile({ '/u/{id}': { get: { operationId: 'get' } }, ...many }).notes[0]?.others).toHaveLength(20);
  });
});

describe('references', () => {
  test('a path item and a parameter may stand elsewhere in the document', () => {
    const document = {
      openapi: '3.0.3',
      paths: {
        '/a/{p}': { $ref: '#/components/pathItems/a~1b' },
        '/b/{p}': { get: { operationId: 'b', parameters: [{ $ref: '#/components/parameters/p%7Eq' }] } },
      },
      components: {
        pathItems: { 'a/b': { get: { operationId: 'a' } } },
        parameters: { 'p~q': { $ref: '#/x/1' } },
      },
      x: [null, { name: 'p', in: 'path', 'x-multi-segment': true }],
    };
    // `~` alone is no escape of RFC 6901, and is taken as it is.
    expect(compileOpenApi(document).operations.map(({ rule }) => rule)).toEqual(['GET /a/{p}', 'GET /b/**']);
  });

  test.each<[string, unknown]>([
    ['to another file', { $ref: 'other.yaml#/a' }],
    ['to another site', { $ref: 'https://example.com/a.json' }],
    ['to nothing', { $ref: '#/components/none' }],
    ['to itself', { $ref: '#/paths/~1a' }],
    ['to a member that every object has', { $ref: '#/constructor' }],
    ['to a prototype', { $ref: '#/__proto__' }],
    ['in no URL encoding', { $ref: '#/%zz' }],
    ['that is no text', { $ref: 5 }],
    ['no object at all', 'x'],
    ['an array', [{ get: { operationId: 'a' } }]],
  ])('a path item %s is named', (_, item) => {
    expect(compile({ '/a': item })).toMatchObject({ operations: [], skipped: [{ id: '* /a' }] });
  });

  test('a chain is followed eight times and no further', () => {
    const chain = (length: number) =>
      compile(
        { '/a': { $ref: '#/x/0' } },
        { x: [...Array.from({ length }, (_, i) => ({ $ref: `#/x/${i + 1}` })), { get: { operationId: 'a' } }] },
      ).operations.length;
    expect([chain(7), chain(8), chain(1000)]).toEqual([1, 0, 0]);
  });
});

describe('documents', () => {
  test.each<[string, Json, readonly string[]]>([
    ['no servers', { openapi: '3.0.0' }, ['']],
    ['a server', { openapi: '3.1.1', servers: [{ url: 'https://a.example/v1/' }] }, ['https://a.example/v1']],
    [
      'variables',
      { openapi: '3.0.0', servers: [{ url: 'https://{r}.example/{v}', variables: { r: { default: 'eu' } } }] },
      ['https://eu.example/{v}'],
    ],
    [
      'Swagger',
      { swagger: '2.0', host: 'a.example', basePath: '/v2/', schemes: ['https', 'http'] },
      ['https://a.example/v2', 'http://a.example/v2'],
    ],
    ['Swagger without a host', { swagger: 2, basePath: '/v2' }, ['/v2']],
    ['a version that YAML took for a number', { openapi: 3.1 }, ['']],
  ])('servers: %s', (_, document, servers) => {
    expect(compileOpenApi({ paths: {}, ...document }).servers).toEqual(servers);
  });

  test('a server of an operation that the document has too is no other place', () => {
    const servers = [{ url: 'https://a.example/' }];
    expect(at('/a', { servers }, {}, { servers: [{ url: 'https://a.example' }] }).operations).toHaveLength(1);
    expect(at('/a', {}, { servers }, {}).skipped).toHaveLength(1);
  });

  test.each<[string, unknown]>([
    ['null', null],
    ['a text', 'openapi: 3.0.0'],
    ['an array', []],
    ['an object of something else', { paths: {} }],
    ['Swagger 1.2', { swagger: '1.2', paths: {} }],
    ['OpenAPI 4', { openapi: '4.0.0', paths: {} }],
    ['no paths', { openapi: '3.0.0' }],
    ['paths that are a list', { openapi: '3.0.0', paths: [] }],
    ['paths of the prototype', Object.create({ openapi: '3.0.0', paths: {} })],
    [
      'more than 10,000 operations',
      { openapi: '3.0.0', paths: Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`/${i}`, { get: {} }])) },
    ],
  ])('%s is refused', (_, document) => {
    expect(() => compileOpenApi(document)).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
  });

  test('names of the prototype are names like others', () => {
    const document: unknown = JSON.parse(
      '{"openapi":"3.0.0","__proto__":{"x":1},"paths":{"/a":{"__proto__":{"get":{"operationId":"no"}},"get":{"operationId":"constructor"}},"/__proto__/{__proto__}":{"get":{"operationId":"toString","parameters":[{"__proto__":{"x-multi-segment":true},"name":"__proto__","in":"path"}]}}}}',
    );
    const { operations, skipped } = compileOpenApi(document);
    expect(operations.map(({ id, rule }) => [id, rule])).toEqual([
      ['constructor', 'GET /a'],
      ['toString', 'GET /__proto__/{__proto__}'],
    ]);
    expect(skipped.map(({ id }) => id)).toEqual(['__proto__ /a']);
  });

  test('a document that holds itself is read like another', () => {
    const item: Record<string, unknown> = { get: { operationId: 'a' } };
    item.parameters = [item];
    const document: Record<string, unknown> = { openapi: '3.0.0', paths: { '/a': item } };
    document.components = document;
    expect(compileOpenApi(document).operations).toHaveLength(1);
  });

  test('10,000 operations that all look alike are compared in a bounded time', () => {
    const paths = Object.fromEntries(
      Array.from({ length: 10_000 }, (_, i) => [`/{a}/{b}/x${i}/{c}/{e+}`, { get: { operationId: `o${i}` } }]),
    );
    const started = performance.now();
    expect(compile(paths).operations).toHaveLength(10_000);
    expect(performance.now() - started).toBeLessThan(20_000);
  });
});

describe('any document', () => {
  const names = [
    'get',
    'post',
    'operationId',
    'parameters',
    '$ref',
    'servers',
    'in',
    'name',
    'style',
    'url',
    '__proto__',
  ];
  const { item } = fc.letrec((tie) => ({
    item: fc.oneof(
      { depthSize: 'small' },
      fc.constantFrom(null, 0, '', 'a', 'path', '#/paths', '#/paths/~1a', '{', '/{a}', true),
      fc.array(tie('item'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...names), tie('item'), { maxKeys: 5 }),
    ),
  }));

  test('is compiled, whatever stands in it', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.constantFrom('/a', '/{a}', '/{a}/{b+}', 'x-a', ''), item),
        item,
        (paths, servers) => {
          const { operations, skipped } = compile(paths, { servers });
          for (const { rule } of operations) expect(printRule(parseRule(rule))).toBe(rule);
          for (const { reason } of skipped) expect(reason).not.toBe('');
        },
      ),
      { numRuns: 500 },
    );
  });

  const text = fc.stringMatching(/^[a-zA-Z0-9.:@*ä%2F_~!$&'(),=+ -]{1,6}$/);
  const piece = fc.oneof(text, text, fc.constantFrom('{a}', '{b}', '{c-d}', '{e+}', '{', '}', '?', '#', ';', ''));
  const key = fc.array(fc.array(piece, { maxLength: 3 }), { maxLength: 4 });
  const value = fc.stringMatching(/^[A-Za-z0-9_-]{1,5}$/);

  test('a rule allows the requests for its path, and none that differ in a text or in the number of segments', () => {
    fc.assert(
      fc.property(key, fc.infiniteStream(value), (parts, values) => {
        const path = `/${parts.map((pieces) => pieces.join('')).join('/')}`;
        const [operation] = at(path).operations;
        if (operation === undefined) return;
        const filled = encodeURI(path.replace(/\{[^{}]+\}/g, () => values.next().value)).replaceAll('%25', '%');
        const rules = compileRules([parseRule(operation.rule)]);
        const allows = (target: string) =>
          matchRules(rules, 'GET', parseTarget(target, { encodedSlashes: true }).path) !== undefined;
        expect(allows(filled)).toBe(true);
        if (operation.rule.endsWith('/**')) return;
        expect(allows(`/zzz${filled}`)).toBe(false);
        if (!filled.endsWith('/')) expect(allows(`${filled}/zzz`)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });
});
