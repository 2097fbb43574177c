// Where the planes themselves listen: never an upstream, whatever the operator's ranges allow.
import { networkInterfaces } from 'node:os';
import type { Endpoint } from '@daypass/core/address';
import { isWildcard, type Listen } from '@daypass/core/listen';

/** Every address at which the listeners answer on this machine. */
export const ownEndpoints = (listeners: readonly Listen[]): readonly Endpoint[] => listeners.flatMap(endpointsOf);

const endpointsOf = ({ host, port }: Listen): readonly Endpoint[] => {
  if (!isWildcard(host)) return [{ host, port }];
  const addresses = Object.values(networkInterfaces()).flatMap((found) => found ?? []);
  return [{ host, port }, ...addresses.map(({ address }) => ({ host: address.replace(/%.*/, ''), port }))];
};
