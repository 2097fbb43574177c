// The audit in the database: each node's chain as it came, and the events that Query answers.
import { DaypassError } from '@daypass/core/errors';
import { queryEvents } from './audit-query.ts';
import { tallyEvents } from './audit-tally.ts';
import type { AuditEventRow, AuditOutcomeRow, AuditRecordRow, AuditStore } from './interface.ts';
import { type Db, inParts, limitOf, storable } from './tables.ts';

const RECORD_COLUMNS = 4;
const OUTCOME_COLUMNS = 8;
const EVENT_COLUMNS = 23;

export const createAuditStore = (db: Db): AuditStore => ({
  append: async (changes) => {
    for (const part of inParts(changes, EVENT_COLUMNS)) {
      await db
        .insertInto('auditRecords')
        .values(part.map(({ record }) => record))
        .execute();
      await db
        .insertInto('auditEvents')
        .values(part.map(({ event }) => eventColumns(event)))
        .execute();
    }
  },
  last: (node) =>
    db
      .selectFrom('auditRecords')
      .select(['seq', 'hash'])
      .where('node', '=', node)
      .orderBy('seq', 'desc')
      .limit(1)
      .executeTakeFirst(),
  hashes: async (node, firstSeq, lastSeq) => {
    const found = await db
      .selectFrom('auditRecords')
      .select(['seq', 'hash'])
      .where('node', '=', node)
      .where('seq', '>=', firstSeq)
      .where('seq', '<=', lastSeq)
      .orderBy('seq')
      .execute();
    return new Map(found.map(({ seq, hash }) => [seq, hash]));
  },
  bytes: async (node, seq) => {
    const found = await db
      .selectFrom('auditRecords')
      .select('bytes')
      .where('node', '=', node)
      .where('seq', '=', seq)
      .executeTakeFirst();
    return found?.bytes;
  },
  records: async (node, firstSeq, lastSeq, limit) => {
    const found = await db
      .selectFrom('auditRecords')
      .select('bytes')
      .where('node', '=', node)
      .where('seq', '>=', firstSeq)
      .where('seq', '<=', lastSeq)
      .orderBy('seq')
      .limit(limitOf({ limit }))
      .execute();
    return found.map(({ bytes }) => bytes);
  },
  ofDecisions: async (decisionIds) => {
    const found: AuditEventRow[] = [];
    for (const part of inParts(decisionIds, 1)) {
      const rows = await db.selectFrom('auditEvents').selectAll().where('decisionId', 'in', part).execute();
      found.push(...rows.map(({ id: _, ...event }) => event));
    }
    return found;
  },
  insertRecords: async (rows) => {
    for (const part of inParts(rows, RECORD_COLUMNS)) await insertRecords(db, part);
  },
  insertEvents: async (events) => {
    for (const part of inParts(events, EVENT_COLUMNS)) {
      await db
        .insertInto('auditEvents')
        .values(part.map(eventColumns))
        .onConflict((conflict) => conflict.columns(['decisionId', 'node', 'seq']).doNothing())
        .execute();
      // A change is done when it is written: no outcome follows.
      const requests = part.filter(({ kind }) => kind === 'request');
      if (requests.length > 0) await settle(db, requests);
    }
  },
  complete: async (outcomes) => {
    for (const part of inParts(outcomes, OUTCOME_COLUMNS)) {
      await db
        .insertInto('auditOutcomes')
        .values(part.map(outcomeColumns))
        .onConflict((conflict) => conflict.columns(['decisionId', 'node']).doNothing())
        .execute();
      await settle(db, part);
    }
  },
  tally: (filter) => tallyEvents(db, filter),
  query: (filter, page) => queryEvents(db, filter, page),
});

// A record that is there already is left as it is, and must be the same.
const insertRecords = async (db: Db, part: readonly AuditRecordRow[]): Promise<void> => {
  const { numInsertedOrUpdatedRows } = await db
    .insertInto('auditRecords')
    .values(part.map(({ node, seq, hash, bytes }) => ({ node, seq, hash, bytes })))
    .onConflict((conflict) => conflict.columns(['node', 'seq']).doNothing())
    .executeTakeFirstOrThrow();
  if (numInsertedOrUpdatedRows === BigInt(part.length)) return;
  for (const { node, seq, hash } of part) {
    const stored = await db
      .selectFrom('auditRecords')
      .select('hash')
      .where('node', '=', node)
      .where('seq', '=', seq)
      .executeTakeFirst();
    if (stored?.hash !== hash) {
      throw new DaypassError('audit_conflict', `Record ${seq} of node ${node} differs from the stored one`);
    }
  }
};

// Joins waiting outcomes with their decisions, whichever came first. Only a node's own outcome completes its decision,
// and only the first: an event that has its status is not changed again. A refusal's reason stays when the outcome has none.
const settle = async (db: Db, rows: readonly Pick<AuditEventRow, 'decisionId'>[]): Promise<void> => {
  const ids = [...new Set(rows.map(({ decisionId }) => storable(decisionId)))];
  await db
    .updateTable('auditEvents')
    .from('auditOutcomes')
    .set((eb) => ({
      outcome: eb.ref('auditOutcomes.outcome'),
      reason: eb
        .case()
        .when('auditOutcomes.reason', '=', '')
        .then(eb.ref('auditEvents.reason'))
        .else(eb.ref('auditOutcomes.reason'))
        .end(),
      status: eb.ref('auditOutcomes.status'),
      requestBytes: eb.ref('auditOutcomes.requestBytes'),
      responseBytes: eb.ref('auditOutcomes.responseBytes'),
      latencyMicros: eb.ref('auditOutcomes.latencyMicros'),
    }))
    .where('auditOutcomes.decisionId', 'in', ids)
    .whereRef('auditEvents.decisionId', '=', 'auditOutcomes.decisionId')
    .whereRef('auditEvents.node', '=', 'auditOutcomes.node')
    .where('auditEvents.status', '=', 0)
    .where('auditEvents.latencyMicros', '=', 0)
    .execute();
  await db
    .deleteFrom('auditOutcomes')
    .where('decisionId', 'in', ids)
    .where((eb) =>
      eb.exists(
        eb
          .selectFrom('auditEvents')
          .select('auditEvents.id')
          .whereRef('auditEvents.decisionId', '=', 'auditOutcomes.decisionId')
          .whereRef('auditEvents.node', '=', 'auditOutcomes.node'),
      ),
    )
    .execute();
};

const outcomeColumns = (row: AuditOutcomeRow): AuditOutcomeRow => ({
  decisionId: storable(row.decisionId),
  node: storable(row.node),
  outcome: row.outcome,
  reason: storable(row.reason),
  status: row.status,
  requestBytes: row.requestBytes,
  responseBytes: row.responseBytes,
  latencyMicros: row.latencyMicros,
});

const eventColumns = (row: AuditEventRow): AuditEventRow => ({
  ...outcomeColumns(row),
  kind: row.kind,
  time: row.time,
  seq: row.seq,
  jti: storable(row.jti),
  client: storable(row.client),
  principal: storable(row.principal),
  caller: storable(row.caller),
  service: storable(row.service),
  method: storable(row.method),
  path: storable(row.path),
  rule: storable(row.rule),
  credentialId: storable(row.credentialId),
  snapshotVersion: row.snapshotVersion,
  count: row.count,
  source: storable(row.source),
});
