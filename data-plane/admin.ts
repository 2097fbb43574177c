// The admin port: whether the process lives, whether it is ready and why not, and its metrics. Nothing else.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { ErrorCode } from '@daypass/core/errors';
import type { Listen } from '@daypass/core/listen';
import { closeServer, listenOn } from './listener.ts';

const HEAD_MS = 5_000;
const CONNECTIONS_MAX = 64;

/** Ready, or the code of what keeps it from being so. */
export type Readiness = { readonly reason: ErrorCode | undefined; readonly snapshotVersion: number };

type Deps = {
  readonly version: string;
  readonly readiness: () => Readiness;
  /** Prometheus text. */
  readonly metrics: () => Promise<string>;
};

type Answer = { readonly status: number; readonly type: string; readonly body: string };

export type AdminServer = {
  /** Returns where it listens. Throws `unavailable` when the port is taken. */
  listen(at: Listen): Promise<Listen>;
  close(): Promise<void>;
};

const JSON_TYPE = 'application/json';
const TEXT_TYPE = 'text/plain; charset=utf-8';
const METRICS_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** Answers GET and HEAD on `/healthz`, `/readyz` and `/metrics`. */
export function createAdminServer(deps: Deps): AdminServer {
  const server: Server = createServer({ requestTimeout: HEAD_MS, headersTimeout: HEAD_MS }, (request, response) => {
    reply(request, response, deps).catch(() => response.destroy());
  });
  server.maxConnections = CONNECTIONS_MAX;
  return { listen: (at) => listenOn(server, at), close: () => closeServer(server) };
}

async function reply(request: IncomingMessage, response: ServerResponse, deps: Deps): Promise<void> {
  const allowed = request.method === 'GET' || request.method === 'HEAD';
  const { status, type, body } = allowed ? await answer(request.url, deps) : refusal(405, 'Only GET and HEAD');
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'daypass-version': deps.version,
    ...(allowed ? {} : { allow: 'GET, HEAD', connection: 'close' }),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function answer(url: string | undefined, deps: Deps): Promise<Answer> {
  switch (url) {
    case '/healthz':
      return { status: 200, type: TEXT_TYPE, body: 'OK' };
    case '/readyz':
      return readyAnswer(deps);
    case '/metrics':
      return { status: 200, type: METRICS_TYPE, body: await deps.metrics() };
    default:
      return refusal(404, 'Not found');
  }
}

function readyAnswer({ readiness, version }: Deps): Answer {
  const { reason, snapshotVersion } = readiness();
  const body = { ready: reason === undefined, reason, version, snapshot_version: snapshotVersion };
  return { status: reason === undefined ? 200 : 503, type: JSON_TYPE, body: `${JSON.stringify(body)}\n` };
}

const refusal = (status: number, body: string): Answer => ({ status, type: TEXT_TYPE, body: `${body}\n` });
