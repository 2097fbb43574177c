// An MCP server by the official SDK, over Streamable HTTP with sessions: two tools, one of which asks the client back.
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from '@modelcontextprotocol/sdk/server/index.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js';

/** One HTTP request as the server got it. */
export type McpSeen = {
  readonly method: string;
  readonly headers: IncomingMessage['headers'];
  /** The JSON of a POST. */
  readonly message: unknown;
};

/** A running server. */
export type McpUpstream = {
  readonly origin: string;
  readonly seen: readonly McpSeen[];
  /** Sessions that are open. */
  readonly sessions: ReadonlyMap<string, unknown>;
  /** Tells every session, on its own stream, that the tools have changed. */
  announce(): Promise<void>;
  forget(): void;
  close(): Promise<void>;
};

type Session = { readonly server: Server; readonly transport: StreamableHTTPServerTransport };

/** Starts a server at `/mcp` on a free port of 127.0.0.1. */
export async function startMcp(): Promise<McpUpstream> {
  const seen: McpSeen[] = [];
  const sessions = new Map<string, Session>();
  const listener = createServer((request, response) => {
    void serve(request, response, seen, sessions).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as AddressInfo;
  return {
    origin: `http://127.0.0.1:${port}`,
    seen,
    sessions,
    announce: async () => {
      for (const { server } of sessions.values()) await server.sendToolListChanged();
    },
    forget: () => void seen.splice(0),
    close: async () => {
      await Promise.all([...sessions.values()].map(({ server }) => server.close()));
      await new Promise<void>((resolve) => {
        listener.close(() => resolve());
        listener.closeAllConnections();
      });
    },
  };
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  seen: McpSeen[],
  sessions: Map<string, Session>,
): Promise<void> {
  const message = request.method === 'POST' ? await readJson(request) : undefined;
  seen.push({ method: request.method ?? '', headers: request.headers, message });
  const known = sessions.get(String(request.headers['mcp-session-id']));
  const { transport } = known ?? (await openSession(sessions));
  await transport.handleRequest(request, response, message);
}

async function openSession(sessions: Map<string, Session>): Promise<Session> {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    onsessioninitialized: (id) => void sessions.set(id, session),
    onsessionclosed: (id) => void sessions.delete(id),
  });
  const session: Session = { server: makeServer(), transport };
  await session.server.connect(transport);
  return session;
}

const repo = { type: 'object' as const, properties: { repo: { type: 'string' } }, required: ['repo'] };

function makeServer(): Server {
  const server = new Server(
    { name: 'issues', version: '1.0.0' },
    { capabilities: { tools: { listChanged: true }, resources: {} } },
  );
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: [
      { name: 'add_labels', inputSchema: repo },
      { name: 'delete_repo', inputSchema: repo },
    ],
  }));
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, { requestId }) => {
    const text = `${params.name} of ${String(params.arguments?.repo)}`;
    if (params.arguments?.ask !== true) return { content: [{ type: 'text', text }] };
    const answer = await server.elicitInput(
      { mode: 'form', message: 'Sure?', requestedSchema: { type: 'object', properties: {} } },
      { relatedRequestId: requestId },
    );
    return { content: [{ type: 'text', text: `${text}: ${answer.action}` }] };
  });
  return server;
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return JSON.parse(Buffer.concat(pieces).toString('utf8'));
}
