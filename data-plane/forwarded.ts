// What of a request goes upstream: rules are asked about nothing else.

import { withoutKeys } from '@daypass/core/query-keys';
import type { ActiveService } from './active-service.ts';
import type { Head } from './wire.ts';

/** The values of all fields of this lower-case name that go upstream. */
export function forwardedValues(service: ActiveService, { fields, hopNames }: Head, wanted: string): readonly string[] {
  const values: string[] = [];
  if (service.dropsField(wanted) || hopNames.has(wanted)) return values;
  for (let at = 0; at + 1 < fields.length; at += 2) if (fields[at] === wanted) values.push(fields[at + 1] ?? '');
  return values;
}

/** The caller's part of the query that goes upstream. */
export const forwardedQuery = (service: ActiveService, query: string | undefined): string | undefined =>
  query === undefined ? undefined : withoutKeys(query, service.droppedKeys);
