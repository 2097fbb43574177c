// AuditService: Ingest for nodes, Query and Tail for admins.
import type { ServiceImpl } from '@connectrpc/connect';
import { DaypassError } from '@daypass/core/errors';
import type { NodeActor } from '../domain/actor.ts';
import type { AuditBatch } from '../domain/audit-ingest.ts';
import type { AuditPage } from '../domain/audit-query.ts';
import type { AuditService } from '../gen/daypass/v1/audit_pb.ts';
import { toEvent, toFilter } from './audit-words.ts';
import { nodeOf } from './authenticate.ts';
import { safeNumber } from './words.ts';

type Filter = ReturnType<typeof toFilter>;
type Event = AuditPage['events'][number];

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
    const { node, records, signature } = request;
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
