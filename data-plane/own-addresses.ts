// Where the planes themselves listen: never an upstream, whatever the operator's ranges allow.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Endpoint } from '@daypass/core/address';
import { isWildcard, type Listen } from '@daypass/core/listen';

const LOOKUP_MS = 2_000;

/** Every address at which a listener answers on this machine. */
export function listenerEndpoints({ host, port }: Listen): readonly Endpoint[] {
  if (!isWildcard(host)) return [{ host, port }];
  const addresses = Object.values(networkInterfaces()).flatMap((found) => found ?? []);
  return [{ host, port }, ...addresses.map(({ address }) => ({ host: address.replace(/%.*/, ''), port }))];
}

/** The addresses of a URL's host at its port. Throws when the name is not resolved in 2 s. */
export async function urlEndpoints(origin: string): Promise<readonly Endpoint[]> {
  const { host, port } = nameEndpoint(origin);
  if (isIP(host) !== 0) return [{ host, port }];
  const found = await Promise.race([lookup(host, { all: true }), lateness()]);
  return found.map(({ address }) => ({ host: address, port }));
}

/** The host as it stands in a URL, at its port: for a name that cannot be resolved. */
export function nameEndpoint(origin: string): Endpoint {
  const url = new URL(origin);
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  return { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port };
}

const lateness = (): Promise<never> =>
  new Promise((_resolve, reject) => {
    setTimeout(() => reject(new Error('The name was not resolved in time')), LOOKUP_MS).unref();
  });
