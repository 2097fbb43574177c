// An unmodified GraphQL client and server with a fleet between them: one root field with one argument, and no other.
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buildSchema, type DocumentNode, execute, parse, validate } from 'graphql';
import { createHandler } from 'graphql-http/lib/use/http';
import { ClientError, GraphQLClient } from 'graphql-request';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../kit/deadline.ts';
import { events, mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';

const RULE = 'graphql /graphql query repository where arg.owner = "acme"';

const schema = buildSchema(`
  type Repository { name: String!, owner: String!, stars(of: Int = 1): Int! }
  type User { login: String! }
  input Labels { repo: String!, names: [String!]! }
  type Query { repository(owner: String!, name: String = "site"): Repository, user(login: String!): User }
  type Mutation { addLabels(input: Labels!): [String!]! }
`);
const rootValue = {
  repository: ({ owner, name }: { owner: string; name: string }) => ({ owner, name, stars: 7 }),
  user: ({ login }: { login: string }) => ({ login }),
  addLabels: ({ input }: { input: { names: readonly string[] } }) => input.names,
};

let fleet: Fleet;
let server: Server;
let url: string;
let token: string;
const seen: IncomingHttpHeaders[] = [];

beforeAll(async () => {
  // Named, since a test runner may load the package a second time for the handler, and it refuses the other's schema.
  const own = { parse, execute, validate: (...[of, document]: Parameters<typeof validate>) => validate(of, document) };
  const handler = createHandler({ schema, rootValue, ...own });
  server = createServer((request, response) => {
    seen.push(request.headers);
    void handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  fleet = await startFleet();
  await register(fleet, 'api', `http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'real-api-credential');
  token = await mint(fleet, 'api', [RULE]);
  url = `${fleet.dataUrl}/s/api/graphql`;
});

afterAll(async () => {
  await fleet?.stop();
  server?.closeAllConnections();
  await new Promise((resolve) => server?.close(resolve));
});

beforeEach(() => void seen.splice(0));

const clientWith = (bearer: string, options = {}) =>
  new GraphQLClient(url, { ...options, headers: { authorization: `Bearer ${bearer}` } });

/** The refusal that the client throws. */
const refusalOf = async (asked: Promise<unknown>): Promise<ClientError> => {
  const error = await asked.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (!(error instanceof ClientError)) throw new Error('the client was not refused', { cause: error });
  return error;
};

describe('graphql-request with a token for one root field', () => {
  const site = { name: 'site', owner: 'acme' };

  test.each<[string, string | DocumentNode, Record<string, unknown> | undefined, unknown]>([
    ['a literal', '{ repository(owner: "acme") { name owner } }', undefined, { repository: site }],
    [
      'variables',
      'query Repo($owner: String!, $name: String) { repository(owner: $owner, name: $name) { name owner } }',
      { owner: 'acme', name: 'api' },
      { repository: { name: 'api', owner: 'acme' } },
    ],
    [
      'a default of a variable',
      'query Repo($owner: String! = "acme") { repository(owner: $owner) { name owner } }',
      {},
      { repository: site },
    ],
    [
      'aliases',
      '{ one: repository(owner: "acme") { name } two: repository(owner: "acme", name: "api") { is: name } }',
      undefined,
      { one: { name: 'site' }, two: { is: 'api' } },
    ],
    [
      'a document parsed before',
      parse('query A { repository(owner: "acme") { name owner } }'),
      {},
      { repository: site },
    ],
    [
      'fragments at the root and below',
      `query Repo($owner: String!) { ...Root }
       fragment Root on Query { repository(owner: $owner) { ...Parts __typename } }
       fragment Parts on Repository { name owner stars(of: 3) @include(if: true) }`,
      { owner: 'acme' },
      { repository: { ...site, stars: 7, __typename: 'Repository' } },
    ],
  ])('gets what it asks for by %s', async (_name, document, variables, data) => {
    expect(await clientWith(token).request(document, variables)).toEqual(data);
    expect(seen.map(({ authorization }) => authorization)).toEqual(['Bearer real-api-credential']);
  });

  test('gets the answer as it is, and the audit names the rule', async () => {
    const document = 'query Repo { repository(owner: "acme") { name } }';
    const answer = await clientWith(token).rawRequest<unknown>(document);
    expect(answer.data).toEqual({ repository: { name: 'site' } });
    // Asked for by the client, answered by the server, and neither is changed on the way.
    expect(seen[0]?.accept).toContain('application/graphql-response+json');
    expect(answer.headers.get('content-type')).toContain('application/graphql-response+json');
    const found = await until('the event', async () => {
      const list = await events(fleet, { service: 'api' });
      return list.find(({ outcome }) => outcome === 'OUTCOME_ALLOWED');
    });
    expect(found).toMatchObject({ method: 'POST', path: '/graphql', rule: RULE });
  });

  test.each<[string, string, Record<string, unknown> | undefined]>([
    ['another root field', '{ user(login: "ada") { login } }', undefined],
    ['another root field under its alias', '{ repository: user(login: "ada") { login } }', undefined],
    ['another root field beside it', '{ repository(owner: "acme") { name } user(login: "ada") { login } }', undefined],
    ['another argument', '{ repository(owner: "other") { name } }', undefined],
    [
      'another argument under an alias',
      '{ a: repository(owner: "acme") { name } b: repository(owner: "other") { name } }',
      undefined,
    ],
    ['another argument by a variable', 'query ($o: String!) { repository(owner: $o) { name } }', { o: 'other' }],
    [
      'another argument over a default',
      'query ($o: String! = "acme") { repository(owner: $o) { name } }',
      { o: 'other' },
    ],
    [
      'another argument in a fragment',
      '{ ...F } fragment F on Query { repository(owner: "other") { name } }',
      undefined,
    ],
    ['a mutation', 'mutation { addLabels(input: { repo: "site", names: ["bug"] }) }', undefined],
    ['introspection', '{ __schema { types { name } } }', undefined],
    ['introspection beside it', '{ repository(owner: "acme") { name } __type(name: "User") { name } }', undefined],
  ])('is refused %s, and nothing reaches the server', async (_name, document, variables) => {
    const refusal = await refusalOf(clientWith(token).request(document, variables));
    expect(refusal.response.status).toBe(403);
    expect(refusal.response).toMatchObject({ body: expect.stringContaining('"scope_refused"') });
    expect(seen).toEqual([]);
  });

  test.each<[string, () => Promise<unknown>]>([
    ['a query by GET', () => clientWith(token, { method: 'GET' }).request('{ repository(owner: "acme") { name } }')],
    ['a batch', () => clientWith(token).batchRequests([{ document: '{ repository(owner: "acme") { name } }' }])],
    [
      'what else goes into the URL',
      () =>
        new GraphQLClient(`${url}?query={user}`, { headers: { authorization: `Bearer ${token}` } }).request(
          '{ repository(owner: "acme") { name } }',
        ),
    ],
  ])('is refused %s', async (_name, ask) => {
    expect((await refusalOf(ask())).response.status).toBe(403);
    expect(seen).toEqual([]);
  });
});

const post = (bearer: string, body: unknown, type = 'application/json'): Promise<Response> =>
  fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${bearer}`, 'content-type': type },
    body: JSON.stringify(body),
  });

describe('what other clients send', () => {
  const query = 'query Repo { repository(owner: "acme") { name } }';

  test.each<[string, unknown, string]>([
    ['a charset', { query }, 'application/json; charset=utf-8'],
    ['a charset in capitals', { query }, 'application/json;charset=UTF-8'],
    ['every member, as Apollo does', apollo(query, 'Repo'), 'application/json'],
    ['nulls, as Relay does', { query, variables: null, operationName: null, extensions: null }, 'application/json'],
  ])('passes with %s', async (_name, body, type) => {
    const answer = await post(token, body, type);
    expect([answer.status, await answer.json()]).toEqual([200, { data: { repository: { name: 'site' } } }]);
  });

  test.each<[string, unknown]>([
    ['a persisted query', { extensions: { persistedQuery: { version: 1, sha256Hash: 'ab' } } }],
    [
      'a persisted query that brings its text',
      { query, extensions: { persistedQuery: { version: 1, sha256Hash: 'ab' } } },
    ],
    ['a document by its id', { documentId: 'ab' }],
    [
      'two operations, of which one is allowed',
      { query: `${query} query B { user(login: "a") { login } }`, operationName: 'Repo' },
    ],
  ])('is refused with %s', async (_name, body) => {
    const answer = await post(token, body);
    expect([answer.status, await answer.json()]).toMatchObject([403, { code: 'scope_refused' }]);
    expect(seen).toEqual([]);
  });
});

function apollo(query: string, operationName: string): object {
  const extensions = { clientLibrary: { name: '@apollo/client', version: '4.0.0' } };
  return { operationName, variables: {}, extensions, query };
}

test('a rule that names them lets batches and persisted documents through', async () => {
  const batch = await mint(fleet, 'api', ['graphql /graphql batch query repository']);
  await refusalOf(clientWith(batch).batchRequests([{ document: '{ repository(owner: "acme") { name } }' }]));
  const persisted = await mint(fleet, 'api', ['graphql /graphql persisted ab where arg.owner = "acme"']);
  await post(persisted, { documentId: 'ab', variables: { owner: 'acme' } });
  const other = await post(persisted, { documentId: 'ab', variables: { owner: 'other' } });
  // This server knows neither; what matters here is that they reached it.
  expect([seen.length, other.status]).toEqual([2, 403]);
});
