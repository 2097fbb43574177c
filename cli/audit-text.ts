// One audit event as a line for people.
import { timestampDate } from '@bufbuild/protobuf/wkt';
import type { AuditEvent } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { outcomeText } from './audit-filter.ts';
import { printable } from './output.ts';

/** Headings of the columns. */
export const AUDIT_COLUMNS = ['TIME', 'OUTCOME', 'STATUS', 'SERVICE', 'CLIENT', 'REQUEST', 'WHY', 'TOOK'] as const;

/** The columns of an event. */
export const auditColumns = (event: AuditEvent): readonly string[] => [
  event.time === undefined ? '' : timestampDate(event.time).toISOString(),
  outcomeText(event.outcome),
  event.status === 0 ? '-' : String(event.status),
  event.service,
  event.client || event.caller,
  request(event),
  event.reason || event.rule,
  event.latencyMicros === 0n ? '' : `${(Number(event.latencyMicros) / 1000).toFixed(1)}ms`,
];

/** The event as one line, for a stream whose widths nobody knows yet. */
export const auditLine = (event: AuditEvent): string => `${auditColumns(event).map(printable).join('  ').trimEnd()}\n`;

const request = ({ method, path, count, source }: AuditEvent): string => {
  const many = count > 1 ? ` (${count} times${source === '' ? '' : ` from ${source}`})` : '';
  return `${method} ${path}`.trim() + many;
};
