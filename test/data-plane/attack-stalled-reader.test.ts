// A client that reads all of an answer but its end would hold its connection, and what is buffered for it, for ever.
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { Cancellation } from '../../data-plane/cancellation.ts';
import { createConnections } from '../../data-plane/connection.ts';
import { DEFAULT_LIMITS } from '../../data-plane/limits.ts';
import { soon } from './recorder.ts';

test.each(['keep-alive', 'close'])('an answer whose end is not taken ends its connection (%s)', async (connection) => {
  const connections = createConnections({ ...DEFAULT_LIMITS, stallTimeoutMs: 100 }, Date.now);
  let isClosed = false;
  // More than the kernel takes, all of it handed over: from here on nothing else waits for the client.
  const server = createServer((request, response) => {
    request.socket.on('close', () => (isClosed = true));
    const start = () => response.end(Buffer.alloc(64 * 1024 * 1024));
    connections.enter(connections.of(request.socket), { request, response, cancellation: new Cancellation(), start });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const client = connect(typeof address === 'object' && address !== null ? address.port : 0, '127.0.0.1');
  client.on('error', () => undefined).pause();
  client.write(`GET / HTTP/1.1\r\nHost: h\r\nConnection: ${connection}\r\n\r\n`);
  await soon(() => isClosed);
  expect(isClosed).toBe(true);
  client.destroy();
  server.close();
});
