// All entries of the active snapshot as the main thread keeps them: where each lies, in their order, and the hashes over them.
import { changeHashes, type Hashing, type HashTree, type LeafEdit, rootOf } from '@daypass/core/hash-tree';
import { compareEntries, type EntryChange, type EntryName, entryHash } from '@daypass/core/snapshot';
import { serviceOfScope } from '@daypass/core/snapshot-consistency';
import type { DeltaBase, DeltaNext, SnapshotSize } from '@daypass/core/snapshot-delta';
import { readEntries } from '@daypass/core/snapshot-entry';
import { bufferOf, type Segment } from './handover.ts';
import { type DeltaMessage, readContent, readName } from './message.ts';

/** The entries of one snapshot. */
export type EntryTable = {
  /** The messages in which entries lie, by `slotOf` their numbers. */
  readonly segments: Map<number, Buffer>;
  /** Where each entry lies, in their order, as `placeOf` says it. */
  readonly order: Float64Array;
  readonly hashes: HashTree;
  readonly size: SnapshotSize;
  readonly defaultService: string | undefined;
};

/** Places of a segment are below this. */
const PLACES = 2 ** 32;
/** Slots are below this: a slot and a place are together a number that is exact. */
const SLOTS = 2 ** 21;

/** What a table calls a segment. Numbers never end; of those in one table no two may have one slot. */
export const slotOf = (number: number): number => number % SLOTS;

/** Where something lies: the number of the segment, and the place there. */
export const placeOf = (number: number, at: number): number => slotOf(number) * PLACES + at;

/** Entries after a delta, once it is taken. */
export type TableNext = DeltaNext & {
  /** The table after the delta. The table before is of no use any more. */
  take(made: Pick<EntryTable, 'size' | 'defaultService'>): EntryTable;
};

/** What the entry at an index is called. */
export const nameAt = (table: Pick<EntryTable, 'segments' | 'order'>, index: number): EntryName =>
  readAt(table, index, readName);

/** What the entry at an index holds, as it lies there. */
export const contentAt = (table: Pick<EntryTable, 'segments' | 'order'>, index: number): Buffer =>
  readAt(table, index, readContent);

/** Reads from where the entry at an index lies. */
export function readAt<T>(
  { segments, order }: Pick<EntryTable, 'segments' | 'order'>,
  index: number,
  read: (message: Buffer, at: number) => T,
): T {
  const place = order[index];
  const message = place === undefined ? undefined : segments.get(Math.floor(place / PLACES));
  if (place === undefined || message === undefined) throw new RangeError('no such entry');
  return read(message, place % PLACES);
}

