// Answers questions about the audit, a page at a time.
import type { Aggregates, AuditEventFilter, AuditEventRow } from '../store/interface.ts';
import { cutPage, decodePageToken, encodePageToken, pageSize } from './page.ts';

/** A page of events, newest first. */
export type AuditPage = { readonly events: readonly AuditEventRow[]; readonly nextPageToken: string };

/** Makes Query. */
export const createAuditQuery =
  ({ audit }: Pick<Aggregates, 'audit'>) =>
  async (
    filter: AuditEventFilter,
    page: { readonly pageSize: number; readonly pageToken: string },
  ): Promise<AuditPage> => {
    const size = pageSize(page.pageSize);
    const [time, id] = decodePageToken('audit', page.pageToken, ['number', 'number']) ?? [];
    const after = typeof time === 'number' && typeof id === 'number' ? { time, id } : undefined;
    const cut = cutPage(await audit.query(filter, { after, limit: size + 1 }), size);
    const nextPageToken = cut.last === undefined ? '' : encodePageToken('audit', [cut.last.time, cut.last.id]);
    return { events: cut.page, nextPageToken };
  };
