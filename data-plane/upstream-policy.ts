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
  readonly controlUrl: string;
  readonly log: Log;
  /** Throws when the name cannot be resolved. */
  readonly resolve?: (origin: string) => Promise<readonly Endpoint[]>;
};

export type CurrentPolicy = UpstreamPolicy &
  Disposable & {
    /** Reads the listeners and the control plane's name again; done by itself every minute. Never throws. */
    refresh(): Promise<void>;
  };

/** A policy that follows the planes' addresses. Call `refresh` before the first use and when a listener opens. */
export function createCurrentPolicy(deps: Deps): CurrentPolicy {
  const { allow, controlUrl, log, resolve = urlEndpoints } = deps;
  // A name stands for every inner address at its port, until it is known what it is.
  let control: readonly Endpoint[] = [nameEndpoint(controlUrl)];
  let failing = false;
  const build = () =>
    createUpstreamPolicy({ allow, own: [...deps.listeners().flatMap(listenerEndpoints), ...control] });
  let policy = build();
  const refresh = async () => {
    try {
      control = await resolve(controlUrl);
      failing = false;
    } catch (error) {
      if (!failing) log.warn('the control plane cannot be found by its name', { url: controlUrl, error });
      failing = true;
    }
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
