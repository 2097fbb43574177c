// Which notices a transaction owes the other replicas: by the tables that its statements write, and the chains it adds to.
import type { Aggregates, StoredChain, Topic } from './interface.ts';

const WRITES = /^(?:insert into|update|delete from) "([a-z_]+)"/;
const TABLES: Readonly<Record<string, Topic>> = {
  snapshots: 'snapshots',
  nodes: 'nodes',
  keys: 'keys',
  audit_events: 'audit',
  audit_records: 'audit',
};

/** What a writing statement is news of, for those who look at it. */
export const topicOf = (text: string): Topic | undefined => {
  const table = WRITES.exec(text)?.[1];
  if (table === 'nodes' && text.startsWith('update') && text.includes('"reported_at" =')) return 'reports';
  return table === undefined ? undefined : TABLES[table];
};

/** The aggregates of a transaction, telling `stored` of the records that are added to a chain. */
export const noteChains = (tx: Aggregates, stored: (chain: StoredChain) => void): Aggregates => ({
  ...tx,
  audit: {
    ...tx.audit,
    insertRecords: async (rows) => {
      await tx.audit.insertRecords(rows);
      for (const { node, seq } of rows) stored({ node, firstSeq: seq, lastSeq: seq });
    },
    append: async (changes) => {
      await tx.audit.append(changes);
      for (const { record } of changes) stored({ node: record.node, firstSeq: record.seq, lastSeq: record.seq });
    },
  },
});
