// Audit events and filters between proto and the domain's words.
import type { AuditPage } from '../domain/audit-query.ts';
import { type AuditFilter, AuditKind, Outcome } from '../gen/daypass/v1/audit_pb.ts';
import { timeMs, toTime } from './words.ts';

type Event = AuditPage['events'][number];

const OUTCOMES = {
  allowed: Outcome.ALLOWED,
  refused: Outcome.REFUSED,
  failed: Outcome.FAILED,
  pending: Outcome.PENDING,
} as const;
const OUTCOME_WORDS = ['allowed', 'refused', 'failed', 'pending'] as const;

/** A filter; requests unless another kind is named. */
export const toFilter = (filter: AuditFilter | undefined) => {
  const since = timeMs(filter?.since, 'filter.since');
  const until = timeMs(filter?.until, 'filter.until');
  const outcome = OUTCOME_WORDS.find((word) => OUTCOMES[word] === filter?.outcome);
  return {
    kind: filter?.kind === AuditKind.CHANGE ? ('change' as const) : ('request' as const),
    ...(filter?.service ? { service: filter.service } : {}),
    ...(filter?.client ? { client: filter.client } : {}),
    ...(filter?.jti ? { jti: filter.jti } : {}),
    ...(filter?.decisionId ? { decisionId: filter.decisionId } : {}),
    ...(outcome === undefined ? {} : { outcome }),
    // Stored times are whole milliseconds: a bound between two of them is the later one.
    ...(since === undefined ? {} : { since: Math.ceil(since) }),
    ...(until === undefined ? {} : { until: Math.ceil(until) }),
  };
};

/** An event. */
export const toEvent = (event: Event) => ({
  decisionId: event.decisionId,
  kind: event.kind === 'change' ? AuditKind.CHANGE : AuditKind.REQUEST,
  time: toTime(event.time),
  node: event.node,
  seq: BigInt(event.seq),
  outcome: OUTCOMES[event.outcome],
  reason: event.reason,
  jti: event.jti,
  client: event.client,
  principal: event.principal,
  caller: event.caller,
  service: event.service,
  method: event.method,
  path: event.path,
  rule: event.rule,
  credentialId: event.credentialId,
  status: event.status,
  requestBytes: BigInt(event.requestBytes),
  responseBytes: BigInt(event.responseBytes),
  latencyMicros: BigInt(event.latencyMicros),
  snapshotVersion: BigInt(event.snapshotVersion),
  count: event.count,
  source: event.source,
});
