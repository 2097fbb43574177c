// Upstream connections: one bounded pool for each origin and its settings, for all services there.
import type { UpstreamPolicy } from '@daypass/core/address';
import { DaypassError } from '@daypass/core/errors';
import type { ServiceConfig } from '@daypass/core/service';
import type { ActiveSnapshot } from './active.ts';
import type { ActiveService } from './active-service.ts';
import { createConnector, type Resolve } from './dial.ts';
import type { DataLimits } from './limits.ts';
import type { UpstreamPool } from './transport/types.ts';
import { createUpstreamPool, type SweptPool } from './transport/upstream.ts';

/** The pools. */
export type Upstreams = {
  /** The pool of a service under a snapshot; those with the same `poolKey` share it. Throws `upstream_address_refused`. */
  poolOf(snapshot: ActiveSnapshot, service: ActiveService): UpstreamPool;
  /** Destroys every connection. */
  destroy(): void;
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
  const pools = new Map<string, KnownPool>();
  /** Those that were replaced, while requests are on their way on them. */
  const leaving = new Set<SweptPool>();
  let newest: ActiveSnapshot | undefined;
  const sweeps = setInterval(() => {
    const now = performance.now();
    for (const [key, { pool }] of pools) {
      pool.sweep(now);
      if (pool.isEmpty()) pools.delete(key);
    }
    for (const pool of leaving) {
      pool.sweep(now);
      if (pool.isEmpty()) leaving.delete(pool);
    }
  }, SWEEP_MS).unref();
  const prune = (snapshot: ActiveSnapshot): void => {
    newest = snapshot;
    for (const [key, { pool, service }] of pools) {
      // Another service may want it still: it gets a pool of its own.
      if (snapshot.services.get(service)?.poolKey === key) continue;
      pools.delete(key);
      // Requests on their way end by themselves.
      pool.close();
      leaving.add(pool);
    }
  };
  return {
    poolOf(snapshot, { config, poolKey }) {
      if (snapshot !== newest && snapshot.version >= (newest?.version ?? 0)) prune(snapshot);
      const known = pools.get(poolKey);
      if (known !== undefined) {
        known.service = config.name;
        return known.pool;
      }
      const pool = createPool(deps, config);
      pools.set(poolKey, { pool, service: config.name });
      return pool;
    },
    destroy() {
      clearInterval(sweeps);
      for (const pool of [...[...pools.values()].map(({ pool }) => pool), ...leaving]) pool.destroy();
      pools.clear();
      leaving.clear();
    },
  };
}

/** A pool, and the service that last asked for it. */
type KnownPool = { readonly pool: SweptPool; service: string };

/** How exactly an upstream's deadlines are kept. */
const SWEEP_MS = 100;

function createPool(
  { policy, resolve, limits, responseHeadBytesMax = 64 * 1024 }: Deps,
  config: ServiceConfig,
): SweptPool {
  const url = new URL(config.origin);
  checkOrigin(policy, url, config);
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
  const connect = createConnector({ policy, resolve }, { connectTimeoutMs: config.connect_timeout_ms, port });
  const to = {
    hostname: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    host: url.host,
    protocol: url.protocol,
    port: url.port,
  };
  // One request at a time on a connection: none is ever sent twice, none waits for another's answer.
  return createUpstreamPool({
    dial: (opened) => connect(to, (error, socket) => opened(error, socket)),
    host: url.host,
    connectionsMax: limits.maxInFlight,
    headBytesMax: responseHeadBytesMax,
    keepAliveTimeoutMs: 4_000,
    sweepMs: SWEEP_MS,
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
