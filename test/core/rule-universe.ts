// Small worlds: many rules over a few symbols, and every request over those symbols, one more symbol and one more segment.

import { readJsonBody } from '@daypass/core/request-body';
import type { Rule } from '@daypass/core/rule';
import { parseRule } from '@daypass/core/rule-parse';
import { printRule } from '@daypass/core/rule-print';

export type WorldRequest = {
  readonly method: string;
  readonly path: string;
  readonly query?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
};

export type World = {
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly requests: readonly WorldRequest[];
  /** Whether a pair that allows nothing more must be answered yes. */
  readonly isExact: boolean;
};

const product = <A, B, C>(as: readonly A[], bs: readonly B[], make: (a: A, b: B) => C): C[] =>
  as.flatMap((a) => bs.map((b) => make(a, b)));

/** All lists of up to `most` items, in order, each item at most once. */
const subsets = <T>(items: readonly T[], most: number): T[][] => {
  const lists: T[][] = [[]];
  for (const item of items) lists.push(...lists.filter((list) => list.length < most).map((list) => [...list, item]));
  return lists;
};

const words = (alphabet: readonly string[], most: number): string[][] => {
  const all: string[][] = [[]];
  for (let start = 0, length = 1; length <= most; length += 1) {
    const end = all.length;
    for (; start < end; start += 1) for (const letter of alphabet) all.push([...(all[start] ?? []), letter]);
  }
  return all;
};

const METHODS = ['GET', 'POST', 'PURGE'];

const paths = (alphabet: readonly string[], most: number): string[] =>
  words(alphabet, most).flatMap((word) => (word.length === 0 ? ['/'] : [`/${word.join('/')}`, `/${word.join('/')}/`]));

const where = (conditions: readonly string[]): string =>
  conditions.length === 0 ? '' : ` where ${conditions.join(' and ')}`;

/** The rules that these texts are; what the language does not have (two spellings of one thing) is left out. */
const rulesOf = (texts: readonly string[]): readonly Rule[] => {
  const rules = new Map<string, Rule>();
  for (const text of texts) {
    try {
      const rule = parseRule(text);
      rules.set(printRule(rule), rule);
    } catch {
      // Not a rule.
    }
  }
  return [...rules.values()];
};

/** Every `step`th, so that a small world has something of everything. */
const thin = <T>(items: readonly T[], step: number): readonly T[] => items.filter((_, index) => index % step === 0);

/** Methods and segments, complete: up to `depth` segments of `a`, `b` and `*`, and every kind of end. */
export const segmentsWorld = (depth: number): World => {
  const heads = words(['a', 'b', '*'], depth - 1);
  const templates = product(heads, ['a', 'b', '*', '**', ''], (head, end) => `/${[...head, end].join('/')}`);
  return {
    name: 'methods and segments',
    rules: rulesOf(product(['GET', 'POST', 'GET,POST', '*'], templates, (methods, path) => `${methods} ${path}`)),
    requests: product(METHODS, paths(['a', 'b', 'c'], depth + 1), (method, path) => ({ method, path })),
    isExact: true,
  };
};

const NAMED = ['= "a"', 'in ["a", "b"]', '= 1', '= "1"', '= "1.0"', '>= 1', '< 2', '> 1', 'in [1, 2]', 'in ["a", 1]'];

/** Conditions on names of the path. */
export const namesWorld = (step: number): World => {
  const first: readonly (readonly [string, string])[] = [
    ['a', ''],
    ['1', ''],
    ['*', ''],
    ...NAMED.map((text) => ['{x}', `path.x ${text}`] as const),
    ['{x}', 'path.x >= 1 and path.x <= 1'],
    ['{x}', 'path.x = "a" and path.x > 0'],
  ];
  const second: readonly (readonly [string, string])[] = [
    ['', ''],
    ['**', ''],
    ...first.map(([segment, text]) => [segment.replace('x', 'y'), text.replaceAll('.x', '.y')] as const),
  ];
  const texts = [
    ...first.map(([segment, text]) => `/${segment}${where(text === '' ? [] : [text])}`),
    ...product(first, second, ([one, c], [two, d]) => `/${one}/${two}${where([c, d].filter((text) => text !== ''))}`),
  ];
  return {
    name: 'names of the path',
    rules: thin(rulesOf(product(['GET', 'GET,POST'], texts, (methods, rest) => `${methods} ${rest}`)), step),
    requests: product(
      METHODS,
      paths(['a', 'b', 'c', '0', '1', '1.0', '1.5', '2', '3'], 3).filter((path) => path.split('/').length < 5),
      (method, path) => ({ method, path }),
    ),
    isExact: true,
  };
};

