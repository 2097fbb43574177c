// Requests on their way upstream: when a snapshot revokes a token, what it began ends.
import { DaypassError } from '@daypass/core/errors';
import { statusPositions } from '@daypass/core/token';
import type { ActiveSnapshot } from './active.ts';
import type { Grant } from './authorize.ts';
import type { Cancellation } from './cancellation.ts';
import { isCutOffBy, isRevokedBy } from './revocation.ts';

/** The requests on their way. */
export type RunningRequests = {
  /** Watches one; returns what ends the watch. One that is revoked by now is cancelled at once. */
  enter(grant: Grant, cancellation: Cancellation): () => void;
  /** Cancels those that the current snapshot revokes, if it is another than at the last review. */
  review(): void;
};

type Running = { readonly grant: Grant; readonly cancellation: Cancellation };

/** Returns no requests yet; as many are kept as the limiter lets run. */
export function createRunningRequests(current: () => ActiveSnapshot | undefined): RunningRequests {
  const all = new Set<Running>();
  let reviewed: ActiveSnapshot | undefined;
  const check = ({ grant, cancellation }: Running, snapshot: ActiveSnapshot): void => {
    if (snapshot !== grant.route.snapshot && isRevoked(grant, snapshot))
      cancellation.cancel(new DaypassError('token_revoked', 'The token has been revoked'));
  };
  return {
    enter(grant, cancellation) {
      const running = { grant, cancellation };
      const snapshot = current();
      if (snapshot !== undefined) check(running, snapshot);
      all.add(running);
      return () => all.delete(running);
    },
    review() {
      const snapshot = current();
      if (snapshot === undefined || snapshot === reviewed) return;
      reviewed = snapshot;
      for (const running of all) check(running, snapshot);
    },
  };
}

function isRevoked({ claims, credentialId }: Grant, snapshot: ActiveSnapshot): boolean {
  if (claims === undefined) return false;
  const credential = credentialId === '' ? undefined : credentialId;
  return isRevokedBy(snapshot, statusPositions(claims)) || isCutOffBy(snapshot, claims, credential);
}
