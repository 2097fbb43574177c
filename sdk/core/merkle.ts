// The Merkle root over a snapshot's entries (tree hash of RFC 6962 §2.1), at once or by what changed.
import { DaypassError } from './errors.ts';
import { type Sha256, toHex } from './hash.ts';
import { changeHashes, type Hashing, type HashTree, type LeafEdit, leafHash, rootOf, rootOver } from './hash-tree.ts';

/** One part of a snapshot; `content` is JSON bytes. */
export type Entry = { readonly kind: string; readonly name: string; readonly content: Uint8Array };

/** What an entry is called. */
export type EntryName = Pick<Entry, 'kind' | 'name'>;

/** An entry that is to be there, or without content one that is to be gone. */
export type EntryChange = EntryName & { readonly content: Uint8Array | undefined };

/** Entries in their order and every hash over them: of a changed tree only what changed is hashed anew. */
export type MerkleTree = { readonly entries: readonly Entry[]; readonly hashes: HashTree };

/** The tree of no entries. */
export const EMPTY_TREE: MerkleTree = { entries: [], hashes: [] };

/** The order of entries: by kind, then by name, in UTF-16 code units. */
export function compareEntries(a: EntryName, b: EntryName): number {
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
  return rootOver(
    sorted.map((entry) => entryHash(entry, sha256)),
    sha256,
  );
}

/** Hex root of a tree: `merkleRoot` of its entries. */
export const treeRoot = ({ hashes }: MerkleTree, sha256: Sha256): string => rootOf(hashes, sha256);

/** The leaf hash of an entry. */
export const entryHash = ({ kind, name, content }: Entry, sha256: Sha256): Uint8Array =>
  leafHash(ENCODER.encode(JSON.stringify([kind, name, toHex(sha256(content))])), sha256);

const ENCODER = new TextEncoder();

/** Where the entry is, or would be, among entries in their order. */
export function placeOf(entries: readonly Entry[], wanted: EntryName): number {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries[middle];
    if (entry !== undefined && compareEntries(entry, wanted) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The entry of that kind and name among entries in their order. */
export function findEntry(entries: readonly Entry[], wanted: EntryName): Entry | undefined {
  const entry = entries[placeOf(entries, wanted)];
  return entry !== undefined && compareEntries(entry, wanted) === 0 ? entry : undefined;
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
  const places = due.map((change) => ({ change, at: placeOf(tree.entries, change) }));
  const hashing = withTurns(sha256, turn);
  const edits: LeafEdit[] = [];
  for (const { change, at } of places) {
    const known = tree.entries[at];
    const isThere = known !== undefined && compareEntries(known, change) === 0;
    const { kind, name, content } = change;
    edits.push({ at, isThere, leaf: content === undefined ? undefined : entryHash({ kind, name, content }, sha256) });
    const waiting = hashing.turn();
    if (waiting !== undefined) await waiting;
  }
  return {
    entries: mergeEntries(tree.entries, due, edits),
    hashes: await changeHashes(tree.hashes, edits, hashing),
  };
}

/** Whether two byte strings are the same. */
export const isEqual = (a: Uint8Array, b: Uint8Array): boolean =>
  a === b || (a.length === b.length && a.every((byte, at) => byte === b[at]));

const isSame = (entries: readonly Entry[], change: EntryChange): boolean => {
  const known = findEntry(entries, change);
  if (known === undefined || change.content === undefined) return known === undefined && change.content === undefined;
  return isEqual(known.content, change.content);
};

/** Hashing that gives others a turn after every few hundred hashes. */
export const withTurns = (sha256: Sha256, turn: () => Promise<void>): Hashing => {
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

const TURN_HASHES = 512;

const mergeEntries = (
  old: readonly Entry[],
  changes: readonly EntryChange[],
  edits: readonly LeafEdit[],
): readonly Entry[] => {
  // Nothing moves: a whole array is copied, which costs far less than to make it anew.
  if (edits.every(({ isThere, leaf }) => isThere && leaf !== undefined)) return replaceEntries(old, changes, edits);
  const entries: Entry[] = [];
  let taken = 0;
  const takeUntil = (end: number): void => {
    for (; taken < end; taken += 1) {
      const entry = old[taken];
      if (entry !== undefined) entries.push(entry);
    }
  };
  for (const [index, { kind, name, content }] of changes.entries()) {
    const edit = edits[index];
    if (edit === undefined) continue;
    takeUntil(edit.at);
    if (edit.isThere) taken += 1;
    if (content !== undefined) entries.push({ kind, name, content });
  }
  takeUntil(old.length);
  return entries;
};

const replaceEntries = (
  old: readonly Entry[],
  changes: readonly EntryChange[],
  edits: readonly LeafEdit[],
): readonly Entry[] => {
  const entries = old.slice();
  for (const [index, { kind, name, content }] of changes.entries()) {
    const at = edits[index]?.at;
    if (at !== undefined && content !== undefined) entries[at] = { kind, name, content };
  }
  return entries;
};
