// One client connection: its requests run one after the other, and its failed tokens are counted together.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { type Bucket, fullBucket } from './bucket.ts';
import type { Cancellation } from './cancellation.ts';
import { connectionFailures, type DataLimits } from './limits.ts';

/** What is kept of a connection. */
export type Connection = {
  /** Tokens that may yet fail verification. */
  readonly failures: Bucket;
  /** The request that is being answered. */
  running: Running | undefined;
  /** Requests sent ahead, in order. */
  readonly waiting: Running[];
  /** What comes next on it is not HTTP: it ends with the last answer. */
  isBroken: boolean;
};

/** A request on a connection. */
export type Running = {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly cancellation: Cancellation;
  readonly start: () => void;
};

/** All connections, forgotten with their sockets. */
export type Connections = {
  of(socket: Socket): Connection;
  /** Starts a request when those before it are answered; false when too many wait. */
  enter(connection: Connection, running: Running): boolean;
};

/** Returns an empty set of connections. */
export function createConnections(limits: DataLimits, nowMs: () => number): Connections {
  const bySocket = new WeakMap<Socket, Connection>();
  const flow = connectionFailures(limits);
  return {
    of(socket) {
      const known = bySocket.get(socket);
      if (known !== undefined) return known;
      const fresh = { failures: fullBucket(flow, nowMs()), running: undefined, waiting: [], isBroken: false };
      bySocket.set(socket, fresh);
      return fresh;
    },
    enter(connection, running) {
      if (connection.running === undefined) run(connection, running, limits.stallTimeoutMs);
      else if (connection.waiting.length >= limits.maxPipelined) return false;
      else connection.waiting.push(running);
      return true;
    },
  };
}

function run(connection: Connection, running: Running, stallTimeoutMs: number): void {
  connection.running = running;
  const { socket } = running.request;
  let stall: NodeJS.Timeout | undefined;
  // The end of an answer that the client does not take would hold its connection for ever.
  running.response.on('prefinish', () => {
    if (socket.writableLength > 0) stall = setTimeout(() => socket.destroy(), stallTimeoutMs).unref();
  });
  running.response.on('close', () => {
    clearTimeout(stall);
    connection.running = undefined;
    const next = connection.waiting.shift();
    // A client that is gone must not have its requests sent on after it.
    // Nor is anything done whose answer cannot be sent: the last one said `close` (RFC 9112 §9.6).
    if (socket.destroyed || socket.writableEnded) connection.waiting.length = 0;
    else if (next !== undefined) run(connection, next, stallTimeoutMs);
    else if (connection.isBroken) socket.destroy();
  });
  running.start();
}
