// Makes a server of a test listen on a port of its own.
import { once } from 'node:events';
import type { Server } from 'node:http';

/** Listens on the loopback; gives the origin. */
export async function listenLocal(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no address');
  return `http://127.0.0.1:${address.port}`;
}
