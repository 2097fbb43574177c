// One client connection: its requests run one after the other, and its failed tokens are counted together.
import type { Socket } from 'node:net';
import { type Bucket, fullBucket } from './bucket.ts';
import type { DataLimits } from './limits.ts';

/** What is kept of a connection. */
export type Connection = {
  /** Tokens that may yet fail verification. */
  readonly failures: Bucket;
  /** What answers the running request; undefined when none runs. */
  running: Running | undefined;
  /** Requests sent ahead, in order. */
  readonly waiting: (() => void)[];
};

/** A request that runs: told when its connection turns out not to speak HTTP. */
export type Running = { readonly onWireError: (error: Error) => void };

/** All connections, forgotten with their sockets. */
export type Connections = {
  of(socket: Socket): Connection;
  /** Runs `start` when the requests before it are answered; false when too many wait. */
  enter(connection: Connection, start: () => void): boolean;
  /** Ends the running request and starts the next. */
  leave(connection: Connection): void;
};

/** Returns an empty set of connections. */
export function createConnections(limits: DataLimits, nowMs: () => number): Connections {
  const bySocket = new WeakMap<Socket, Connection>();
  const flow = { burst: limits.failureBurstPerConnection, perMs: limits.failuresPerSecondPerConnection / 1000 };
  return {
    of(socket) {
      const known = bySocket.get(socket);
      if (known !== undefined) return known;
      const fresh: Connection = { failures: fullBucket(flow, nowMs()), running: undefined, waiting: [] };
      bySocket.set(socket, fresh);
      return fresh;
    },
    enter(connection, start) {
      if (connection.running === undefined) start();
      else if (connection.waiting.length >= limits.maxPipelined) return false;
      else connection.waiting.push(start);
      return true;
    },
    leave(connection) {
      connection.running = undefined;
      connection.waiting.shift()?.();
    },
  };
}
