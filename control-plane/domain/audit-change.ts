// The audit row of a change at the control plane: an event, and a record in the control plane's own hash chain.
import type { Aggregates, AuditChange, AuditEventRow } from '../store/interface.ts';
import { sha256Hex } from './digest.ts';

/** The name under which the control plane keeps its own chain. */
const CONTROL_PLANE = '';
const GENESIS = '0'.repeat(64);
/** Longest text of a row; what callers send is bounded already, this bounds what is stored in any case. */
const TEXT_MAX = 2048;

/** What was changed, or refused. */
export type ChangeNote = Partial<
  Pick<AuditEventRow, 'jti' | 'client' | 'principal' | 'service' | 'credentialId' | 'snapshotVersion' | 'reason'>
> & {
  readonly id: string;
  /** Milliseconds. */
  readonly time: number;
  readonly outcome: 'allowed' | 'refused';
  /** Who asked. */
  readonly caller: string;
  /** The RPC, as `Service/Method`. */
  readonly method: string;
  /** What was changed, as `services/github`. */
  readonly path: string;
};

/** Writes the rows in the transaction of the changes themselves, in their order. */
export const recordChanges = async (
  tx: Aggregates,
  notes: readonly ChangeNote[],
): Promise<readonly AuditEventRow[]> => {
  const last = await tx.audit.last(CONTROL_PLANE);
  const first = (last?.seq ?? 0) + 1;
  const events = notes.map((note, index) => eventOf(note, first + index));
  await tx.audit.append(chain(events, last?.hash ?? GENESIS));
  return events;
};

const chain = (events: readonly AuditChange['event'][], end: string): readonly AuditChange[] => {
  let prev = end;
  return events.map((event) => {
    const bytes = encodeChange(event, prev);
    prev = sha256Hex(bytes);
    return { record: { node: CONTROL_PLANE, seq: event.seq, hash: prev, bytes }, event };
  });
};

const eventOf = (note: ChangeNote, seq: number): AuditChange['event'] => ({
  decisionId: note.id,
  kind: 'change',
  time: note.time,
  node: CONTROL_PLANE,
  seq,
  outcome: note.outcome,
  reason: note.reason ?? '',
  jti: note.jti ?? '',
  client: note.client ?? '',
  principal: note.principal ?? '',
  caller: note.caller,
  service: note.service ?? '',
  method: note.method,
  path: note.path.slice(0, TEXT_MAX),
  rule: '',
  credentialId: note.credentialId ?? '',
  status: 0,
  requestBytes: 0,
  responseBytes: 0,
  latencyMicros: 0,
  snapshotVersion: note.snapshotVersion ?? 0,
  count: 1,
  source: '',
});

const encodeChange = (event: AuditEventRow, prev: string): Uint8Array => {
  const { seq, decisionId: id, time, outcome, reason, caller, method, path, service, jti, client, principal } = event;
  const subject = { service, jti, client, principal, credential_id: event.credentialId };
  const record = { kind: 'change', seq, prev, id, time, outcome, reason, caller, method, path, ...subject };
  return new TextEncoder().encode(JSON.stringify({ ...record, snapshot_version: event.snapshotVersion }));
};
