// Limits: how often a token, a client or a service may ask, and how many requests may be on their way at one time.
import type { Rate } from '@daypass/core/service';
import type { Grant } from './authorize.ts';
import type { Metrics } from './metrics.ts';
import { RetryLater } from './refusal.ts';
import type { Draw } from './shared/buckets.ts';
import type { SharedLimits } from './shared/limits.ts';

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
};

/** Returns the step over what all threads count together. */
export function createLimiter({ buckets, inFlight }: SharedLimits, metrics: Metrics): Limiter {
  metrics.gauge('daypass_requests_in_flight', 'Requests between their grant and their end', inFlight.own);
  return {
    admit(grant) {
      if (!inFlight.enter(1)) throw new RetryLater('overloaded', 'Too many requests are on their way', 1);
      const seconds = buckets.takeAll(drawsOf(grant));
      if (seconds > 0) {
        inFlight.leave(1);
        throw new RetryLater('rate_limited', 'Too many requests', seconds);
      }
      return { grant } as Permit;
    },
    renew: (_permit, grant) => ({ grant }) as Permit,
    release(_permit) {
      inFlight.leave(1);
    },
  };
}

const NONE: readonly Draw[] = [];

function drawsOf({ service, claims }: Grant): readonly Draw[] {
  const { limits, name } = service.config;
  const { per_service: ofService, per_client: ofClient, per_token: ofToken } = limits;
  if (ofService === null && ofClient === null && ofToken === null) return NONE;
  const draws: Draw[] = [];
  if (ofService !== null) draws.push(drawOf(ofService, name));
  if (claims !== undefined && ofClient !== null) draws.push(drawOf(ofClient, `${name} c ${claims.client_id}`));
  if (claims !== undefined && ofToken !== null) draws.push(drawOf(ofToken, `${name} t ${claims.jti}`));
  return draws;
}

const drawOf = ({ requests, per_seconds: seconds }: Rate, key: string): Draw => ({
  key,
  flow: { burst: requests, perMs: requests / (seconds * 1000) },
});
