// Takes a node's records: verifies the signature and the chain, and stores each record exactly once.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { batchStatement, type ChainedRecord, GENESIS, parseRecord, readChain } from '@daypass/core/audit';
import { DaypassError } from '@daypass/core/errors';
import { parseStrictJson } from '@daypass/core/json';
import { AUDIT_LABEL, importEd25519, readPublicJwk, verifyBytes } from '@daypass/core/key';
import type { Aggregates, AuditEventRow, AuditOutcomeRow, Store } from '../store/interface.ts';
import type { NodeActor } from './actor.ts';
import { digestRecords } from './audit-event.ts';
import type { AuditFeed } from './audit-feed.ts';
import { sha256, sha256Hex } from './digest.ts';
import { isEnrolled } from './node-row.ts';

/** A signed batch of a node's chain. */
export type AuditBatch = {
  readonly node: string;
  readonly firstSeq: number;
  readonly records: readonly Uint8Array[];
  readonly signature: Uint8Array;
};

type Deps = {
  readonly store: Pick<Store, 'read' | 'transact'>;
  readonly feed: Pick<AuditFeed, 'publish' | 'listening'>;
};

/**
 * Makes Ingest; it answers the last number stored. A batch that was stored before changes nothing. A gap before a batch
 * is stored as it is: the numbers show it.
 * @throws {DaypassError} `permission_denied`, `invalid_argument`, or `audit_conflict` where stored records differ
 */
export const createIngest =
  (deps: Deps) =>
  async (node: NodeActor, batch: AuditBatch): Promise<number> => {
    if (batch.node !== node.name) {
      throw new DaypassError('permission_denied', "a node's records are its own to send", { field: 'node' });
    }
    const lastSeq = batch.firstSeq + batch.records.length - 1;
    if (!Number.isSafeInteger(lastSeq) || batch.firstSeq < 1 || batch.records.length === 0) {
      throw new DaypassError('invalid_argument', 'is not a number that a chain can reach', { field: 'first_seq' });
    }
    // 1. Signature: nothing is parsed before it is verified.
    await checkSignature(deps.store.read, batch, lastSeq);
    // 2. Chain within the batch.
    const chain = await readInTurns(batch);
    // 3. Stored once, records and events together.
    const stored = await deps.store.transact(async (tx) => {
      // 4. Of a node that was expelled meanwhile nothing is stored.
      if (!isEnrolled(await tx.nodes.get(node.name))) throw notEnrolled();
      return storeNew(tx, node.name, chain);
    });
    // 5. Told to those who follow.
    if (deps.feed.listening()) {
      deps.feed.publish([...stored.events, ...(await completed(deps.store.read, stored.outcomes))]);
    }
    return lastSeq;
  };

/** The loop gets its turn after so many records. */
const TURN_RECORDS = 100;

const readInTurns = async ({ node, firstSeq, records }: AuditBatch): Promise<readonly ChainedRecord[]> => {
  const chain: ChainedRecord[] = [];
  for (let at = 0; at < records.length; at += TURN_RECORDS) {
    if (at > 0) await nextTurn();
    const prev = firstSeq + at === 1 ? GENESIS : chain.at(-1)?.hash;
    chain.push(...readChain(records.slice(at, at + TURN_RECORDS), { node, firstSeq: firstSeq + at, prev }, sha256));
  }
  return chain;
};

const checkSignature = async (read: Aggregates, batch: AuditBatch, lastSeq: number): Promise<void> => {
  const row = await read.nodes.get(batch.node);
  const last = batch.records.at(-1);
  if (!isEnrolled(row) || last === undefined) throw notEnrolled();
  const key = await importEd25519(readPublicJwk(parseStrictJson(row.jwk), 'Ed25519', 'jwk'), 'verify');
  const statement = batchStatement(batch.node, batch.firstSeq, lastSeq, sha256Hex(last));
  if (await verifyBytes(key, AUDIT_LABEL, statement, batch.signature)) return;
  throw new DaypassError('invalid_argument', "is not the node's over this batch", { field: 'signature' });
};

const notEnrolled = (): DaypassError => new DaypassError('unauthenticated', 'The node is not enrolled');

type Stored = { readonly events: readonly AuditEventRow[]; readonly outcomes: readonly AuditOutcomeRow[] };

const storeNew = async (tx: Aggregates, node: string, chain: readonly ChainedRecord[]): Promise<Stored> => {
  const [first] = chain;
  const last = chain.at(-1);
  if (first === undefined || last === undefined) return { events: [], outcomes: [] };
  const known = await tx.audit.hashes(node, first.record.seq - 1, last.record.seq);
  const before = known.get(first.record.seq - 1);
  if (before !== undefined && before !== first.record.prev) throw conflict(first.record.seq - 1);
  const fresh = chain.filter(({ record, hash }) => {
    const stored = known.get(record.seq);
    if (stored !== undefined && stored !== hash) throw conflict(record.seq);
    return stored === undefined;
  });
  if (fresh.length === 0) return { events: [], outcomes: [] };
  // What fills a gap must also lead to what was stored behind it.
  const after = await tx.audit.bytes(node, last.record.seq + 1);
  if (after !== undefined && parseRecord(after).prev !== last.hash) throw conflict(last.record.seq + 1);
  await tx.audit.insertRecords(fresh.map(({ record, hash, bytes }) => ({ node, seq: record.seq, hash, bytes })));
  const { events, outcomes } = digestRecords(fresh.map(({ record }) => record));
  if (events.length > 0) await tx.audit.insertEvents(events);
  if (outcomes.length > 0) await tx.audit.complete(outcomes);
  return { events, outcomes };
};

/** The events that outcomes have completed, as they stand now. */
const completed = async (
  { audit }: Aggregates,
  outcomes: readonly AuditOutcomeRow[],
): Promise<readonly AuditEventRow[]> => {
  const events: AuditEventRow[] = [];
  for (const { decisionId, node } of outcomes) {
    const found = await audit.query({ decisionId, kind: 'request' }, { after: undefined, limit: 10 });
    events.push(...found.filter((event) => event.node === node));
  }
  return events;
};

const conflict = (seq: number): DaypassError =>
  new DaypassError('audit_conflict', `record ${seq} differs from the stored one`, { field: 'records' });
