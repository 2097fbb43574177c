// The Merkle root over a snapshot's entries (tree hash of RFC 6962 §2.1), at once or by what changed.
import { DaypassError } from './errors.ts';
import { type Sha256, toHex } from './hash.ts';

/** One part of a snapshot; `content` is JSON bytes. */
export type Entry = { readonly kind: string; readonly name: string; readonly content: Uint8Array };

/** An entry that is to be there, or without content one that is to be gone. */
export type EntryChange = Pick<Entry, 'kind' | 'name'> & { readonly content: Uint8Array | undefined };

/** Entries in their order and every hash over them: of a changed tree only what changed is hashed anew. */
export type MerkleTree = {
  readonly entries: readonly Entry[];
  /** From the leaves to the root; none where there are no entries. */
  readonly levels: readonly (readonly Uint8Array[])[];
};

/** The tree of no entries. */
export const EMPTY_TREE: MerkleTree = { entries: [], levels: [] };

/** The order of entries: by kind, then by name, in UTF-16 code units. */
export function compareEntries(a: Pick<Entry, 'kind' | 'name'>, b: Pick<Entry, 'kind' | 'name'>): number {
  if (a.kind !== b.kind) return a.kind < b.kind ? -1 : 1;
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return 0;
}

/** Hex root over entries in any order. Throws `snapshot_malformed` when two have one kind and name. */
export function merkleRoot(entries: readonly Entry[], sha256: Sha256): string {
  const sorted = entries.toSorted(compareEntries);
  sorted.forEach((entry, at) => {
    const before = sorted[at - 1];
    if (before !== undefined && compareEntries(before, entry) === 0)
      throw new DaypassError('snapshot_malformed', `The entry ${entry.kind}/${entry.name} is there twice`);
  });
  let level: readonly Uint8Array[] = sorted.map((entry) => leafHash(entry, sha256));
  while (level.length > 1) level = nextLevel(level, sha256);
  return rootOf([level], sha256);
}

/** Hex root of a tree: `merkleRoot` of its entries. */
export const treeRoot = ({ levels }: MerkleTree, sha256: Sha256): string => rootOf(levels, sha256);

