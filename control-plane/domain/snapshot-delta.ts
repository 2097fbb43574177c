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
};

/** Finds what leads from a state to a snapshot; undefined: the state is not known, or the whole is hardly more. */
export type Deltas = (to: Published, from: SnapshotState) => Promise<SnapshotDelta | undefined>;

/** Of one snapshot; each is looked up where there are more. */
const KEPT_MAX = 64;
/** A delta that is more than this of the whole is not worth its other way of being checked. */
const SHARE_MAX = 0.5;

/** Makes the finder, over what is stored. */
export const createDeltas = (snapshots: Pick<SnapshotStore, 'at' | 'changesBetween'>): Deltas => {
  const kept = new WeakMap<Published, Map<string, Promise<SnapshotDelta | undefined>>>();

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
    const known = kept.get(to) ?? new Map<string, Promise<SnapshotDelta | undefined>>();
    kept.set(to, known);
    const key = `${from.version} ${from.digest}`;
    const found = known.get(key) ?? find(to, from);
    if (known.has(key) || known.size >= KEPT_MAX) return found;
    known.set(key, found);
    // What failed is asked again.
    found.catch(() => known.delete(key));
    return found;
  };
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
  return { from, to, changed, removed };
};

const NO_BYTES = new Uint8Array(0);
