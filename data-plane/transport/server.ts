// The server side of the transport: accepts connections, ends those that are late, drains, closes.
import { type AddressInfo, createServer as createPlain, type Server, type Socket } from 'node:net';
import { createServer as createTls } from 'node:tls';
import { type Host, ServerConnection } from './server-connection.ts';

/** What the server needs beside what its connections do. */
export type TransportOptions = Omit<Host, 'isDraining' | 'date' | 'onClose' | 'keepAliveFields' | 'clock'> & {
  readonly maxConnections: number;
  /** Told of every connection that is gone. */
  readonly onSocketClose?: () => void;
  /** Counts connections with those of others; what it refuses is closed. */
  readonly connections?: { enter(amount: number): boolean; leave(amount: number): void };
  /** Others may listen at the same address (SO_REUSEPORT). */
  readonly reusePort?: boolean;
  /** PEM; without it the server speaks cleartext. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
};

/** The server. */
export type TransportServer = {
  listen(host: string, port: number): Promise<AddressInfo>;
  /** Takes no new connection, and ends each one after its next answer; resolves when the last one has ended. */
  leave(): Promise<void>;
  /** Takes no new connection, ends idle ones, and resolves when the last one has ended. */
  drain(): Promise<void>;
  close(): Promise<void>;
};

/** Returns a server that does not listen yet. */
export function createTransportServer(options: TransportOptions): TransportServer {
  const connections = new Set<ServerConnection>();
  // Under TLS, the sockets below those of the connections; some have none yet.
  const greeting = new Set<Socket>();
  let leaving = false;
  let draining = false;
  let ended: Promise<void> | undefined;
  let date = '';
  const tellDate = (): void => {
    date = `date: ${new Date().toUTCString()}\r\n`;
  };
  tellDate();
  const every = Math.max(1, Math.min(1_000, options.headTimeoutMs, options.keepAliveTimeoutMs, options.stallTimeoutMs));
  const clock = { soonest: performance.now() + every };
  const host: Host = {
    ...options,
    clock,
    keepAliveFields: `connection: keep-alive\r\nkeep-alive: timeout=${Math.trunc(options.keepAliveTimeoutMs / 1000)}\r\n`,
    isDraining: () => leaving,
    date: () => date,
    onClose(connection) {
      connections.delete(connection);
      options.onSocketClose?.();
    },
  };
  const accept = (socket: Socket): void => {
    socket.setNoDelay(true);
    connections.add(new ServerConnection(socket, host));
  };
  const server = options.tls === undefined ? plainServer(accept) : tlsServer(options, options.tls, accept);
  server.maxConnections = options.maxConnections;
  if (options.tls !== undefined)
    server.on('connection', (socket: Socket) => {
      greeting.add(socket);
      socket.once('close', () => greeting.delete(socket));
    });
  if (options.connections !== undefined) boundTogether(server, options.connections);
  const sweep = (): void => {
    tellDate();
    const now = performance.now();
    // Until the next sweep it is later than now: nobody is late too early.
    clock.soonest = now + every;
    for (const connection of connections) {
      if (connection.deadline > 0 && connection.deadline < now) connection.late();
      else if (draining && connection.isIdle) connection.socket.destroySoon();
    }
  };
  const sweeps = setInterval(sweep, every).unref();
  const leave = (): Promise<void> => {
    leaving = true;
    ended ??= closed(server).then(() => clearInterval(sweeps));
    return ended;
  };
  const stop = (): Promise<void> => {
    draining = true;
    for (const connection of connections) if (!connection.isBusy && connection.isIdle) connection.socket.destroySoon();
    return leave();
  };
  return {
    listen: (name, port) => listen(server, { host: name, port, reusePort: options.reusePort === true }),
    leave,
    drain: stop,
    async close() {
      const stopped = stop();
      for (const connection of connections) connection.socket.destroy();
      for (const socket of greeting) socket.destroy();
      await stopped;
    },
  };
}

const plainServer = (accept: (socket: Socket) => void): Server =>
  createPlain({ allowHalfOpen: true, noDelay: true }, accept);

function tlsServer(
  options: TransportOptions,
  tls: { cert: string; key: string },
  accept: (socket: Socket) => void,
): Server {
  const server = createTls(
    {
      ...tls,
      minVersion: 'TLSv1.2',
      ALPNProtocols: ['http/1.1'],
      allowHalfOpen: true,
      noDelay: true,
      handshakeTimeout: options.headTimeoutMs,
    },
    accept,
  );
  server.on('tlsClientError', (error, socket) => options.onWireError(error, socket));
  return server;
}

/** Counted before anything is done for it, TLS included. */
function boundTogether(server: Server, all: NonNullable<TransportOptions['connections']>): void {
  const accepting = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    if (!all.enter(1)) {
      socket.destroy();
      return;
    }
    socket.once('close', () => all.leave(1));
    for (const accept of accepting) Reflect.apply(accept, server, [socket]);
  });
}

function listen(server: Server, at: { host: string; port: number; reusePort: boolean }): Promise<AddressInfo> {
  const { promise, resolve, reject } = Promise.withResolvers<AddressInfo>();
  server.once('error', reject);
  server.listen(at, () => {
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