/** Where the entry is, or would be, among entries in their order. */
export function placeOf(entries: readonly Entry[], wanted: Pick<Entry, 'kind' | 'name'>): number {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries[middle];
    if (entry !== undefined && compareEntries(entry, wanted) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * The tree after changes, one at most for a kind and name. Costs a path to the root for each entry that is replaced, and
 * for one that comes or goes the hashes over all that stand behind it; `turn` is awaited every few hundred hashes.
 */
export async function changeTree(
  tree: MerkleTree,
  changes: readonly EntryChange[],
  sha256: Sha256,
  turn: () => Promise<void>,
): Promise<MerkleTree> {
  const due = changes.toSorted(compareEntries).filter((change) => !isSame(tree.entries, change));
  if (due.length === 0) return tree;
  const hashing = withTurns(sha256, turn);
  const merged = await merge(tree, due, hashing);
  const levels = [merged.leaves];
  let level = merged.leaves;
  let { replaced, from } = merged;
  while (level.length > 1) {
    replaced = new Set([...replaced].map((index) => index >> 1));
    from = Math.floor(from / 2);
    level = await changeLevel(level, tree.levels[levels.length] ?? [], { replaced, from }, hashing);
    levels.push(level);
  }
  return { entries: merged.entries, levels: level.length === 0 ? [] : levels };
}

const isSame = (entries: readonly Entry[], change: EntryChange): boolean => {
  const known = entries[placeOf(entries, change)];
  if (known === undefined || compareEntries(known, change) !== 0) return change.content === undefined;
  return change.content !== undefined && isEqual(known.content, change.content);
};

const isEqual = (a: Uint8Array, b: Uint8Array): boolean =>
  a === b || (a.length === b.length && a.every((byte, at) => byte === b[at]));

type Hashing = { readonly sha256: Sha256; readonly turn: () => Promise<void> | undefined };

/** The loop gets its turn after so many. */
const TURN_HASHES = 512;

const withTurns = (sha256: Sha256, turn: () => Promise<void>): Hashing => {
  let left = TURN_HASHES;
  return {
    sha256,
    turn: () => {
      left -= 1;
      if (left > 0) return undefined;
      left = TURN_HASHES;
      return turn();
    },
  };
};

/** Places that hold something else now, and the first from which on everything has moved; infinite: nothing has. */
type Moved = { readonly replaced: ReadonlySet<number>; readonly from: number };
type Merged = Moved & { readonly entries: readonly Entry[]; readonly leaves: readonly Uint8Array[] };

const merge = async (tree: MerkleTree, changes: readonly EntryChange[], hashing: Hashing): Promise<Merged> => {
  const [oldLeaves = []] = tree.levels;
  const places = changes.map((change) => placeOf(tree.entries, change));
  if (changes.every((change, at) => isReplaced(tree.entries[places[at] ?? -1], change))) {
    return replaceAll(tree, changes, places, hashing.sha256);
  }
  const entries: Entry[] = [];
  const leaves: Uint8Array[] = [];
  const replaced = new Set<number>();
  let from = Number.POSITIVE_INFINITY;
  let taken = 0;
  const takeUntil = (end: number): void => {
    for (; taken < end; taken += 1) {
      const [entry, leaf] = [tree.entries[taken], oldLeaves[taken]];
      if (entry === undefined || leaf === undefined) continue;
      entries.push(entry);
      leaves.push(leaf);
    }
  };
  for (const change of changes) {
    const place = placeOf(tree.entries, change);
    takeUntil(place);
    const known = tree.entries[place];
    const isThere = known !== undefined && compareEntries(known, change) === 0;
    const { kind, name, content } = change;
    if (isThere) taken += 1;
    if (isThere && content !== undefined) replaced.add(entries.length);
    else from = Math.min(from, entries.length);
    if (content === undefined) continue;
    const entry = { kind, name, content };
    entries.push(entry);
    leaves.push(leafHash(entry, hashing.sha256));
    const due = hashing.turn();
    if (due !== undefined) await due;
  }
  takeUntil(tree.entries.length);
  return { entries, leaves, replaced, from };
};

const isReplaced = (known: Entry | undefined, change: EntryChange): boolean =>
  known !== undefined && change.content !== undefined && compareEntries(known, change) === 0;

/** Nothing moves: whole arrays are copied, which costs far less than to make them anew. */
const replaceAll = (
  tree: MerkleTree,
  changes: readonly EntryChange[],
  places: readonly number[],
  sha256: Sha256,
): Merged => {
  const entries = tree.entries.slice();
  const leaves = (tree.levels[0] ?? []).slice();
  for (const [at, { kind, name, content }] of changes.entries()) {
    const place = places[at];
    if (place === undefined || content === undefined) continue;
    const entry = { kind, name, content };
    entries[place] = entry;
    leaves[place] = leafHash(entry, sha256);
  }
  return { entries, leaves, replaced: new Set(places), from: Number.POSITIVE_INFINITY };
};

const changeLevel = async (
  below: readonly Uint8Array[],
  old: readonly Uint8Array[],
  { replaced, from }: Moved,
  { sha256, turn }: Hashing,
): Promise<readonly Uint8Array[]> => {
  const length = Math.ceil(below.length / 2);
  const level = old.slice(0, Math.min(from, length));
  for (const index of replaced) {
    if (index < level.length) level[index] = nodeAt(below, index, sha256);
  }
  for (let index = level.length; index < length; index += 1) {
    level.push(nodeAt(below, index, sha256));
    const due = turn();
    if (due !== undefined) await due;
  }
  return level;
};

function leafHash(entry: Entry, sha256: Sha256): Uint8Array {
  const data = JSON.stringify([entry.kind, entry.name, toHex(sha256(entry.content))]);
  return sha256(joined(0x00, [new TextEncoder().encode(data)]));
}

const rootOf = (levels: readonly (readonly Uint8Array[])[], sha256: Sha256): string =>
  toHex(levels.at(-1)?.[0] ?? sha256(new Uint8Array(0)));

/** Level by level; an odd last node moves up unchanged, which is the same tree as the RFC's split at a power of two. */
const nextLevel = (level: readonly Uint8Array[], sha256: Sha256): readonly Uint8Array[] =>
  Array.from({ length: Math.ceil(level.length / 2) }, (_, index) => nodeAt(level, index, sha256));

function nodeAt(below: readonly Uint8Array[], index: number, sha256: Sha256): Uint8Array {
  const [left, right] = [below[2 * index], below[2 * index + 1]];
  if (left === undefined) throw new DaypassError('internal', 'A level of the tree is too short');
  return right === undefined ? left : sha256(joined(0x01, [left, right]));
}

function joined(prefix: number, parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 1));
  all[0] = prefix;
  let at = 1;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
