// The official MCP client and server, which nobody here wrote, with a fleet between them: one tool is allowed, no other.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema, ToolListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../kit/deadline.ts';
import { type McpUpstream, startMcp } from '../kit/mcp.ts';
import { events, mint, register } from '../kit/operator.ts';
import { type Fleet, startFleet } from '../kit/planes.ts';

const SESSION = 'mcp /mcp initialize,notifications/initialized,tools/list';
const TOOL = 'mcp /mcp tools/call add_labels where arg.repo = "site"';

let fleet: Fleet;
let upstream: McpUpstream;

beforeAll(async () => {
  [fleet, upstream] = await Promise.all([startFleet(), startMcp()]);
  await register(fleet, 'issues', upstream.origin, 'real-mcp-credential');
});

afterAll(async () => {
  await fleet?.stop();
  await upstream?.close();
});

type Connected = { readonly client: Client; readonly transport: StreamableHTTPClientTransport; readonly token: string };

const connect = async (allow: readonly string[], capabilities = {}): Promise<Connected> => {
  const token = await mint(fleet, 'issues', allow);
  const transport = new StreamableHTTPClientTransport(new URL(`${fleet.dataUrl}/s/issues/mcp`), {
    requestInit: { headers: { Authorization: `Bearer ${token}` } },
  });
  const client = new Client({ name: 'triage-bot', version: '1.0.0' }, { capabilities });
  return { client, transport, token };
};

