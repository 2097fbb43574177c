// A node that keeps a chain of audit records by hand, for what a real one would never send.
import { createHash } from 'node:crypto';
import {
  type AuditRecord,
  batchStatement,
  type DecisionRecord,
  encodeRecord,
  GENESIS,
  type OutcomeRecord,
} from '@daypass/core/audit';
import { AUDIT_LABEL, signBytes } from '@daypass/core/key';
import type { Running } from './fixture.ts';

/** Hex sha256. */
export const hash = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** A decision that was allowed. */
export const decision = (
  id: string,
  extra: Partial<DecisionRecord> = {},
): Omit<DecisionRecord, 'seq' | 'prev' | 'node'> => ({
  kind: 'decision',
  id,
  time: 1_700_000_000_000,
  result: 'allowed',
  reason: '',
  jti: 'jti-1',
  caller: 'bot',
  principal: 'me',
  client: 'ci',
  service: 'github',
  method: 'GET',
  path: '/repos',
  rule: 'GET /repos',
  credential_id: '',
  snapshot_version: 3,
  count: 1,
  source: '',
  ...extra,
});
/** Its outcome. */
export const outcome = (
  id: string,
  extra: Partial<OutcomeRecord> = {},
): Omit<OutcomeRecord, 'seq' | 'prev' | 'node'> => ({
  kind: 'outcome',
  id,
  time: 1_700_000_000_100,
  result: 'completed',
  reason: '',
  status: 200,
  request_bytes: 1,
  response_bytes: 2,
  latency_micros: 3,
  ...extra,
});
type Loose = Omit<DecisionRecord, 'seq' | 'prev' | 'node'> | Omit<OutcomeRecord, 'seq' | 'prev' | 'node'>;

/** A node that writes its chain and signs its batches. */
export const createNode = (control: Running, node = 'node-1', start = 1) => {
  let seq = start;
  let prev = start === 1 ? GENESIS : 'a'.repeat(64);
  const write = (record: Loose): Uint8Array => {
    const bytes = new TextEncoder().encode(encodeRecord({ ...record, seq, prev, node } as AuditRecord));
    seq += 1;
    prev = hash(bytes);
    return bytes;
  };
  const batch = async (records: Uint8Array[], firstSeq: number, signer = node) => {
    const key = control.home.nodes.get(signer);
    const last = records.at(-1);
    if (key === undefined || last === undefined) throw new Error('nothing to sign');
    const statement = batchStatement(node, firstSeq, firstSeq + records.length - 1, hash(last));
    return { node, firstSeq: BigInt(firstSeq), records, signature: await signBytes(key, AUDIT_LABEL, statement) };
  };
  return {
    batch,
    write,
    /** Writes and sends records; what was sent. */
    send: async (...records: Loose[]) => {
      const firstSeq = seq;
      const sent = await batch(records.map(write), firstSeq);
      const { storedSeq } = await control.asNode(node).audit.ingest(sent);
      return { sent, storedSeq };
    },
  };
};
