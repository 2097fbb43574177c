// The services of a snapshot: each is read and worked out when it is first asked for, and kept while it is used.
import type { CompiledRules } from '@daypass/core/rule-match';
import { readEntries } from '@daypass/core/snapshot-entry';
import { type ActiveService, type FieldRules, prepareService } from './active-service.ts';
import { BoundedCache } from './bounded-cache.ts';
import { contentOf, isSameSpot, type Lookup, type Place, type Spot } from './snapshot/lookup.ts';

/** The services of one snapshot. */
export type ActiveServices = {
  get(name: string): ActiveService | undefined;
  has(name: string): boolean;
};

/** What is kept of services from one snapshot to the next. */
export type ServiceMemory = {
  readonly services: BoundedCache<Known>;
  readonly fieldRules: BoundedCache<FieldRules>;
};

/** A service, and of what it was made; `mark` is that of the snapshot in which it was last found to be so. */
type Known = {
  readonly service: ActiveService;
  readonly config: Spot;
  readonly sealed: Spot | undefined;
  mark: object;
};

/** Services that are kept, and characters of what they are made of: some tens of MiB at most. */
const SERVICES = { entries: 4096, chars: 4 * 1024 * 1024 };
const FIELD_RULES = { entries: 1024, chars: 1024 * 1024 };

/** Remembers nothing yet. */
export const createServiceMemory = (): ServiceMemory => ({
  services: new BoundedCache<Known>(SERVICES),
  fieldRules: new BoundedCache<FieldRules>(FIELD_RULES),
});

/** The services that `entries` hold, with their named scopes. */
export function servicesIn(
  entries: Lookup,
  scopesOf: ReadonlyMap<string, ReadonlyMap<string, CompiledRules>>,
  memory: ServiceMemory,
): ActiveServices {
  const mark = {};
  const make = (name: string, config: Place, sealed: Place | undefined): ActiveService | undefined => {
    const content = contentOf(config);
    const parts = [{ kind: 'service', name, content }];
    if (sealed !== undefined) parts.push({ kind: 'credential', name, content: contentOf(sealed) });
    const { services, credentials } = readEntries(parts);
    const found = services.get(name);
    if (found === undefined) return undefined;
    const scopes = scopesOf.get(name) ?? NO_SCOPES;
    const service = prepareService(found, credentials.get(name), scopes, memory.fieldRules);
    const known = { service, config: spotOf(config), sealed: sealed && spotOf(sealed), mark };
    memory.services.set(name, known, content.length);
    return service;
  };
  return {
    get(name) {
      const known = memory.services.get(name);
      if (known?.mark === mark) return known.service;
      const config = entries.find('service', name);
      if (config === undefined) return undefined;
      const sealed = entries.find('credential', name);
      if (known === undefined || !isSameSpot(known.config, config) || !isSameSpot(known.sealed, sealed))
        return make(name, config, sealed);
      if (known.service.scopes !== (scopesOf.get(name) ?? NO_SCOPES)) return make(name, config, sealed);
      known.mark = mark;
      return known.service;
    },
    has: (name) => memory.services.get(name)?.mark === mark || entries.find('service', name) !== undefined,
  };
}

// A message that nothing lies in any more is not kept.
const spotOf = ({ segment, at }: Place): Spot => ({ segment, at });

const NO_SCOPES: ReadonlyMap<string, CompiledRules> = new Map();
