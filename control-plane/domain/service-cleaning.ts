// Reads how requests of a service are cleaned: headers and query keys to drop, headers to set.
import type { ServiceConfig } from '@daypass/core/service';
import { isHeaderValue, refuseDropHeader, refuseSetHeader } from './headers.ts';
import type { Problems } from './problems.ts';
import type { ServiceInput } from './service-input.ts';

type Cleaning = Pick<ServiceConfig, 'drop_headers' | 'set_headers' | 'drop_query'>;

/** Reads the cleaning of a service; `place` is where its credential goes. */
export const readCleaning = (
  input: ServiceInput,
  place: ServiceConfig['place'],
  path: string,
  problems: Problems,
): Cleaning => {
  const drop = readDropHeaders(input.dropHeaders, `${path}.drop_headers`, problems);
  const set = readSetHeaders(input.setHeaders, `${path}.set_headers`, problems);
  const placed = place?.kind === 'header' ? place.name : undefined;
  for (const name of set.keys()) {
    if (drop.has(name)) problems.add(`${path}.drop_headers`, `\`${name}\` is both dropped and set`);
    if (name === placed) problems.add(`${path}.set_headers`, `\`${name}\` is where the credential goes`);
  }
  const query = new Set(input.dropQuery);
  if (place?.kind === 'query' && query.has(place.name)) {
    problems.add(`${path}.drop_query`, `\`${place.name}\` is where the credential goes`);
  }
  return { drop_headers: [...drop].sort(), set_headers: Object.fromEntries(set), drop_query: [...query].sort() };
};

const readDropHeaders = (names: readonly string[], path: string, problems: Problems): Set<string> => {
  const drop = new Set<string>();
  for (const [i, name] of names.entries()) {
    const refusal = refuseDropHeader(name);
    if (refusal !== undefined) problems.add(`${path}[${i}]`, refusal);
    drop.add(name.toLowerCase());
  }
  return drop;
};

const readSetHeaders = (
  headers: ReadonlyMap<string, string>,
  path: string,
  problems: Problems,
): Map<string, string> => {
  const set = new Map<string, string>();
  for (const [name, value] of [...headers].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const refusal = refuseSetHeader(name);
    if (refusal !== undefined) problems.add(`${path}["${name}"]`, refusal);
    if (!isHeaderValue(value)) problems.add(`${path}["${name}"]`, 'must be visible ASCII and inner spaces');
    if (set.has(name.toLowerCase())) problems.add(`${path}["${name}"]`, 'is set twice');
    set.set(name.toLowerCase(), value);
  }
  return set;
};
