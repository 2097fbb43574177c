// A node that uploads audit records without end: the chain of a data plane under load.
import { createHash } from 'node:crypto';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { type AuditRecord, batchStatement, encodeRecord, GENESIS } from '@daypass/core/audit';
import { AUDIT_LABEL, signBytes } from '@daypass/core/key';
import { AuditService } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { asNode } from '../control-plane/fixture.ts';
import type { Subject } from './control-plane.ts';

const NODE = 'node-1';

/** Uploads the next records of the chain at each call: so many requests, two records each. */
export const createUpload = ({ home, url }: Pick<Subject, 'home' | 'url'>, requests: number): (() => Promise<void>) => {
  const transport = createConnectTransport({ baseUrl: url, httpVersion: '1.1', interceptors: [asNode(home, NODE)] });
  const audit = createClient(AuditService, transport);
  const key = home.nodes.get(NODE);
  if (key === undefined) throw new Error('there is no node');
  let seq = 0;
  let prev = GENESIS;
  const write = (record: (chained: { seq: number; prev: string; node: string }) => AuditRecord): Uint8Array => {
    seq += 1;
    const bytes = new TextEncoder().encode(encodeRecord(record({ seq, prev, node: NODE })));
    prev = createHash('sha256').update(bytes).digest('hex');
    return bytes;
  };
  return async () => {
    const firstSeq = seq + 1;
    const records = Array.from({ length: requests }, () => pairOf(`d${seq}`).map(write)).flat();
    const signature = await signBytes(key, AUDIT_LABEL, batchStatement(NODE, firstSeq, seq, prev));
    await audit.ingest({ node: NODE, firstSeq: BigInt(firstSeq), records, signature });
  };
};

type Chained = Pick<AuditRecord, 'seq' | 'prev' | 'node'>;

const pairOf = (id: string): readonly ((chained: Chained) => AuditRecord)[] => [
  (chained) => ({
    ...{ ...chained, kind: 'decision', id, time: Date.now(), result: 'allowed', reason: '', jti: 'j'.repeat(32) },
    ...{ caller: 'c0', principal: 'c0', client: 'c0', service: 's', method: 'GET', path: '/repos/acme/site' },
    ...{ rule: 'GET /repos/{owner}/{repo}', credential_id: '', snapshot_version: 1, count: 1, source: '' },
  }),
  (chained) => ({
    ...{ ...chained, kind: 'outcome', id, time: Date.now(), result: 'completed', reason: '', status: 200 },
    ...{ request_bytes: 0, response_bytes: 1024, latency_micros: 900 },
  }),
];
