// What the entries of a snapshot must say of each other, for all of them or for those that changed.
import { DaypassError } from './errors.ts';
import type { ServiceConfig } from './service.ts';
import type { Entries } from './snapshot-entry.ts';

/** What entries are compared with. */
export type Surroundings = {
  readonly pool: string;
  /** Whether the snapshot holds the service. */
  readonly hasService: (name: string) => boolean;
};

/** Throws `snapshot_inconsistent`, naming the entry, for another pool and for what belongs to no service. */
export function checkEntries(entries: Entries, { pool, hasService }: Surroundings): void {
  const { services, credentials, scopes, cutoffs } = entries;
  if (entries.pool !== undefined && entries.pool.name !== pool)
    throw inconsistent(`The entry pool/${entries.pool.name} is of another pool`);
  for (const { name, pool: own } of services.values())
    if (own !== pool) throw inconsistent(`The service ${name} is of another pool`);
  for (const name of credentials.keys())
    if (!hasService(name)) throw inconsistent(`The entry credential/${name} is of no service`);
  for (const name of scopes.keys())
    if (!hasService(serviceOfScope(name))) throw inconsistent(`The entry scope/${name} is of no service`);
  for (const { service } of cutoffs)
    if (service !== undefined && !hasService(service))
      throw inconsistent(`A cut-off is for ${service}, which is no service here`);
}

/** The service of a named scope, `<service>/<scope>`. */
export const serviceOfScope = (name: string): string => name.slice(0, name.indexOf('/'));

/** The default service, `before` or one of others that have changed. Throws `snapshot_inconsistent` for a second one. */
export function defaultAmong(before: string | undefined, changed: Iterable<ServiceConfig>): string | undefined {
  const services = [...changed];
  let found = services.some(({ name }) => name === before) ? undefined : before;
  for (const { name, is_default } of services) {
    if (!is_default) continue;
    if (found !== undefined) throw inconsistent(`There is more than one default service: ${found} and ${name}`);
    found = name;
  }
  return found;
}

const inconsistent = (message: string): DaypassError => new DaypassError('snapshot_inconsistent', message);
