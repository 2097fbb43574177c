// Requests on their way upstream: each ends when what it was granted for ends; what takes long is recorded.
import { DaypassError, describe, type ErrorCode } from '@daypass/core/errors';
import { SKEW_SECONDS, statusPositions } from '@daypass/core/token';
import type { ActiveSnapshot } from './active.ts';
import { isByActiveKey } from './authenticate.ts';
import type { Grant } from './authorize.ts';
import type { Cancellation } from './cancellation.ts';
import type { Forwarded } from './forward.ts';
import type { RequestRecord } from './record.ts';
import { isCutOffBy, isRevokedBy } from './revocation.ts';

/** One that is on its way. */
export type Running = {
  readonly grant: Grant;
  readonly cancellation: Cancellation;
  readonly record: RequestRecord;
  forwarded?: Forwarded;
  /** Its place; -1: it is not watched. */
  at: number;
};

/** The requests on their way. */
export type RunningRequests = {
  /** Watches one, until `leave`. One that must not go on by now is cancelled at once. */
  enter(running: Running): void;
  leave(running: Running): void;
  /**
   * Cancels those whose token has expired or whose lease has ended, and, under another snapshot than at the last review,
   * those that it takes the token, its key or the service from; records the slow ones.
   */
  review(): void;
};

type Deps = {
  readonly current: () => ActiveSnapshot | undefined;
  /** Milliseconds since the epoch. */
  readonly nowMs: () => number;
  readonly slowDecisionMs: number;
};

/** Returns no requests yet; as many are kept as the limiter lets run. */
export function createRunningRequests({ current, nowMs, slowDecisionMs }: Deps): RunningRequests {
  // No Set: each time its table is made anew the old one points to it, and what was once in it outlives its request.
  const all: Running[] = [];
  let reviewed: ActiveSnapshot | undefined;
  const check = ({ cancellation }: Running, code: ErrorCode | undefined): void => {
    if (code !== undefined) cancellation.cancel(new DaypassError(code, describe(code).title));
  };
  return {
    enter(running) {
      const snapshot = current();
      if (snapshot !== undefined && snapshot !== running.grant.route.snapshot)
        check(running, takenBy(snapshot, running.grant));
      running.at = all.push(running) - 1;
    },
    leave(running) {
      const { at } = running;
      running.at = -1;
      if (at < 0) return;
      const last = all.pop();
      if (last === undefined || last === running) return;
      all[at] = last;
      last.at = at;
    },
    review() {
      const snapshot = current();
      const isNew = snapshot !== undefined && snapshot !== reviewed;
      reviewed = snapshot;
      const now = nowMs() / 1000;
      // Copies: what is ended leaves.
      for (const running of [...all]) {
        const { grant, record, forwarded } = running;
        if (record.micros > slowDecisionMs * 1000) forwarded?.decideNow();
        check(running, endedBy(snapshot, grant, now) ?? (isNew ? takenBy(snapshot, grant) : undefined));
      }
    },
  };
}

/** Why the clock ends a request: a lease that has ended may hide that its token was revoked. */
function endedBy(snapshot: ActiveSnapshot | undefined, { claims }: Grant, now: number): ErrorCode | undefined {
  if (snapshot === undefined || !(now < snapshot.expiresAt)) return 'snapshot_expired';
  return claims === undefined || now < claims.exp + SKEW_SECONDS ? undefined : 'token_expired';
}

/** Why a snapshot ends a request that was granted under an earlier one. */
function takenBy(snapshot: ActiveSnapshot, { service, claims, session, credentialId }: Grant): ErrorCode | undefined {
  if (!snapshot.services.has(service.config.name)) return 'service_unknown';
  if (claims === undefined) return undefined;
  if (session !== undefined && !isByActiveKey(session, snapshot)) return 'token_key_unknown';
  const credential = credentialId === '' ? undefined : credentialId;
  const isRevoked = isRevokedBy(snapshot, statusPositions(claims)) || isCutOffBy(snapshot, claims, credential);
  return isRevoked ? 'token_revoked' : undefined;
}
