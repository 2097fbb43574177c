// Upstream connections: one bounded pool for each service, replaced when its settings change, never shared.
import type { UpstreamPolicy } from '@daypass/core/address';
import { DaypassError } from '@daypass/core/errors';
import type { ServiceConfig } from '@daypass/core/service';
import { Pool } from 'undici';
import type { ActiveSnapshot } from './active.ts';
import type { ActiveService } from './active-service.ts';
import { createConnector, type Resolve } from './dial.ts';
import type { DataLimits } from './limits.ts';

/** The pools. */
export type Upstreams = {
  /** The pool of a service under a snapshot. Throws `upstream_address_refused`. */
  poolOf(snapshot: ActiveSnapshot, service: ActiveService): Pool;
  /** Destroys every connection. */
  destroy(): Promise<void>;
};

type Deps = {
  readonly policy: UpstreamPolicy;
  readonly resolve: Resolve;
  readonly limits: DataLimits;
  /** Largest response head, in bytes. */
  readonly responseHeadBytesMax?: number;
};

/** Returns no pools yet. */
export function createUpstreams(deps: Deps): Upstreams {
  const pools = new Map<string, Pool>();
  let newest: ActiveSnapshot | undefined;
  const prune = (snapshot: ActiveSnapshot): void => {
    newest = snapshot;
    const wanted = new Set([...snapshot.services.values()].map((service) => service.poolKey));
    for (const [key, pool] of pools) {
      if (wanted.has(key)) continue;
      pools.delete(key);
      // Requests on their way end by themselves.
      pool.close().catch(() => undefined);
    }
  };
  return {
    poolOf(snapshot, { config, poolKey }) {
      if (snapshot !== newest && snapshot.version >= (newest?.version ?? 0)) prune(snapshot);
      const known = pools.get(poolKey);
      if (known !== undefined) return known;
      const pool = createPool(deps, config);
      pools.set(poolKey, pool);
      return pool;
    },
    async destroy() {
      const all = [...pools.values()];
      pools.clear();
      await Promise.all(all.map((pool) => pool.destroy()));
    },
  };
}

function createPool({ policy, resolve, limits, responseHeadBytesMax = 64 * 1024 }: Deps, config: ServiceConfig): Pool {
  const url = new URL(config.origin);
  checkOrigin(policy, url, config);
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  return new Pool(config.origin, {
    connect: createConnector({ policy, resolve }, { connectTimeoutMs: config.connect_timeout_ms, port }),
    // One request at a time on a connection: none is ever sent twice, none waits for another's answer.
    pipelining: 1,
    connections: limits.maxInFlight,
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 60_000,
    maxHeaderSize: responseHeadBytesMax,
    strictContentLength: true,
  });
}

// The registry refused such a service at Create; this node does not take its word for it.
function checkOrigin(policy: UpstreamPolicy, url: URL, config: ServiceConfig): void {
  try {
    policy.checkUrl(url, { insecure: config.insecure_upstream });
  } catch (cause) {
    throw new DaypassError('upstream_address_refused', "The service's upstream is refused", { cause });
  }
}
