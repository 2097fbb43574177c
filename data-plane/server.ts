// The data plane's listener: hands requests to the pipeline, answers what is not HTTP, drains, closes.
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { UpstreamPolicy } from '@daypass/core/address';
import type { CryptoKey } from '@daypass/core/key';
import type { ActiveSnapshot } from './active.ts';
import type { AuditSink } from './audit/sink.ts';
import { createAuthenticator } from './authenticate.ts';
import { createAuthorizer } from './authorize.ts';
import { Cancellation } from './cancellation.ts';
import { type Connections, createConnections } from './connection.ts';
import { createSystemResolve, type Resolve } from './dial.ts';
import { createBodyRoom } from './held-body.ts';
import { createLimiter } from './limit.ts';
import { type DataLimits, DEFAULT_LIMITS } from './limits.ts';
import type { Log } from './log.ts';
import type { Metrics } from './metrics.ts';
import { createPipeline, type Pipeline } from './pipeline.ts';
import { createProver, type NonceRule } from './proof.ts';
import { createReception, type Reception } from './reception.ts';
import { createRunningRequests } from './running.ts';
import { createSeals } from './seals.ts';
import { createUpstreams } from './upstreams.ts';

/** What the data server needs. */
export type DataServerDeps = {
  readonly limits?: Partial<DataLimits>;
  /** Adds `Server-Timing` with the decision id and the snapshot's version to every forwarded answer. */
  readonly serverTiming?: boolean;
  readonly current: () => ActiveSnapshot | undefined;
  readonly audit: AuditSink;
  readonly policy: UpstreamPolicy;
  /** Private keys that open seals, by `kid`. */
  readonly unsealKeys: ReadonlyMap<string, CryptoKey>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** A fresh id of at least 128 random bits. */
  readonly newId: () => string;
  readonly log: Log;
  readonly metrics: Metrics;
  /** PEM; without it the server speaks cleartext. */
  readonly tls?: { readonly cert: string; readonly key: string } | undefined;
  /** Where clients reach this server, without a slash at the end; the listen address if left out. */
  readonly publicUrl?: string | undefined;
  /** When proofs must hold a nonce; `auto` if left out. */
  readonly dpopNonce?: NonceRule;
  /** Asks the DNS; the system's resolver if left out. */
  readonly resolve?: Resolve;
};

/** The running server. */
export type DataServer = {
  /** Starts to listen; rejects with what the system says. */
  listen(host: string, port: number): Promise<AddressInfo>;
  /** Takes no new connection or request, and resolves when the last one was answered. */
  drain(): Promise<void>;
  /** Ends everything at once. */
  close(): Promise<void>;
};

/** Wires the request path. */
export function createDataServer(deps: DataServerDeps): DataServer {
  const limits: DataLimits = Object.freeze({ ...DEFAULT_LIMITS, ...deps.limits });
  const { policy, audit, current, log, metrics, newId, now: nowMs, unsealKeys, resolve = createSystemResolve() } = deps;
  const state: State = { isDraining: false, publicUrl: deps.publicUrl };
  const connections = createConnections(limits, nowMs);
  const upstreams = createUpstreams({ policy, resolve, limits });
  const reception = createReception({ audit, log, metrics, newId });
  const running = createRunningRequests(current);
  const reviews = setInterval(running.review, REVIEW_MS).unref();
  const publicUrl = (): string => state.publicUrl ?? '';
  const prover = createProver({ limits, nowMs, metrics, nonceRule: deps.dpopNonce ?? 'auto', publicUrl });
  const pipeline = createPipeline({
    limits,
    current,
    audit,
    authenticator: createAuthenticator({ limits, nowMs, metrics, prover }),
    authorizer: createAuthorizer({ seals: createSeals(unsealKeys, limits), nowMs }),
    bodyRoom: createBodyRoom(limits, metrics),
    limiter: createLimiter(limits, nowMs, metrics),
    upstreams,
    running,
    nowMs,
    newId,
    publicUrl,
    ownFields: (id, { version }) => [
      ...(deps.serverTiming === true ? ['server-timing', `daypass;desc="${id}", snapshot;desc="${version}"`] : []),
      ...(state.isDraining ? ['connection', 'close'] : []),
    ],
    refuse: reception.refuse,
    onEnd: (visit) => {
      reception.onEnd(visit);
      if (state.isDraining) visit.response.on('close', () => server.closeIdleConnections());
    },
  });
  const server = createServer(limits, deps.tls);
  serve(server, pipeline, connections, reception, state);
  return {
    async listen(host, port) {
      const address = await listen(server, host, port);
      state.publicUrl ??= urlOf(address, deps.tls !== undefined);
      return address;
    },
    async drain() {
      state.isDraining = true;
      await closed(server);
    },
    async close() {
      state.isDraining = true;
      clearInterval(reviews);
      const ended = closed(server);
      server.closeAllConnections();
      await Promise.all([ended, upstreams.destroy()]);
    },
  };
}

/** How long a request may go on after the snapshot that revokes its token was activated. */
const REVIEW_MS = 100;

/** Bytes of a body that node keeps for a request that nobody reads yet. */
const WAITING_MAX = 8 * 1024;

type State = { isDraining: boolean; publicUrl: string | undefined };

function createServer(limits: DataLimits, tls: DataServerDeps['tls']): Server {
  const options = {
    insecureHTTPParser: false,
    maxHeaderSize: limits.headBytesMax,
    // Of a request that waits for the one before it: a body in chunks of one byte takes 250 times as much memory.
    highWaterMark: WAITING_MAX,
    // Answered by our own check, with a problem.
    requireHostHeader: false,
    headersTimeout: limits.headTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    connectionsCheckingInterval: Math.min(1_000, limits.headTimeoutMs),
    noDelay: true,
  };
  const server =
    tls === undefined
      ? createHttpServer(options)
      : createHttpsServer({ ...options, ...tls, minVersion: 'TLSv1.2', ALPNProtocols: ['http/1.1'] });
  // Node would leave the further ones out without a word; the head's size is the limit.
  server.maxHeadersCount = 0;
  server.maxConnections = limits.maxConnections;
  return server;
}

function serve(server: Server, pipeline: Pipeline, connections: Connections, reception: Reception, state: State): void {
  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const connection = connections.of(request.socket);
    const cancellation = new Cancellation();
    const start = (): void => {
      if (state.isDraining) reception.refuseEarly(response, 'draining');
      else void pipeline({ request, response, connection, cancellation });
    };
    if (!connections.enter(connection, { request, response, cancellation, start })) request.socket.destroy();
  };
  server.on('request', onRequest);
  // Only an authorised request is told to go on, so node must not do it.
  server.on('checkContinue', onRequest);
  server.on('checkExpectation', onRequest);
  server.on('connect', (_request: IncomingMessage, socket: Duplex) => reception.refuseRaw(socket, 'method_refused'));
  server.on('clientError', (error: Error, socket: Socket) => {
    reception.onWireError(error, socket, connections.of(socket));
  });
}

function listen(server: Server, host: string, port: number): Promise<AddressInfo> {
  const { promise, resolve, reject } = Promise.withResolvers<AddressInfo>();
  server.once('error', reject);
  server.listen({ host, port }, () => {
    server.off('error', reject);
    const address = server.address();
    if (address === null || typeof address === 'string') reject(new Error('the server has no address'));
    else resolve(address);
  });
  return promise;
}

function closed(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (!server.listening) resolve();
  else server.close(() => resolve());
  return promise;
}

const urlOf = ({ address, family, port }: AddressInfo, isTls: boolean): string =>
  `${isTls ? 'https' : 'http'}://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