const QUERY = [
  ...['query.q = "a"', 'query.q in ["a", "b"]', 'query.q in ["1", "a"]', 'query.q = 1', 'query.q in [1, 2]'],
  ...['query.q >= 1', 'query.q > 1', 'query.q < 2', 'query.q <= 2', 'query.q <= 1', 'query.q in [1, "a"]'],
  ...['absent query.q', 'absent query.Q', 'query.Q = "a"', 'query["q[]"] = "a"'],
];

/** Conditions on the query. */
export const queryWorld = (step: number): World => {
  const others = [[], ['absent query.r'], ['query.r = "a"'], ['query.r in ["a", "b"]']];
  const texts = product(subsets(QUERY, 2), others, (own, other) => where([...own, ...other]));
  const values = ['a', 'b', 'c', '0', '1', '1.0', '1.5', '2', '2.0', '2.5', '01', '%31', ''];
  const own = [
    ...values.map((value) => `q=${value}`),
    '',
    'q',
    'q=a&q=a',
    'Q=a',
    'q[]=a',
    'q[]=b',
    'Q=b',
    '%71=a',
    '%ff=a',
  ];
  const rest = ['', 'r=a', 'r=b', 'r=c', 'R=a', 's=a'];
  const queries = product(own, rest, (one, other) => [one, other].filter((text) => text !== '').join('&'));
  return {
    name: 'query',
    rules: thin(rulesOf(product(['GET /a', 'GET,POST /*'], texts, (head, text) => head + text)), step),
    requests: product(
      product(['GET', 'PUT', 'POST'], ['/a', '/c', '/a/c'], pair),
      queries,
      ([method, path], query) => ({
        method,
        path,
        ...(query === '' ? {} : { query }),
      }),
    ),
    isExact: true,
  };
};

const pair = <A, B>(a: A, b: B): readonly [A, B] => [a, b];

/** Headers, and what the headers of a body say of conditions on it. */
export const headerWorld = (step: number): World => {
  const conditions = [
    ...['header.x-a = "a"', 'header.x-a in ["a", "b"]', 'header.x-a = 1', 'header.x-a > 1', 'absent header.x-a'],
    ...['header.content-type = "application/json"', 'header.content-type in ["application/json", "text/plain"]'],
    ...['header.content-type = "text/plain"', 'absent header.content-type', 'absent header.content-encoding'],
    ...['header.content-encoding in ["gzip", "identity"]', 'header.content-encoding = "gzip"', 'body.a = 1'],
  ];
  const some = (name: string, values: readonly (string | undefined)[]) =>
    values.map((value): Readonly<Record<string, string>> => (value === undefined ? {} : { [name]: value }));
  const types = some('content-type', [
    undefined,
    'application/json',
    'application/json; charset=utf-8',
    'text/plain',
    'application/x-c',
  ]);
  const encodings = some('content-encoding', [undefined, 'identity', 'gzip', 'br']);
  const own = some('x-a', [undefined, 'a', 'b', 'c', '1', '1.0', '2', '3']);
  const headers = product(product(types, encodings, merge), own, merge);
  return {
    name: 'headers',
    rules: thin(rulesOf(subsets(conditions, 3).map((list) => `POST /a${where(list)}`)), step),
    requests: product(headers, [undefined, '{"a":1}', '{"a":2}', '{}'], (given, body) => ({
      method: 'POST',
      path: '/a',
      headers: given,
      ...(body === undefined ? {} : { body }),
    })),
    isExact: true,
  };
};

const merge = (a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>) => ({ ...a, ...b });

const BODY = [
  ...['body.a = 1', 'body.a in [1, "x"]', 'body.a >= 1', 'body.a < 2', 'body.a in [null, true]', 'absent body.a'],
  ...['absent body.A', 'body.A = 1', 'body.a.b = 1', 'body.a.b in [1, "x"]', 'absent body.a.b', 'absent body.a.B'],
  ...['absent body.a.b.c', 'body.a[*] = 1', 'body.a[*] in [1, 2]', 'body.a[*] > 1', 'body.a[*].b = 1', 'body[*] = 1'],
  ...['body.c = 1', 'absent body.c', 'body.a.b.c = 1', 'body.a[*][*] = 1', 'absent body.A.b'],
  ...['body.a = "1"', 'body.c in [1, 2]', 'body.c > 1', 'body.d[*] = "x"', 'absent body.d'],
];

