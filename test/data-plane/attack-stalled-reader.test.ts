// A client that reads all of an answer but its end would hold its connection, and what is buffered for it, for ever.
import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { answerFields } from '../../data-plane/transport/head-text.ts';
import { createTransportServer } from '../../data-plane/transport/server.ts';
import { soon } from './recorder.ts';
import { transportOptions } from './transport-fixture.ts';

test.each(['keep-alive', 'close'])('an answer whose end is not taken ends its connection (%s)', async (connection) => {
  let isClosed = false;
  const body = Buffer.alloc(64 * 1024 * 1024);
  // More than the kernel takes, all of it handed over: from here on nothing else waits for the client.
  const server = createTransportServer({
    ...transportOptions,
    stallTimeoutMs: 100,
    onRequest({ response, cancellation }) {
      cancellation.follow({ cancelled: () => (isClosed = true) });
      response.begin(200, '', answerFields(['content-length', String(body.length)]));
      response.end(body);
    },
    onSocketClose: () => (isClosed = true),
  });
  const { port } = await server.listen('127.0.0.1', 0);
  const client = connect(port, '127.0.0.1');
  client.on('error', () => undefined).pause();
  client.write(`GET / HTTP/1.1\r\nHost: h\r\nConnection: ${connection}\r\n\r\n`);
  await soon(() => isClosed);
  expect(isClosed).toBe(true);
  client.destroy();
  await server.close();
});
