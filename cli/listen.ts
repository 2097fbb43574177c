// Listen addresses: reading them, and finding out early that one is taken.
import { createServer } from 'node:net';
import { DaypassError } from '@daypass/core/errors';
import { UsageError } from './failure.ts';

/** A host and a port to listen on. */
export type ListenAddress = { readonly host: string; readonly port: number };

/** Reads `host:port` or `[v6]:port`. @throws UsageError naming the setting */
export const listenAddress = (text: string, setting: string): ListenAddress => {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port <= 65_535) return { host, port };
  throw new UsageError(`${setting} takes an address such as 127.0.0.1:8480, not "${text}"`, setting, 'config_invalid');
};

/**
 * Checks that nobody listens there, by listening for a moment.
 * @throws DaypassError `failed_precondition` naming the setting
 */
export const checkFree = async (address: ListenAddress, setting: string): Promise<void> => {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', (cause: NodeJS.ErrnoException) => reject(taken(address, setting, cause)));
  server.listen({ ...address, exclusive: true }, () => server.close(() => resolve()));
  await promise;
};

const taken = ({ host, port }: ListenAddress, setting: string, cause: NodeJS.ErrnoException): DaypassError => {
  const what = cause.code === 'EADDRINUSE' ? 'is taken by another program' : `cannot be listened on (${cause.code})`;
  return new DaypassError('failed_precondition', `${host}:${port} ${what}: give another address with ${setting}`, {
    cause,
    field: setting,
  });
};
