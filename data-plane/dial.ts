// Dialling an upstream: every address that its name has is checked by the policy, and only a checked one is dialled.
import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction, type Socket } from 'node:net';
import type { UpstreamPolicy } from '@daypass/core/address';
import { DaypassError } from '@daypass/core/errors';
import { buildConnector } from 'undici';
import { ONREAD } from './transport/upstream.ts';

/** Asks the DNS for every address of a name. */
export type Resolve = (
  hostname: string,
  answer: (error: Error | null, addresses: readonly LookupAddress[]) => void,
) => void;

/** Questions that may be with the system's resolver at one time: each holds one of the few threads that verify tokens. */
const ASKING_MAX = 2;

/** Returns the system's resolver; one question for all that wait for the same name. */
export function createSystemResolve(): Resolve {
  const waiting = new Map<string, Parameters<Resolve>[1][]>();
  let asking = 0;
  const askNext = (): void => {
    for (const [hostname, answers] of waiting) {
      if (asking >= ASKING_MAX) return;
      waiting.delete(hostname);
      asking += 1;
      dnsLookup(hostname, { all: true, order: 'verbatim' }, (error, addresses) => {
        asking -= 1;
        for (const answer of answers) answer(error, addresses ?? []);
        askNext();
      });
    }
  };
  return (hostname, answer) => {
    waiting.set(hostname, [...(waiting.get(hostname) ?? []), answer]);
    askNext();
  };
}

type Deps = { readonly policy: UpstreamPolicy; readonly resolve: Resolve };

/** What is dialled for one service. */
export type Dial = { readonly connectTimeoutMs: number; readonly port: number };

/** The most addresses of a name that are looked at; one with more is refused. */
const ADDRESSES_MAX = 64;

/**
 * Returns undici's connector for one port. It fails with `upstream_address_refused` when any address of the host is
 * refused, so that a name which also points inside (DNS rebinding) is no way in.
 */
export function createConnector({ policy, resolve }: Deps, { connectTimeoutMs, port }: Dial): buildConnector.connector {
  const connect = buildConnector({
    timeout: connectTimeoutMs,
    allowH2: false,
    maxCachedSessions: 100,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
    lookup: checkedLookup(policy, resolve, port),
    onread: ONREAD,
  });
  return (options, callback) => {
    try {
      // Node asks no resolver for an address.
      if (isIP(options.hostname) !== 0) policy.checkAddress(options.hostname, port);
    } catch (error) {
      callback(asError(error), null);
      return;
    }
    connect(options, (...result) => callback(...checkDialled(policy, port, result)));
  };
}

/** A `lookup` for sockets that answers with checked addresses only. */
export function checkedLookup(policy: UpstreamPolicy, resolve: Resolve, port: number): LookupFunction {
  return (hostname, options, answer) => {
    resolve(hostname, (error, addresses) => {
      const checked = error ?? checkAll(policy, addresses, port);
      if (checked instanceof Error) {
        answer(checked, []);
        return;
      }
      const family = options.family === 4 || options.family === 6 ? options.family : 0;
      const wanted = family === 0 ? checked : checked.filter((address) => address.family === family);
      if (options.all === true) answer(null, [...wanted]);
      else answer(null, wanted[0]?.address ?? '', wanted[0]?.family ?? 0);
    });
  };
}

function checkAll(
  policy: UpstreamPolicy,
  addresses: readonly LookupAddress[],
  port: number,
): readonly LookupAddress[] | Error {
  if (addresses.length === 0) return new DaypassError('upstream_unreachable', 'The upstream has no address');
  if (addresses.length > ADDRESSES_MAX)
    return new DaypassError('upstream_address_refused', 'The upstream has too many addresses');
  try {
    for (const { address } of addresses) policy.checkAddress(address, port);
    return addresses;
  } catch (error) {
    return asError(error);
  }
}

// The address at the other end is looked at once more, before the first byte of a request.
function checkDialled(
  policy: UpstreamPolicy,
  port: number,
  result: Parameters<buildConnector.Callback>,
): Parameters<buildConnector.Callback> {
  const [error, socket] = result;
  if (error !== null || socket === null) return result;
  try {
    policy.checkAddress(remoteAddress(socket), port);
    return result;
  } catch (refused) {
    socket.destroy();
    return [asError(refused), null];
  }
}

const remoteAddress = (socket: Socket): string => socket.remoteAddress ?? '';

const asError = (error: unknown): Error =>
  error instanceof Error ? error : new Error('the upstream cannot be dialled');
