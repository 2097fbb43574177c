// What may be dialled: the operator's ranges less the planes themselves, wherever their names point now.
import { createUpstreamPolicy, type Endpoint, type UpstreamPolicy } from '@daypass/core/address';
import type { Listen } from '@daypass/core/listen';
import type { Log } from './log.ts';
import { listenerEndpoints, nameEndpoint, urlEndpoints } from './own-addresses.ts';

const REFRESH_MS = 60_000;

type Deps = {
  readonly allow: readonly string[];
  /** The listeners as they are now, chosen ports included. */
  readonly listeners: () => readonly Listen[];
  /** All of the list: an upstream is none of them. */
  readonly controlUrls: readonly string[];
  readonly log: Log;
  /** Throws when the name cannot be resolved. */
  readonly resolve?: (origin: string) => Promise<readonly Endpoint[]>;
};

export type CurrentPolicy = UpstreamPolicy &
  Disposable & {
    /** Reads the listeners and the control planes' names again; done by itself every minute. Never throws. */
    refresh(): Promise<void>;
  };

/** A policy that follows the planes' addresses. Call `refresh` before the first use and when a listener opens. */
export function createCurrentPolicy(deps: Deps): CurrentPolicy {
  const { allow, controlUrls, log, resolve = urlEndpoints } = deps;
  // A name stands for every inner address at its port, until it is known what it is.
  const control = new Map<string, readonly Endpoint[]>(controlUrls.map((url) => [url, [nameEndpoint(url)]]));
  const failing = new Set<string>();
  const build = () =>
    createUpstreamPolicy({
      allow,
      own: [...deps.listeners().flatMap(listenerEndpoints), ...[...control.values()].flat()],
    });
  let policy = build();
  const find = async (url: string) => {
    try {
      control.set(url, await resolve(url));
      failing.delete(url);
    } catch (error) {
      if (!failing.has(url)) log.warn('the control plane cannot be found by its name', { url, error });
      failing.add(url);
    }
  };
  const refresh = async () => {
    await Promise.all(controlUrls.map(find));
    policy = build();
  };
  const timer = setInterval(refresh, REFRESH_MS).unref();
  return {
    checkAddress: (ip, port) => policy.checkAddress(ip, port),
    isAllowedRange: (ip, port) => policy.isAllowedRange(ip, port),
    checkUrl: (url, options) => policy.checkUrl(url, options),
    refresh,
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
