// The control plane's listener: HTTP/1.1 and HTTP/2 on one port, with or without TLS; drains, then closes.
import { createServer as createHttp1, type Server as Http1Server } from 'node:http';
import { createServer as createHttp2, type Http2Server, type ServerHttp2Session } from 'node:http2';
import { type AddressInfo, createServer as createTcp, type Server, type Socket } from 'node:net';
import { createServer as createTls, type TLSSocket } from 'node:tls';
import { DaypassError } from '@daypass/core/errors';
import type { Listen } from '@daypass/core/listen';
import type { Handler } from './adapter.ts';
import { sniff } from './sniff.ts';

/** PEM texts. */
export type TlsFiles = { readonly cert: string; readonly key: string };

/** The listener. */
export type ControlServer = {
  /** Starts to listen; the port that it got. Throws `unavailable` when the address is taken. */
  listen(listen: Listen): Promise<Listen>;
  /** Takes no more connections, tells the open ones, and waits until they have ended. */
  drain(): Promise<void>;
  /** Ends every connection at once. */
  close(): void;
};

/** Bounds of connections. */
const CONNECTIONS_MAX = 4096;
const STREAMS_MAX = 128;
const HEAD_BYTES_MAX = 16_384;
const HEAD_MS_MAX = 10_000;
const REQUEST_MS_MAX = 60_000;
const IDLE_MS_MAX = 120_000;
/** What has not ended by then is ended. */
const DRAIN_MS_MAX = 8000;

type Deps = {
  readonly handler: Handler;
  readonly tls: TlsFiles | undefined;
  /** Aborts every stream and wait of the handlers. */
  readonly stopStreams: () => void;
};

/** Makes the listener. Throws `config_invalid` for a certificate and key that do not fit. */
export const createControlServer = ({ handler, tls, stopStreams }: Deps): ControlServer => {
  const sockets = new Set<Socket>();
  /** Cleartext connections that have not said yet which version of HTTP they speak. */
  const silent = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  let draining = false;

  const http1 = makeHttp1((request, response) => {
    if (draining) response.setHeader('connection', 'close');
    // An answer that was begun before the drain leaves its connection open.
    response.once('close', () => draining && request.socket.end());
    handler(request, response);
  });
  const http2 = makeHttp2(handler);
  http2.on('session', (session) => {
    sessions.add(session);
    session.setTimeout(IDLE_MS_MAX, () => session.destroy());
    session.once('close', () => sessions.delete(session));
    if (draining) session.close();
  });

  const endAll = (): void => {
    for (const session of sessions) session.destroy();
    for (const socket of sockets) socket.destroy();
  };

  const accept = (socket: Socket, version: 1 | 2): void => {
    silent.delete(socket);
    (version === 2 ? http2 : http1).emit('connection', socket);
    if (version === 1) socket.resume();
  };
  const front = makeFront(tls, accept);
  front.maxConnections = CONNECTIONS_MAX;
  front.on('connection', (socket: Socket) => {
    sockets.add(socket);
    if (tls === undefined) silent.add(socket);
    socket.once('close', () => {
      sockets.delete(socket);
      silent.delete(socket);
    });
  });

  return {
    listen: async ({ host, port }) => {
      const address = await listening(front, host, port);
      // Node checks the timeouts of requests only on a server that believes that it listens.
      http1.emit('listening');
      return { host, port: address.port };
    },
    drain: async () => {
      draining = true;
      const closed = new Promise<void>((resolve) => front.close(() => resolve()));
      stopStreams();
      http1.closeIdleConnections();
      for (const socket of silent) socket.destroy();
      // GOAWAY; open streams go on to their end.
      for (const session of sessions) session.close();
      const timer = setTimeout(endAll, DRAIN_MS_MAX);
      await closed;
      clearTimeout(timer);
      http1.close();
    },
    close: () => {
      draining = true;
      stopStreams();
      front.close();
      endAll();
      http1.close();
    },
  };
};

const makeHttp1 = (handler: Parameters<Http1Server['on']>[1]): Http1Server => {
  const server = createHttp1({
    maxHeaderSize: HEAD_BYTES_MAX,
    headersTimeout: HEAD_MS_MAX,
    requestTimeout: REQUEST_MS_MAX,
    keepAliveTimeout: IDLE_MS_MAX / 2,
    connectionsCheckingInterval: 5000,
    insecureHTTPParser: false,
  });
  server.on('request', handler);
  server.timeout = IDLE_MS_MAX;
  return server;
};

const makeHttp2 = (handler: Handler): Http2Server => {
  const server = createHttp2({
    maxSessionMemory: 32,
    maxSendHeaderBlockLength: HEAD_BYTES_MAX * 4,
    settings: { maxConcurrentStreams: STREAMS_MAX, maxHeaderListSize: HEAD_BYTES_MAX, enablePush: false },
  });
  server.on('request', handler);
  // A session that breaks the protocol is ended by node; it must not end the process.
  server.on('sessionError', () => {});
  return server;
};

const makeFront = (tls: TlsFiles | undefined, accept: (socket: Socket, version: 1 | 2) => void): Server => {
  if (tls === undefined) {
    return createTcp({ noDelay: true }, (socket) => sniff(socket, HEAD_MS_MAX, (version) => accept(socket, version)));
  }
  try {
    const server = createTls({
      ...tls,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['h2', 'http/1.1'],
      handshakeTimeout: HEAD_MS_MAX,
      noDelay: true,
    });
    server.on('secureConnection', (socket: TLSSocket) => accept(socket, socket.alpnProtocol === 'h2' ? 2 : 1));
    server.on('tlsClientError', (_error, socket: TLSSocket) => socket.destroy());
    return server;
  } catch (cause) {
    const message = 'DAYPASS_CONTROL_TLS_CERT, DAYPASS_CONTROL_TLS_KEY: not a certificate and its key, in PEM';
    throw new DaypassError('config_invalid', message, { cause });
  }
};

const listening = (server: Server, host: string, port: number): Promise<AddressInfo> =>
  new Promise((resolve, reject) => {
    // Stays: what fails later, such as too many open files, must not end the process.
    server.on('error', (cause) => reject(cannotListen(host, port, cause)));
    server.listen({ host, port }, () => {
      const address = server.address();
      if (address === null || typeof address === 'string') reject(cannotListen(host, port, undefined));
      else resolve(address);
    });
  });

const cannotListen = (host: string, port: number, cause: unknown): DaypassError => {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const why = code === 'EADDRINUSE' ? 'the address is in use' : cause instanceof Error ? cause.message : 'unknown';
  const where = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return new DaypassError('unavailable', `DAYPASS_CONTROL_LISTEN: cannot listen at ${where}: ${why}`, {
    cause,
    field: 'DAYPASS_CONTROL_LISTEN',
  });
};
