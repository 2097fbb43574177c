// AuditService: Ingest for nodes, Query and Tail for admins.
import type { ServiceImpl } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { NodeActor } from '../domain/actor.ts';
import type { AuditBatch } from '../domain/audit-ingest.ts';
import type { AuditPage } from '../domain/audit-query.ts';
import type { AuditService, IngestRequest } from '../gen/daypass/v1/audit_pb.ts';
import { toEvent, toFilter } from './audit-words.ts';
import { nodeOf } from './authenticate.ts';
import { safeNumber } from './words.ts';

type Filter = ReturnType<typeof toFilter>;
type Event = AuditPage['events'][number];

/** Records of one batch, and bytes of one of them, as the message has them for `records`. */
const RECORDS_MAX = 2000;
const RECORD_BYTES = { least: 2, most: 32_768 };
const NEWLINE = 10;

/** What the domain does for the audit. */
export type Audit = {
  readonly ingest: (node: NodeActor, batch: AuditBatch) => Promise<number>;
  readonly query: (
    filter: Filter,
    page: { readonly pageSize: number; readonly pageToken: string },
  ) => Promise<AuditPage>;
  readonly tail: (filter: Filter, signal: AbortSignal) => AsyncIterable<Event | undefined>;
};

/** The handlers. */
export const auditService = (audit: Audit): ServiceImpl<typeof AuditService> => ({
  ingest: async (request, context) => {
    const { node, signature } = request;
    const records = recordsOf(request);
    const firstSeq = safeNumber(request.firstSeq, 'first_seq');
    const stored = await audit.ingest(nodeOf(context), { node, firstSeq, records, signature });
    return { storedSeq: BigInt(stored) };
  },
  query: async ({ filter, pageSize, pageToken }) => {
    const page = await audit.query(toFilter(filter), { pageSize, pageToken });
    return { events: page.events.map(toEvent), nextPageToken: page.nextPageToken };
  },
  tail: async function* ({ filter }, context) {
    if (filter?.until !== undefined) {
      throw new DaypassError('invalid_argument', 'a tail has no end', { field: 'filter.until' });
    }
    for await (const event of audit.tail(toFilter(filter), context.signal)) {
      yield event === undefined ? {} : { event: toEvent(event) };
    }
  },
});

/** The records, in whichever form they came. @throws {DaypassError} `invalid_argument` */
const recordsOf = ({ records, lines }: IngestRequest): readonly Uint8Array[] => {
  if (lines.length > 0 && records.length > 0) {
    throw new DaypassError('invalid_argument', 'stands in place of records, not beside them', { field: 'lines' });
  }
  const sent = lines.length > 0 ? recordsIn(lines) : records;
  if (sent.length === 0) throw new DaypassError('invalid_argument', 'holds at least one', { field: 'records' });
  return sent;
};

const recordsIn = (lines: Uint8Array): readonly Uint8Array[] => {
  const records: Uint8Array[] = [];
  for (let start = 0; start < lines.length; ) {
    const end = lines.indexOf(NEWLINE, start);
    const length = end - start;
    if (length < RECORD_BYTES.least || length > RECORD_BYTES.most || records.length === RECORDS_MAX) {
      const { least, most } = RECORD_BYTES;
      const what = `holds at most ${RECORDS_MAX} records of ${least} to ${most} bytes, each with a newline behind it`;
      throw new DaypassError('invalid_argument', what, { field: 'lines' });
    }
    records.push(lines.subarray(start, end));
    start = end + 1;
  }
  return records;
};
