// What of a request goes upstream: rules are asked about nothing else.

import { withoutKeys } from '@daypass/core/query-keys';
import type { ActiveService } from './active-service.ts';
import type { Head } from './wire.ts';

/** Finds the values of all fields of a lower-case name that go upstream; sorted once, however many are asked for. */
export function forwardedValues(
  service: ActiveService,
  { fields, hopNames }: Head,
): (wanted: string) => readonly string[] {
  let byName: ReadonlyMap<string, readonly string[]> | undefined;
  return (wanted) => {
    if (service.dropsField(wanted) || hopNames.has(wanted)) return NONE;
    byName ??= groupByName(fields);
    return byName.get(wanted) ?? NONE;
  };
}

const NONE: readonly string[] = [];

function groupByName(fields: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const byName = new Map<string, string[]>();
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const [name = '', value = ''] = fields.slice(at, at + 2);
    const values = byName.get(name);
    if (values === undefined) byName.set(name, [value]);
    else values.push(value);
  }
  return byName;
}

/** The caller's part of the query that goes upstream. */
export const forwardedQuery = (service: ActiveService, query: string | undefined): string | undefined =>
  query === undefined ? undefined : withoutKeys(query, service.droppedKeys);
