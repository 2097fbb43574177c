// Requests on their way upstream: when a snapshot revokes a token, what it began ends; what takes long is recorded.
import { DaypassError } from '@daypass/core/errors';
import { statusPositions } from '@daypass/core/token';
import type { ActiveSnapshot } from './active.ts';
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
  /** Watches one, until `leave`. One that is revoked by now is cancelled at once. */
  enter(running: Running): void;
  leave(running: Running): void;
  /** Cancels those that the current snapshot revokes, if it is another than at the last review; records the slow ones. */
  review(): void;
};

/** Returns no requests yet; as many are kept as the limiter lets run. */
export function createRunningRequests(
  current: () => ActiveSnapshot | undefined,
  { slowDecisionMs }: { readonly slowDecisionMs: number },
): RunningRequests {
  // No Set: each time its table is made anew the old one points to it, and what was once in it outlives its request.
  const all: Running[] = [];
  let reviewed: ActiveSnapshot | undefined;
  const check = ({ grant, cancellation }: Running, snapshot: ActiveSnapshot): void => {
    if (snapshot !== grant.route.snapshot && isRevoked(grant, snapshot))
      cancellation.cancel(new DaypassError('token_revoked', 'The token has been revoked'));
  };
  return {
    enter(running) {
      const snapshot = current();
      if (snapshot !== undefined) check(running, snapshot);
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
      // Copies: what is ended leaves.
      for (const { record, forwarded } of [...all]) if (record.micros > slowDecisionMs * 1000) forwarded?.decideNow();
      const snapshot = current();
      if (snapshot === undefined || snapshot === reviewed) return;
      reviewed = snapshot;
      for (const running of [...all]) check(running, snapshot);
    },
  };
}

function isRevoked({ claims, credentialId }: Grant, snapshot: ActiveSnapshot): boolean {
  if (claims === undefined) return false;
  const credential = credentialId === '' ? undefined : credentialId;
  return isRevokedBy(snapshot, statusPositions(claims)) || isCutOffBy(snapshot, claims, credential);
}