const SCALARS = ['0', '1', '1.0', '1.5', '2', '3', '"x"', '"z"', 'null', 'true', 'false', '"1"'];

/** Conditions on a JSON body. */
export const bodyWorld = (step: number): World => {
  const elements = ['1', '2', '3', '"x"', '{"b":1}', '{"b":2}', '{}', '[1]', '[]', '[1,2]'];
  const arrays = ['[]', ...elements.map((one) => `[${one}]`), ...product(elements, elements, (a, b) => `[${a},${b}]`)];
  const inner = [...SCALARS, '{}', '{"c":1}', '{"c":2}', '{"C":1}', '{"d":1}', '[]', '[1]'];
  const objects = [
    '{}',
    '{"d":1}',
    ...inner.map((value) => `{"b":${value}}`),
    ...['1', '{}'].map((value) => `{"B":${value}}`),
    '{"b":1,"d":1}',
    '{"b":1,"B":1}',
    '{"B":1,"d":1}',
  ];
  const own = [...SCALARS, ...arrays, ...objects].flatMap((value) => [`"a":${value}`]);
  const upper = [
    '"A":1',
    '"A":2',
    '"A":{}',
    '"A":{"b":1}',
    '"A":{"B":1}',
    '"A":{"d":1}',
    '"A":1,"a":1',
    '"A":1,"a":{}',
  ];
  const members = ['', '"c":1', '"c":2', '"c":3', '"C":1'];
  const rest = product(members, ['', '"d":1', '"d":["x"]', '"d":["x","y"]', '"e":1'], (one, other) =>
    [one, other].filter((text) => text !== '').join(','),
  );
  const documents = product(['', ...own, ...upper], rest, (one, other) => {
    return `{${[one, other].filter((text) => text !== '').join(',')}}`;
  });
  const bodies = [...documents, ...arrays, ...SCALARS, '[{"a":1}]', undefined];
  return {
    name: 'JSON bodies',
    rules: thin(rulesOf(subsets(BODY, 3).map((list) => `POST /a${where(list)}`)), step),
    requests: bodies.map((body) => ({
      method: 'POST',
      path: '/a',
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body }),
    })),
    isExact: true,
  };
};

/** Everything at once. */
export const mixedWorld = (step: number): World => {
  const heads = product(['GET', 'POST', 'GET,POST', '*'], ['/a', '/{x}', '/*', '/**', '/a/{x}', '/{y}/b'], pair);
  const conditions = ['query.q in ["a", "b"]', 'query.q = 1', 'query.q < 2', 'absent query.q', 'header.x-a = "a"'];
  const more = ['absent header.x-a', 'body.a in [1, "x"]', 'absent body.a', 'body.a > 0', 'body.l[*] in [1, 2]'];
  const names = ['', 'path.x = "a"', 'path.x in ["a", "b"]', 'path.y = "b"'];
  const lists = product(subsets([...conditions, ...more], 3), names, (list, name) =>
    name === '' ? list : [name, ...list],
  );
  const texts = product(heads, lists, ([methods, path], list) => `${methods} ${path}${where(list)}`);
  const targets = product(METHODS, ['/a', '/b', '/c', '/a/', '/a/a', '/a/b', '/c/b', '/a/c', '/a/b/c'], pair);
  const queries = [undefined, 'q=a', 'q=b', 'q=c', 'q=1', 'q=1.0', 'q=0', 'q=2'];
  const bodies = [
    ...[
      undefined,
      '{}',
      '{"a":1}',
      '{"a":0}',
      '{"a":2}',
      '{"a":"x"}',
      '{"a":"z"}',
      '{"l":[1]}',
      '{"l":[1,2]}',
      '{"l":[2]}',
    ],
    ...[
      '{"l":[3]}',
      '{"a":1,"l":[1]}',
      '{"a":2,"l":[2]}',
      '{"a":"x","l":[1]}',
      '{"a":0,"l":[1,2]}',
      '{"a":"z","l":[3]}',
      '[1]',
    ],
  ];
  const heading = product([{}, { 'x-a': 'a' }, { 'x-a': 'c' }], bodies, (headers, body) => ({
    headers: { ...headers, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body }),
  }));
  return {
    name: 'all together',
    rules: rulesOf(thin(texts, step)),
    requests: product(product(targets, queries, pair), heading, ([[method, path], query], rest) => ({
      method,
      path,
      ...(query === undefined ? {} : { query }),
      ...rest,
    })),
    isExact: true,
  };
};

