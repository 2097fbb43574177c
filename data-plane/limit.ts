// Limits: how often a token, a client or a service may ask, and how many requests may be on their way at one time.
import type { Rate } from '@daypass/core/service';
import type { Grant } from './authorize.ts';
import { type Bucket, type Flow, fullBucket, putBack, secondsUntilOne, take } from './bucket.ts';
import type { DataLimits } from './limits.ts';
import type { Metrics } from './metrics.ts';
import { RetryLater } from './refusal.ts';

declare const permitted: unique symbol;

/** A granted request that may run now. Only the limiter makes one. */
export type Permit = { readonly grant: Grant; readonly [permitted]: true };

/** The step. */
export type Limiter = {
  /** Throws `rate_limited` or `overloaded`. Every permit is released once. */
  admit(grant: Grant): Permit;
  /** A permit for the grant that took the place of its own; it is not counted again. */
  renew(permit: Permit, grant: Grant): Permit;
  release(permit: Permit): void;
  inFlight(): number;
};

/** Returns the step with full buckets. */
export function createLimiter(limits: DataLimits, nowMs: () => number, metrics: Metrics): Limiter {
  const buckets = createBuckets(limits.bucketsMax);
  let inFlight = 0;
  metrics.gauge('daypass_requests_in_flight', 'Requests between their grant and their end', () => inFlight);
  return {
    admit(grant) {
      if (inFlight >= limits.maxInFlight) throw new RetryLater('overloaded', 'Too many requests are on their way', 1);
      spend(buckets, grant, nowMs());
      inFlight += 1;
      return { grant } as Permit;
    },
    renew: (_permit, grant) => ({ grant }) as Permit,
    release(_permit) {
      inFlight -= 1;
    },
    inFlight: () => inFlight,
  };
}

type Spent = { readonly bucket: Bucket; readonly flow: Flow };

// All or none: a request that one limit refuses costs the others nothing.
function spend(buckets: Buckets, { service, claims }: Grant, now: number): void {
  const { limits, name } = service.config;
  const spent: Spent[] = [];
  const one = (rate: Rate | null, key: string): void => {
    if (rate === null) return;
    const flow = { burst: rate.requests, perMs: rate.requests / (rate.per_seconds * 1000) };
    const bucket = buckets.get(key, flow, now);
    if (take(bucket, flow, now)) {
      spent.push({ bucket, flow });
      return;
    }
    for (const before of spent) putBack(before.bucket, before.flow);
    throw new RetryLater('rate_limited', 'Too many requests', secondsUntilOne(bucket, flow));
  };
  one(limits.per_service, name);
  if (claims === undefined) return;
  one(limits.per_client, `${name} c ${claims.client_id}`);
  one(limits.per_token, `${name} t ${claims.jti}`);
}

type Buckets = { get(key: string, flow: Flow, now: number): Bucket };

// The one that was not asked for the longest goes first: after that long it would most likely be full again.
function createBuckets(max: number): Buckets {
  const known = new Map<string, Bucket>();
  return {
    get(key, flow, now) {
      const bucket = known.get(key) ?? fullBucket(flow, now);
      known.delete(key);
      known.set(key, bucket);
      if (known.size > max) {
        const [oldest] = known.keys();
        if (oldest !== undefined) known.delete(oldest);
      }
      return bucket;
    },
  };
}
