// Makes audit events out of a node's records: a decision, completed by its outcome.
import type { AuditRecord, DecisionRecord, OutcomeRecord } from '@daypass/core/audit';
import type { AuditEventRow, AuditOutcomeRow } from '../store/interface.ts';

/** What a batch of records says. */
export type Digested = {
  /** In the order of the chain; completed where the outcome is in the same batch. */
  readonly events: readonly AuditEventRow[];
  /** Outcomes of decisions that came before. */
  readonly outcomes: readonly AuditOutcomeRow[];
};

/** The last millisecond that a Timestamp can say, and the largest uint32: a record must not make Query fail. */
const LATEST_MS = 253_402_300_799_999;
const UINT32_MAX = 0xffff_ffff;

/** Joins the records of a batch. */
export const digestRecords = (records: readonly AuditRecord[]): Digested => {
  const events = new Map<string, AuditEventRow[]>();
  const outcomes: AuditOutcomeRow[] = [];
  for (const record of records) {
    if (record.kind === 'decision') {
      events.set(record.id, [...(events.get(record.id) ?? []), eventOf(record)]);
      continue;
    }
    const outcome = outcomeOf(record);
    const waiting = events.get(record.id)?.findIndex(isOpen) ?? -1;
    if (waiting < 0) outcomes.push(outcome);
    else
      events.set(
        record.id,
        (events.get(record.id) ?? []).map((one, i) => (i === waiting ? join(one, outcome) : one)),
      );
  }
  return { events: [...events.values()].flat().sort((a, b) => a.seq - b.seq), outcomes };
};

/** Whether no outcome has come yet. */
const isOpen = (event: AuditEventRow): boolean => event.status === 0 && event.latencyMicros === 0;

const join = (event: AuditEventRow, outcome: AuditOutcomeRow): AuditEventRow => ({
  ...event,
  ...outcome,
  reason: outcome.reason === '' ? event.reason : outcome.reason,
});

const eventOf = (record: DecisionRecord): AuditEventRow => ({
  decisionId: record.id,
  kind: 'request',
  time: Math.min(record.time, LATEST_MS),
  node: record.node,
  seq: record.seq,
  outcome: record.result === 'refused' ? 'refused' : 'pending',
  reason: record.reason,
  jti: record.jti,
  client: record.client,
  principal: record.principal,
  caller: record.caller,
  service: record.service,
  method: record.method,
  path: record.path,
  rule: record.rule,
  credentialId: record.credential_id,
  status: 0,
  requestBytes: 0,
  responseBytes: 0,
  latencyMicros: 0,
  snapshotVersion: record.snapshot_version,
  count: Math.min(record.count, UINT32_MAX),
  source: record.source,
});

const OUTCOMES = { completed: 'allowed', failed: 'failed', refused: 'refused' } as const;

const outcomeOf = (record: OutcomeRecord): AuditOutcomeRow => ({
  decisionId: record.id,
  node: record.node,
  outcome: OUTCOMES[record.result],
  reason: record.reason,
  status: Math.min(record.status, UINT32_MAX),
  requestBytes: record.request_bytes,
  responseBytes: record.response_bytes,
  latencyMicros: record.latency_micros,
});
