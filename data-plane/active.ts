// An activated snapshot: what requests look up, of which only what changed is made ready, and services when asked for.
import { DaypassError } from '@daypass/core/errors';
import type { ActiveService } from './active-service.ts';
import { type ActiveServices, createServiceMemory, type ServiceMemory, servicesIn } from './active-services.ts';
import type { Head, Step, Whole } from './snapshot/handover.ts';
import { changesIn, contentOf, type Lookup, lookUpWhole } from './snapshot/lookup.ts';
import { changeParts, NO_PARTS, PART_KINDS, type Parts } from './snapshot-parts.ts';

/** A snapshot as requests see it. Immutable: a request keeps the one it began with, until a later revokes its token. */
export type ActiveSnapshot = Pick<Parts, 'keys' | 'keyPrints' | 'poolNodes' | 'isRevoked' | 'isCutOff'> & {
  readonly version: number;
  /** Hex sha256 of the manifest. */
  readonly digest: string;
  /** The end of the lease, in seconds since the epoch. */
  readonly expiresAt: number;
  readonly fleet: string;
  readonly pool: string;
  readonly services: ActiveServices;
  readonly defaultService: ActiveService | undefined;
  /** For the next snapshot, which often has the same. */
  readonly made: Made;
};

type Made = { readonly entries: Lookup; readonly parts: Parts; readonly memory: ServiceMemory };

/**
 * Makes what the main thread has verified ready for requests, from the `previous` snapshot where it is a step from there.
 * It lets go of the event loop on its way. Throws `snapshot_inconsistent` naming the entry.
 */
export async function activate(lead: Whole | Step, previous?: ActiveSnapshot): Promise<ActiveSnapshot> {
  const memory = previous?.made.memory ?? createServiceMemory();
  const { entries, parts } = 'delta' in lead ? await stepOn(lead, previous) : await takeWhole(lead, previous);
  return make(lead.head, { entries, parts, memory });
}

async function takeWhole(whole: Whole, previous: ActiveSnapshot | undefined): Promise<Omit<Made, 'memory'>> {
  const entries = lookUpWhole(whole);
  const places = PART_KINDS.flatMap((kind) => entries.ofKind(kind));
  const changes = places.map(({ kind, name, place }) => ({ kind, name, content: contentOf(place) }));
  return { entries, parts: await changeParts(NO_PARTS, changes, previous?.made.parts) };
}

async function stepOn({ from, delta }: Step, previous: ActiveSnapshot | undefined): Promise<Omit<Made, 'memory'>> {
  if (previous?.digest !== from) throw new DaypassError('snapshot_base_unknown', 'The worker has another snapshot');
  const changes = changesIn(delta);
  const parts = changes
    .filter(({ kind }) => PART_KINDS.includes(kind))
    .map(({ kind, name, place }) => ({ kind, name, content: place && contentOf(place) }));
  return { entries: previous.made.entries.after(changes), parts: await changeParts(previous.made.parts, parts) };
}

function make({ manifest, digest, defaultService }: Head, made: Made): ActiveSnapshot {
  const { entries, parts, memory } = made;
  const { keys, keyPrints, poolNodes, isRevoked, isCutOff } = parts;
  const services = servicesIn(entries, parts.scopesOf, memory);
  return Object.freeze({
    version: manifest.version,
    digest,
    expiresAt: manifest.expires_at,
    fleet: manifest.fleet,
    pool: manifest.pool,
    services,
    defaultService: defaultService === undefined ? undefined : services.get(defaultService),
    ...{ keys, keyPrints, poolNodes, isRevoked, isCutOff },
    made,
  });
}
