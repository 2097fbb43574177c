// Verifies a whole snapshot where it lies, a little at a time; what is as it was in the active one is not read again.
import { DaypassError } from '@daypass/core/errors';
import type { Sha256 } from '@daypass/core/hash';
import { buildHashes, leafAt, rootOf } from '@daypass/core/hash-tree';
import type { CompiledRules } from '@daypass/core/rule-match';
import {
  checkSize,
  compareEntries,
  type Entry,
  type EntryName,
  entryBytes,
  entryHash,
  type Manifest,
} from '@daypass/core/snapshot';
import { checkEntries, defaultAmong, serviceOfScope } from '@daypass/core/snapshot-consistency';
import { type Entries, readEntries } from '@daypass/core/snapshot-entry';
import { prepareService } from '../active-service.ts';
import { createServiceMemory } from '../active-services.ts';
import { contentAt, type EntryTable, findIndex, nameAt, placeOf, readAt, slotOf } from './entry-table.ts';
import { bufferOf, type Segment } from './handover.ts';
import { type DeltaMessage, readEntry } from './message.ts';
import type { Pace } from './pace.ts';

/** Where entries lie, in their order; nothing of it is believed yet. */
export type Places = Pick<EntryTable, 'segments' | 'order'>;

/** A message that holds all entries, and deltas that led on from there, the last of them newest. */
export function placesOf(
  base: Segment & { readonly places: Uint32Array },
  deltas: readonly (Segment & { readonly delta: DeltaMessage })[] = [],
): Places {
  const segments = new Map([base, ...deltas].map((segment) => [slotOf(segment.number), bufferOf(segment)]));
  const order = Float64Array.from(base.places, (at) => placeOf(base.number, at));
  return { segments, order: merged({ segments, order }, deltas) };
}

/**
 * Checks that entries are exactly those that a verified manifest covers, that each can be used, and that they fit each
 * other. Entries that are as in `known` are not read again. Throws the `snapshot_*` code of what refused.
 */
export async function verifyEntries(
  places: Places,
  manifest: Manifest,
  sha256: Sha256,
  pace: Pace,
  known?: EntryTable,
): Promise<EntryTable> {
  const same = createComparison(places, known);
  // TUF 5.5.2, 5.6.2. Entries: exactly those that were signed, each once.
  const size = { entries: places.order.length, bytes: 0 };
  checkSize(size.entries, 0);
  let last: EntryName | undefined;
  const leaf = (index: number): Uint8Array => {
    const entry = entryAt(places, index);
    size.bytes += entryBytes(entry);
    if (last !== undefined && compareEntries(last, entry) >= 0)
      throw new DaypassError('snapshot_malformed', `The entry ${entry.kind}/${entry.name} is out of order`);
    last = entry;
    const before = same.find(index, entry);
    return before === undefined ? entryHash(entry, sha256) : leafAt(known?.hashes ?? [], before);
  };
  const hashes = await buildHashes(size.entries, leaf, { sha256, turn: pace });
  checkSize(size.entries, size.bytes);
  if (rootOf(hashes, sha256) !== manifest.root)
    throw new DaypassError('snapshot_root_mismatch', 'The entries do not fit the manifest');
  const defaultService = await readAll(places, manifest, pace, same);
  return { ...places, hashes, size, defaultService };
}

/** Checks that services can be used: workers make them ready only when they are asked for. */
export type ServiceCheck = (entries: Pick<Entries, 'services'>) => void;

/** The check throws `snapshot_inconsistent`, naming the service. */
export function createServiceCheck(): ServiceCheck {
  const { fieldRules } = createServiceMemory();
  return ({ services }) => {
    for (const service of services.values()) prepareService(service, undefined, NO_SCOPES, fieldRules);
  };
}

const NO_SCOPES: ReadonlyMap<string, CompiledRules> = new Map();

const entryAt = (places: Places, index: number): Entry => readAt(places, index, readEntry);

/** The places after deltas: of each entry the newest, where it is not gone. */
function merged(base: Places, deltas: readonly (Segment & { readonly delta: DeltaMessage })[]): Float64Array {
  const newest = new Map<string, EntryName & { readonly place: number | undefined }>();
  for (const { number, delta } of deltas) {
    for (const { kind, name } of delta.removed) newest.set(`${kind}/${name}`, { kind, name, place: undefined });
    for (const { kind, name, at } of delta.changed)
      newest.set(`${kind}/${name}`, { kind, name, place: placeOf(number, at) });
  }
  if (newest.size === 0) return base.order;
  const order: number[] = [];
  const changes = [...newest.values()].sort(compareEntries);
  let taken = 0;
  for (let index = 0; index < base.order.length; index += 1) {
    const entry = nameAt(base, index);
    let replaced = false;
    for (let change = changes[taken]; change !== undefined; change = changes[taken]) {
      const compared = compareEntries(change, entry);
      if (compared > 0) break;
      if (change.place !== undefined) order.push(change.place);
      replaced ||= compared === 0;
      taken += 1;
    }
    if (!replaced) order.push(base.order[index] ?? Number.NaN);
  }
  for (const { place } of changes.slice(taken)) if (place !== undefined) order.push(place);
  return Float64Array.from(order);
}

/** Reads what is not as it was; says which service is the default. */
async function readAll(places: Places, { pool }: Manifest, pace: Pace, same: Comparison): Promise<string | undefined> {
  const hasService = (name: string): boolean => findIndex(places, { kind: 'service', name }) !== undefined;
  const checkServices = createServiceCheck();
  let defaultService: string | undefined;
  for (let index = 0; index < places.order.length; index += 1) {
    const due = pace();
    if (due !== undefined) await due;
    const entry = nameAt(places, index);
    if (same.isSame(index)) {
      checkOwner(entry, hasService);
      continue;
    }
    const read = readEntries([{ ...entry, content: contentAt(places, index) }]);
    checkEntries(read, { pool, hasService });
    checkServices(read);
    defaultService = defaultAmong(defaultService, read.services.values());
  }
  return defaultService;
}

/** What is as it was can be used, but its service may be gone. */
function checkOwner({ kind, name }: EntryName, hasService: (name: string) => boolean): void {
  const service = kind === 'credential' ? name : kind === 'scope' ? serviceOfScope(name) : undefined;
  if (service !== undefined && !hasService(service))
    throw new DaypassError('snapshot_inconsistent', `The entry ${kind}/${name} is of no service`);
}

type Comparison = {
  /** Where an entry stands in the known table, if it holds the same there; asked for index after index. */
  find(index: number, entry: Entry): number | undefined;
  isSame(index: number): boolean;
};

function createComparison(places: Places, known: EntryTable | undefined): Comparison {
  if (known === undefined) return { find: () => undefined, isSame: () => false };
  const same = new Uint8Array(places.order.length);
  let before = 0;
  return {
    find(index, entry) {
      while (before < known.order.length && compareEntries(nameAt(known, before), entry) < 0) before += 1;
      if (before >= known.order.length || compareEntries(nameAt(known, before), entry) !== 0) return undefined;
      if (Buffer.compare(contentAt(known, before), entry.content) !== 0) return undefined;
      // A cut-off names its service within, and a default service must be the only one.
      const isReadAgain = entry.kind === 'cutoff' || (entry.kind === 'service' && entry.name === known.defaultService);
      same[index] = Number(!isReadAgain);
      return before;
    },
    isSame: (index) => same[index] === 1,
  };
}