/** A POST as the client makes it, with a message that it would not make. */
const post = ({ transport, token }: Connected, message: unknown): Promise<Response> =>
  fetch(`${fleet.dataUrl}/s/issues/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-session-id': transport.sessionId ?? '',
    },
    body: JSON.stringify(message),
  });

const text = (answer: Awaited<ReturnType<Client['callTool']>>): unknown =>
  Array.isArray(answer.content) ? answer.content[0]?.text : undefined;

describe('a token for one tool', () => {
  let session: Connected;

  beforeAll(async () => {
    session = await connect([SESSION, TOOL, 'GET /mcp', 'DELETE /mcp']);
    await session.client.connect(session.transport);
    // Nothing waits for the stream that the client opens by itself.
    await until('the GET', () => upstream.seen.some(({ method }) => method === 'GET'));
  });
  beforeEach(() => upstream.forget());

  test('opens a session, whose name goes both ways, on the real credential', async () => {
    expect(session.client.getServerVersion()?.name).toBe('issues');
    expect([...upstream.sessions.keys()]).toEqual([session.transport.sessionId]);
    await session.client.listTools();
    expect(upstream.seen.map(({ headers }) => [headers['mcp-session-id'], headers.authorization])).toEqual([
      [session.transport.sessionId, 'Bearer real-mcp-credential'],
    ]);
  });

  test('lists both tools, since a list is one request', async () => {
    const { tools } = await session.client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(['add_labels', 'delete_repo']);
  });

  test('calls the tool that it allows, and the audit names the rule', async () => {
    const answer = await session.client.callTool({ name: 'add_labels', arguments: { repo: 'site', labels: ['bug'] } });
    expect(text(answer)).toBe('add_labels of site');
    const found = await until('the event', async () => {
      const list = await events(fleet, { service: 'issues' });
      return list.find((event) => event.rule === TOOL && event.outcome === 'OUTCOME_ALLOWED');
    });
    expect(found).toMatchObject({ method: 'POST', path: '/mcp', status: 200 });
  });

  test('hears what the server says on its own stream', async () => {
    const heard = Promise.withResolvers<void>();
    session.client.setNotificationHandler(ToolListChangedNotificationSchema, () => heard.resolve());
    await upstream.announce();
    await expect(heard.promise).resolves.toBeUndefined();
  });

  test.each<[string, (client: Client) => Promise<unknown>]>([
    ['the other tool', (client) => client.callTool({ name: 'delete_repo', arguments: { repo: 'site' } })],
    ['the tool with another argument', (client) => client.callTool({ name: 'add_labels', arguments: { repo: 'api' } })],
    ['the tool without arguments', (client) => client.callTool({ name: 'add_labels' })],
    ['a list of resources', (client) => client.listResources()],
    ['a ping', (client) => client.ping()],
    [
      'a notification',
      (client) => client.notification({ method: 'notifications/cancelled', params: { requestId: 1 } }),
    ],
  ])('is refused %s, which never reaches the server', async (_name, ask) => {
    await expect(ask(session.client)).rejects.toMatchObject({ code: 403 });
    expect(upstream.seen).toEqual([]);
  });

  const call = (id: number, name: string) => ({
    jsonrpc: '2.0',
    id,
    method: 'tools/call',
    params: { name, arguments: { repo: 'site' } },
  });

  test.each<[string, unknown]>([
    ['a batch of which one member is forbidden', [call(1, 'add_labels'), call(2, 'delete_repo')]],
    ['an empty batch', []],
    ['an answer that nobody asked for', { jsonrpc: '2.0', id: 1, result: {} }],
    ['a call dressed as an answer', { ...call(1, 'delete_repo'), result: {} }],
  ])('is refused %s', async (_name, message) => {
    const answer = await post(session, message);
    expect([answer.status, await answer.json()]).toMatchObject([403, { code: 'scope_refused' }]);
    expect(upstream.seen).toEqual([]);
  });

  test('sends a batch of which each member is allowed', async () => {
    const answer = await post(session, [call(91, 'add_labels'), { jsonrpc: '2.0', id: 92, method: 'tools/list' }]);
    // The SDK's server reads batches no more, as MCP has none since 2025-06-18; what it answers is its own.
    await answer.arrayBuffer();
    expect(upstream.seen.map(({ message }) => Array.isArray(message) && message.length)).toEqual([2]);
  });

  test('ends the session', async () => {
    await session.transport.terminateSession();
    expect(upstream.seen.map(({ method }) => method)).toEqual(['DELETE']);
    expect(upstream.sessions.size).toBe(0);
    await session.client.close();
  });
});

describe('a server that asks the client back', () => {
  const ask = async (allow: readonly string[]) => {
    const session = await connect(allow, { elicitation: {} });
    session.client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'decline' }));
    const failed: unknown[] = [];
    session.client.onerror = (error) => void failed.push(error);
    await session.client.connect(session.transport);
    return { session, failed };
  };

  test('gets the answer where a rule allows one', async () => {
    const { session } = await ask([SESSION, TOOL, 'mcp /mcp response where arg.action = "decline"']);
    const answer = await session.client.callTool({ name: 'add_labels', arguments: { repo: 'site', ask: true } });
    expect(text(answer)).toBe('add_labels of site: decline');
    await session.client.close();
  });

  test('gets none where no rule does', async () => {
    const { session, failed } = await ask([SESSION, TOOL]);
    upstream.forget();
    const stop = new AbortController();
    const answer = session.client.callTool({ name: 'add_labels', arguments: { repo: 'site', ask: true } }, undefined, {
      signal: stop.signal,
    });
    const ended = expect(answer).rejects.toThrow();
    await until('the answer is refused', () => failed.some((error) => isRefusal(error)));
    stop.abort();
    await ended;
    expect(upstream.seen.filter(({ message }) => JSON.stringify(message)?.includes('decline'))).toEqual([]);
    await session.client.close();
  });
});

test('without a rule for its stream and its end a session works all the same', async () => {
  const session = await connect([SESSION, TOOL]);
  await session.client.connect(session.transport);
  const answer = await session.client.callTool({ name: 'add_labels', arguments: { repo: 'site' } });
  expect(text(answer)).toBe('add_labels of site');
  await expect(session.transport.terminateSession()).rejects.toMatchObject({ code: 403 });
  await session.client.close();
});

const isRefusal = (error: unknown): boolean =>
  typeof error === 'object' && error !== null && 'code' in error && error.code === 403;
