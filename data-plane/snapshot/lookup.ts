// Where each entry of a snapshot lies: by binary search in the message that holds all, but for those that changed since.
import type { EntryName } from '@daypass/core/snapshot';
import { bufferOf, type Segment, type Whole } from './handover.ts';
import { readContent, readDelta, readName } from './message.ts';

/** Where an entry lies: in no two segments that there ever were is there the same spot. */
export type Spot = { readonly segment: number; readonly at: number };
/** Where an entry lies, and the segment. */
export type Place = Spot & { readonly message: Buffer };

/** The entries of one snapshot. Immutable; of the next one it shares what is the same. */
export type Lookup = {
  find(kind: string, name: string): Place | undefined;
  /** All of a kind, in no order. */
  ofKind(kind: string): readonly NamedPlace[];
  /** The entries after changes. */
  after(changes: readonly PlaceChange[]): Lookup;
};

export type NamedPlace = EntryName & { readonly place: Place };

/** An entry that changed: where it lies now, or that it is gone. */
export type PlaceChange = EntryName & { readonly place: Place | undefined };

/** What changed, newest first; together they say of each entry that changed since the base where it lies. */
type Layers = readonly ReadonlyMap<string, PlaceChange>[];
type Base = Whole['base'];

/** The entries of a whole snapshot. */
export function lookUpWhole({ base, deltas }: Whole): Lookup {
  let layers: Layers = [];
  for (const delta of deltas) layers = withLayer(layers, changesIn(delta));
  return make(base, layers);
}

/** What a delta changes. */
export function changesIn(segment: Segment): readonly PlaceChange[] {
  const message = bufferOf(segment);
  const { changed, removed } = readDelta(message);
  return [
    ...changed.map(({ kind, name, at }) => ({ kind, name, place: placeIn(segment.number, message, at) })),
    ...removed.map(({ kind, name }) => ({ kind, name, place: undefined })),
  ];
}

/** What lies at a place. */
export const contentOf = ({ message, at }: Place): Buffer => readContent(message, at);

/** Whether two spots are the same, or both are none. */
export const isSameSpot = (a: Spot | undefined, b: Spot | undefined): boolean =>
  a?.segment === b?.segment && a?.at === b?.at;

const placeIn = (segment: number, message: Buffer, at: number): Place => ({ segment, message, at });

const keyOf = (kind: string, name: string): string => `${kind}/${name}`;

function make(base: Base, layers: Layers): Lookup {
  const message = bufferOf(base);
  const { places } = base;
  /** The first entry that is not before the name. */
  const search = (kind: string, name: string): number => {
    let [low, high] = [0, places.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = readName(message, places[middle] ?? 0);
      const isBefore = entry.kind === kind ? entry.name < name : entry.kind < kind;
      if (isBefore) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const inBase = (kind: string, name: string): Place | undefined => {
    const at = places[search(kind, name)];
    if (at === undefined) return undefined;
    const entry = readName(message, at);
    return entry.kind === kind && entry.name === name ? placeIn(base.number, message, at) : undefined;
  };
  return {
    find(kind, name) {
      const key = keyOf(kind, name);
      for (const layer of layers) {
        const change = layer.get(key);
        if (change !== undefined) return change.place;
      }
      return inBase(kind, name);
    },
    ofKind(kind) {
      const all = new Map<string, PlaceChange>();
      for (let index = search(kind, ''); index < places.length; index += 1) {
        const at = places[index] ?? 0;
        const entry = readName(message, at);
        if (entry.kind !== kind) break;
        all.set(entry.name, { ...entry, place: placeIn(base.number, message, at) });
      }
      for (const layer of layers.toReversed())
        for (const change of layer.values()) if (change.kind === kind) all.set(change.name, change);
      return [...all.values()].flatMap(({ name, place }) => (place === undefined ? [] : [{ kind, name, place }]));
    },
    after: (changes) => make(base, withLayer(layers, changes)),
  };
}

/** Layers at least double from one to the next, so that there are few, and each change is moved seldom. */
function withLayer(layers: Layers, changes: readonly PlaceChange[]): Layers {
  if (changes.length === 0) return layers;
  let top: ReadonlyMap<string, PlaceChange> = new Map(
    changes.map((change) => [keyOf(change.kind, change.name), change]),
  );
  let rest = layers;
  for (let [next] = rest; next !== undefined && next.size < 2 * top.size; [next] = rest) {
    top = new Map([...next, ...top]);
    rest = rest.slice(1);
  }
  return [top, ...rest];
}
