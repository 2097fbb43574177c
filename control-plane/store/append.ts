// What changes only add, minted tokens and the audit of changes, handed to the writer to be written together.
import type { Aggregates, AuditChange, TokenRow } from './interface.ts';
import type { LaterTable, LaterValue } from './later-writes.ts';

import { storable, type Tables } from './tables.ts';
import { tokenColumns } from './tokens.ts';
import type { AddLater } from './writer.ts';

/** The aggregates of a transaction, adding by `add`: a row that the database refuses fails it with the commit at the latest. */
export const appendLater = (tx: Aggregates, add: AddLater): Aggregates => ({
  ...tx,
  tokens: {
    ...tx.tokens,
    insert: async (...rows: readonly TokenRow[]) => add(TOKENS, rows.map(tokenColumns).map(valuesOf(TOKEN_COLUMNS))),
  },
  audit: {
    ...tx.audit,
    append: async (changes: readonly AuditChange[]) => {
      const records = changes.map(({ record: { bytes, ...record } }) => ({ ...record, bytes: textOf(bytes) }));
      add(RECORDS, records.map(valuesOf(RECORD_COLUMNS)));
      const events = changes.map(({ event }) => event).map(valuesOf(EVENT_COLUMNS));
      add(
        EVENTS,
        events.map((values) => values.map((value) => (typeof value === 'string' ? storable(value) : value))),
      );
    },
  },
});

const valuesOf =
  <Column extends string>(columns: readonly Column[]) =>
  (row: { readonly [Name in Column]: LaterValue }): readonly LaterValue[] =>
    columns.map((column) => row[column]);

const textOf = ({ buffer, byteOffset, byteLength }: Uint8Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('utf8');

const TOKEN_COLUMNS = [
  ...(['jti', 'service', 'client', 'subject', 'caller', 'allow', 'credentialId', 'jkt', 'parents', 'actors'] as const),
  ...(['sealKid', 'statusChunk', 'statusIndex', 'createdAt', 'expiresAt', 'revokedAt'] as const),
] satisfies readonly (keyof Tables['tokens'])[];
const RECORD_COLUMNS = ['node', 'seq', 'hash', 'bytes'] as const satisfies readonly (keyof Tables['auditRecords'])[];
const EVENT_COLUMNS = [
  ...(['decisionId', 'kind', 'time', 'node', 'seq', 'outcome', 'reason', 'jti', 'client', 'principal'] as const),
  ...(['caller', 'service', 'method', 'path', 'rule', 'credentialId', 'status', 'requestBytes'] as const),
  ...(['responseBytes', 'latencyMicros', 'snapshotVersion', 'count', 'source'] as const),
] satisfies readonly (keyof Tables['auditEvents'])[];

const table = (name: string, columns: readonly string[], bytes: readonly string[] = []): LaterTable => ({
  name,
  columns: columns.map((column) => column.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)),
  bytes,
});

const TOKENS = table('tokens', TOKEN_COLUMNS);
const RECORDS = table('audit_records', RECORD_COLUMNS, ['bytes']);
const EVENTS = table('audit_events', EVENT_COLUMNS);