/** The index of an entry, or of the first one behind where it would be. */
export function indexOf(table: Pick<EntryTable, 'segments' | 'order'>, wanted: EntryName): number {
  let [low, high] = [0, table.order.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareEntries(nameAt(table, middle), wanted) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The index of an entry that is there. */
export function findIndex(table: Pick<EntryTable, 'segments' | 'order'>, wanted: EntryName): number | undefined {
  const index = indexOf(table, wanted);
  return index < table.order.length && compareEntries(nameAt(table, index), wanted) === 0 ? index : undefined;
}

/** A table as the base of a delta that lies in a segment. */
export function baseFor(
  table: EntryTable,
  segment: Segment,
  { changed, removed }: DeltaMessage,
  hashing: Hashing,
): DeltaBase<TableNext> {
  const content = (wanted: EntryName): Buffer | undefined => {
    const index = findIndex(table, wanted);
    return index === undefined ? undefined : contentAt(table, index);
  };
  const places = new Map(changed.map((entry) => [keyOf(entry), placeOf(segment.number, entry.at)]));
  const gone = new Set(removed.map(keyOf));
  return {
    size: table.size,
    defaultService: table.defaultService,
    content,
    async change(changes) {
      const edits = await editsOf(table, changes, hashing);
      const hashes = await changeHashes(table.hashes, edits, hashing);
      const isThere = (wanted: EntryName): boolean => {
        const key = keyOf(wanted);
        return places.has(key) || (!gone.has(key) && findIndex(table, wanted) !== undefined);
      };
      return {
        root: rootOf(hashes, hashing.sha256),
        hasService: (name) => isThere({ kind: 'service', name }),
        belongingTo: createBelongings(table, changed, isThere),
        take({ size, defaultService }) {
          const segments = table.segments.set(slotOf(segment.number), bufferOf(segment));
          const order = reorder(
            table.order,
            edits,
            changes.map((change) => places.get(keyOf(change))),
          );
          return { segments, order, hashes, size, defaultService };
        },
      };
    },
  };
}

const keyOf = ({ kind, name }: EntryName): string => `${kind}/${name}`;

async function editsOf(
  table: EntryTable,
  changes: readonly EntryChange[],
  { sha256, turn }: Hashing,
): Promise<readonly LeafEdit[]> {
  const edits: LeafEdit[] = [];
  for (const change of changes) {
    const index = indexOf(table, change);
    const isThere = index < table.order.length && compareEntries(nameAt(table, index), change) === 0;
    const { kind, name, content } = change;
    edits.push({
      at: index,
      isThere,
      leaf: content === undefined ? undefined : entryHash({ kind, name, content }, sha256),
    });
    const due = turn();
    if (due !== undefined) await due;
  }
  return edits;
}

/** Where nothing moves, places are changed where they stand. */
function reorder(
  order: Float64Array,
  edits: readonly LeafEdit[],
  places: readonly (number | undefined)[],
): Float64Array {
  if (edits.every(({ isThere, leaf }) => isThere && leaf !== undefined)) {
    for (const [index, edit] of edits.entries()) order[edit.at] = places[index] ?? Number.NaN;
    return order;
  }
  const growth = edits.reduce((sum, { isThere, leaf }) => sum + Number(leaf !== undefined) - Number(isThere), 0);
  const fresh = new Float64Array(order.length + growth);
  let [taken, written] = [0, 0];
  const takeUntil = (end: number): void => {
    fresh.set(order.subarray(taken, end), written);
    written += end - taken;
    taken = end;
  };
  for (const [index, { at: place, isThere, leaf }] of edits.entries()) {
    takeUntil(place);
    if (isThere) taken += 1;
    if (leaf === undefined) continue;
    fresh[written] = places[index] ?? Number.NaN;
    written += 1;
  }
  takeUntil(order.length);
  return fresh;
}

/** Finds what belongs to a service that is gone; cut-offs are read once for all of them. */
function createBelongings(
  table: EntryTable,
  changed: DeltaMessage['changed'],
  isThere: (entry: EntryName) => boolean,
): DeltaNext['belongingTo'] {
  let cutOffs: ReadonlyMap<string, EntryName> | undefined;
  return (service) => {
    const credential = { kind: 'credential', name: service };
    if (isThere(credential)) return credential;
    const scope =
      scopesFrom(table, service).find(isThere) ??
      changed.find(({ kind, name }) => kind === 'scope' && serviceOfScope(name) === service);
    if (scope !== undefined) return scope;
    cutOffs ??= cutOffsByService(table, changed, isThere);
    return cutOffs.get(service);
  };
}

function scopesFrom(table: EntryTable, service: string): readonly EntryName[] {
  const found: EntryName[] = [];
  for (let index = indexOf(table, { kind: 'scope', name: `${service}/` }); index < table.order.length; index += 1) {
    const entry = nameAt(table, index);
    if (entry.kind !== 'scope' || serviceOfScope(entry.name) !== service) break;
    found.push(entry);
  }
  return found;
}

function cutOffsByService(
  table: EntryTable,
  changed: DeltaMessage['changed'],
  isThere: (entry: EntryName) => boolean,
): ReadonlyMap<string, EntryName> {
  const services = new Map<string, EntryName>();
  const add = (entry: EntryName, content: Uint8Array): void => {
    for (const { service } of readEntries([{ ...entry, content }]).cutoffs)
      if (service !== undefined) services.set(service, entry);
  };
  const fresh = new Set(changed.map(keyOf));
  for (let index = indexOf(table, { kind: 'cutoff', name: '' }); index < table.order.length; index += 1) {
    const entry = nameAt(table, index);
    if (entry.kind !== 'cutoff') break;
    if (!fresh.has(keyOf(entry)) && isThere(entry)) add(entry, contentAt(table, index));
  }
  for (const entry of changed) if (entry.kind === 'cutoff') add(entry, entry.content);
  return services;
}
