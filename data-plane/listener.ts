// Opens and closes a listening socket, with one clear sentence when that does not work.
import type { Server } from 'node:net';
import { DaypassError } from '@daypass/core/errors';
import type { Listen } from '@daypass/core/listen';

/** Listens; returns the address, its port chosen if it was 0. Throws `unavailable`. */
export function listenOn(server: Server, { host, port }: Listen): Promise<Listen> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(listenFailure(cause, { host, port })));
    server.listen(port, host, () => {
      const address = server.address();
      resolve({ host, port: typeof address === 'object' && address !== null ? address.port : port });
    });
  });
}

/** Closes the listener and every connection. */
export function closeServer(server: Server & { closeAllConnections?: () => void }): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections?.();
  });
}

/** What is said when a listener cannot be opened. */
export function listenFailure(cause: unknown, { host, port }: Listen): DaypassError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const why = code === 'EACCES' ? 'it is not permitted' : cause instanceof Error ? cause.message : '';
  const message =
    code === 'EADDRINUSE' ? `Port ${port} on ${host} is taken` : `Cannot listen on ${host} port ${port}: ${why}`;
  return new DaypassError('unavailable', message, { cause });
}
