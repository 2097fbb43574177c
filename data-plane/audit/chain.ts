// Puts records into a node's chain: number, hash of the one before, bytes.
import { type AuditRecord, encodeRecord } from '@daypass/core/audit';
import { isErrorCode } from '@daypass/core/errors';
import type { Link } from './position.ts';
import type { OpenDecision } from './recover.ts';
import { hashOf } from './segment.ts';
import type { DecisionInput, OutcomeInput } from './sink.ts';

/** A record before it has its place in the chain. */
export type Draft = ({ readonly kind: 'decision' } & DecisionInput) | ({ readonly kind: 'outcome' } & OutcomeInput);

/** Records as lines, and the last one's place. */
export type Chained = { readonly bytes: Uint8Array; readonly last: Link };

/** Chains drafts behind `last`. Numbers that a record cannot hold become the nearest that it can. */
export function chain(drafts: readonly Draft[], node: string, last: Link): Chained {
  let { seq, hash } = last;
  let text = '';
  for (const draft of drafts) {
    seq += 1;
    const line = encodeRecord(recordOf(draft, { seq, prev: hash, node }));
    hash = hashOf(Buffer.from(line));
    text += `${line}\n`;
  }
  return { bytes: Buffer.from(text), last: { seq, hash } };
}

/** A draft that could not be written when its request ended: the request's end was not what its outcome says. */
export function asUnwritten(draft: Draft): Draft {
  if (draft.kind === 'decision' || draft.result === 'refused') return draft;
  return { ...draft, result: 'failed', reason: 'audit_unavailable' };
}

/** The outcome of a request whose process ended before it did. */
export function endOfInterrupted(id: string, { refusedFor }: OpenDecision, time: number): Draft {
  const reason = refusedFor !== undefined && isErrorCode(refusedFor) ? refusedFor : 'internal';
  const result = refusedFor === undefined ? 'failed' : 'refused';
  const nothing = { status: 0, request_bytes: 0, response_bytes: 0, latency_micros: 0 };
  return { kind: 'outcome', id, time, result, reason, ...nothing };
}

function recordOf(draft: Draft, place: { seq: number; prev: string; node: string }): AuditRecord {
  if (draft.kind === 'outcome') {
    const { status, request_bytes, response_bytes, latency_micros } = draft;
    return {
      ...draft,
      ...place,
      time: whole(draft.time),
      status: whole(status),
      request_bytes: whole(request_bytes),
      response_bytes: whole(response_bytes),
      latency_micros: whole(latency_micros),
    };
  }
  const { time, count, snapshot_version } = draft;
  return {
    ...draft,
    ...place,
    time: whole(time),
    count: Math.max(1, whole(count)),
    snapshot_version: whole(snapshot_version),
  };
}

/** One bad number must not make the whole chain unacceptable to the control plane. */
const whole = (value: number): number =>
  Number.isFinite(value) ? Math.min(Number.MAX_SAFE_INTEGER, Math.max(0, Math.trunc(value))) : 0;
