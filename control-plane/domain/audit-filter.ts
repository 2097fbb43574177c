// Which audit events are asked for: the same filter for the store and for events that come in.
import type { AuditEventFilter, AuditEventRow } from '../store/interface.ts';

/** Whether an event fits. */
export const fits = (event: AuditEventRow, filter: AuditEventFilter): boolean =>
  same(filter.kind, event.kind) &&
  same(filter.service, event.service) &&
  same(filter.client, event.client) &&
  same(filter.jti, event.jti) &&
  same(filter.outcome, event.outcome) &&
  same(filter.decisionId, event.decisionId) &&
  (filter.since === undefined || event.time >= filter.since) &&
  (filter.until === undefined || event.time < filter.until);

const same = <T>(wanted: T | undefined, is: T): boolean => wanted === undefined || wanted === is;
