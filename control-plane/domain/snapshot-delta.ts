// What leads from the state that a node has to the newest snapshot, made once for all nodes that have it.
import { type Entry, type EntryChange, entryBytes } from '@daypass/core/snapshot';
import type { SnapshotStore } from '../store/interface.ts';
import type { Published } from './published.ts';
import type { SnapshotState } from './snapshot-state.ts';

/** A delta; its manifest, signature and key are those of the snapshot that it leads to. */
export type SnapshotDelta = {
  readonly from: SnapshotState;
  readonly to: Published;
  /** New or another, in the order of kind and name. */
  readonly changed: readonly Entry[];
  /** Gone, in the order of kind and name. */
  readonly removed: readonly Pick<Entry, 'kind' | 'name'>[];
  /** What its entries count for. */
  readonly bytes: number;
};

/** Finds what leads from a state to a snapshot; undefined: the state is not known, or the whole is hardly more. */
export type Deltas = (to: Published, from: SnapshotState) => Promise<SnapshotDelta | undefined>;

/** Of one snapshot; what is more is looked up by each node that asks at another time. */
const KEPT_MAX = 64;
const KEPT_BYTES_MAX = 64 * 1024 * 1024;
/** A delta that is more than this of the whole is not worth its other way of being checked. */
const SHARE_MAX = 0.5;

/** Makes the finder, over what is stored. */
export const createDeltas = (snapshots: Pick<SnapshotStore, 'at' | 'changesBetween'>): Deltas => {
  const kept = new WeakMap<Published, Kept>();

  const changesSince = async (from: SnapshotState, to: Published): Promise<readonly EntryChange[] | undefined> => {
    if (to.step?.from.version === from.version && to.step.from.digest === from.digest) return to.step.changes;
    const row = await snapshots.at(to.pool, from.version);
    // A release before this one kept no entries, and no signature.
    if (row?.digest !== from.digest || row.signature === undefined) return undefined;
    return snapshots.changesBetween(to.pool, from.version, to.version);
  };
  const find: Deltas = async (to, from) => {
    const changes = await changesSince(from, to);
    return changes && deltaOf(from, to, changes);
  };

  return (to, from) => {
    const own = kept.get(to) ?? { found: new Map(), bytes: 0 };
    kept.set(to, own);
    const key = `${from.version} ${from.digest}`;
    const known = own.found.get(key);
    if (known !== undefined) return known;
    const found = find(to, from);
    if (own.found.size < KEPT_MAX) keep(own, key, found);
    return found;
  };
};

type Kept = { readonly found: Map<string, Promise<SnapshotDelta | undefined>>; bytes: number };

/** Those who ask while it is looked for share it in any case. What failed is asked again. */
const keep = (own: Kept, key: string, found: Promise<SnapshotDelta | undefined>): void => {
  own.found.set(key, found);
  const forget = (): void => {
    own.found.delete(key);
  };
  found.then((delta) => {
    const bytes = delta?.bytes ?? 0;
    if (own.bytes + bytes > KEPT_BYTES_MAX) forget();
    else own.bytes += bytes;
  }, forget);
};

const deltaOf = (from: SnapshotState, to: Published, changes: readonly EntryChange[]): SnapshotDelta | undefined => {
  const bytes = changes.reduce(
    (sum, { kind, name, content }) => sum + entryBytes({ kind, name, content: content ?? NO_BYTES }),
    0,
  );
  if (bytes > to.size.bytes * SHARE_MAX) return undefined;
  const changed = changes.flatMap(({ kind, name, content }) =>
    content === undefined ? [] : [{ kind, name, content }],
  );
  const removed = changes.flatMap(({ kind, name, content }) => (content === undefined ? [{ kind, name }] : []));
  return { from, to, changed, removed, bytes };
};

const NO_BYTES = new Uint8Array(0);