/** GraphQL and JSON-RPC beside templates and patterns: a yes must be right, a no need not be. */
export const callsWorld = (step: number): World => {
  const arg = ['', 'arg.x = 1', 'arg.x in [1, 2]', 'absent arg.x', 'header.x-a = "a"', 'arg.x > 0'];
  const graphql = product(
    ['query a', 'query b', 'query a,b', 'query *', 'mutation a', 'batch query a,b', 'batch query *'],
    arg,
    pair,
  );
  const mcp = product(
    ['tools/call a', 'tools/call a,b', 'tools/call', 'tools/list', 'tools/call,tools/list', 'initialize', 'response'],
    arg,
    pair,
  );
  const texts = [
    ...graphql.map(([what, text]) => `graphql /c ${what}${where(text === '' ? [] : [text])}`),
    ...mcp.map(([what, text]) => `mcp /c ${what}${where(text === '' ? [] : [text])}`),
    ...['POST /c', 'POST /**', 'GET /c', '* /*', 'POST /c where absent query.q', 'POST /c where header.x-a = "a"'],
    ...[
      'POST ~/c',
      'POST ~/.*',
      '* ~/d',
      'GET,POST ~/c|/d',
      'POST /c where body.id = 1',
      'POST /{x} where path.x = "c"',
    ],
    ...[
      'mcp /{x} tools/call where path.x = "c"',
      'mcp /{x} tools/call where path.x in ["c", "d"]',
      'graphql /** query a',
    ],
    ...['POST /d', 'POST /d/e'],
  ];
  const fields = ['a', 'b', 'c', 'a(x:1)', 'a(x:2)', 'a(x:3)', 'b(x:1)', '__schema', 'a(x:0)', 'a(y:1)'];
  const selections = [...fields, ...product(fields, fields, (one, two) => `${one} n:${two}`)];
  const graphqlBodies = product(['query', 'mutation'], selections, (type, selection) =>
    JSON.stringify({ query: `${type} {${selection}}` }),
  );
  const args = [{}, { x: 1 }, { x: 2 }, { x: 3 }, { x: 0 }, { y: 1 }];
  const calls = [
    ...product(['a', 'b', 'c'], args, (name, given) => call('tools/call', { name, arguments: given })),
    ...args.map((given) => call('tools/list', given)),
    call('initialize', {}),
    call('ping', {}),
    ...thin(args, 3).map((result) => JSON.stringify({ jsonrpc: '2.0', id: 1, result })),
    JSON.stringify({ jsonrpc: '2.0', id: 1, error: { x: 1 } }),
  ];
  const batches = [
    ...product(calls, calls, (one, two) => `[${one},${two}]`),
    ...product(thin(graphqlBodies, 7), thin(graphqlBodies, 5), (one, two) => `[${one},${two}]`),
    ...graphqlBodies.map((one) => `[${one}]`),
  ];
  const bodies = [...graphqlBodies, ...calls, ...batches, '[]', '{}'];
  const heading = [{}, { 'x-a': 'a' }].map((headers) => ({ ...headers, 'content-type': 'application/json' }));
  return {
    name: 'GraphQL, JSON-RPC and patterns',
    rules: rulesOf(texts),
    requests: [
      ...product(thin(bodies, step), product(['/c', '/d'], heading, pair), (body, [path, headers]) => ({
        method: 'POST',
        path,
        headers,
        body,
      })),
      ...product(METHODS, ['/c', '/d', '/d/e', '/c?q=1', '/e'], (method, target) => {
        const [path = '', query] = target.split('?');
        return { method, path, ...(query === undefined ? {} : { query }) };
      }),
    ],
    isExact: false,
  };
};

const call = (method: string, params: object): string => JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });

/** What is read of a body, once for all rules. */
export const bodyOf = ({ body, headers }: WorldRequest) => {
  const type = headers?.['content-type'];
  return body === undefined || type === undefined ? undefined : readJsonBody(type, new TextEncoder().encode(body));
};
