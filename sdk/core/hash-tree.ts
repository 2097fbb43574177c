// The hashes of a Merkle tree (RFC 6962 §2.1) in flat memory: a changed tree shares with the one before what is the same.
import { DaypassError } from './errors.ts';
import { type Sha256, toHex } from './hash.ts';

/** Hashes of one level, from the left, in chunks of `CHUNK` that levels share. */
export type HashLevel = { readonly length: number; readonly chunks: readonly Uint8Array[] };

/** From the leaves to the root; no level where there are no leaves. Immutable. */
export type HashTree = readonly HashLevel[];

/** At a place among the old leaves: `isThere` replaces, or without `leaf` drops, the one there; else `leaf` comes before it. */
export type LeafEdit = { readonly at: number; readonly isThere: boolean; readonly leaf: Uint8Array | undefined };

/** How to hash, and whom to give a turn: `turn` says undefined, or what to wait for, after each hash. */
export type Hashing = { readonly sha256: Sha256; readonly turn: () => Promise<void> | undefined };

const HASH_BYTES = 32;
const CHUNK = 256;

/** Hex root. */
export const rootOf = (tree: HashTree, sha256: Sha256): string => {
  const top = tree.at(-1);
  return toHex(top === undefined ? sha256(new Uint8Array(0)) : hashAt(top, 0));
};

/** A leaf of a tree, by its place. */
export function leafAt(tree: HashTree, at: number): Uint8Array {
  const [leaves] = tree;
  if (leaves === undefined) throw tooShort();
  return hashAt(leaves, at);
}

/** The hash of a leaf's bytes. */
export const leafHash = (bytes: Uint8Array, sha256: Sha256): Uint8Array => {
  const input = new Uint8Array(bytes.length + 1);
  input.set(bytes, 1);
  return sha256(input);
};

/** Hex root over leaf hashes, at once. */
export function rootOver(leaves: readonly Uint8Array[], sha256: Sha256): string {
  const hash = hasher(sha256);
  let level = levelOf(leaves);
  while (level.length > 1) {
    const below = level;
    level = levelOf(Array.from({ length: halved(below.length) }, (_, at) => nodeAt(below, at, hash)));
  }
  return rootOf(level.length === 0 ? [] : [level], sha256);
}

/** The tree over `count` leaf hashes, which `leaf` gives from the left. */
export async function buildHashes(
  count: number,
  leaf: (at: number) => Uint8Array,
  { sha256, turn }: Hashing,
): Promise<HashTree> {
  const leaves = createWriter(EMPTY_LEVEL, 0);
  for (let at = 0; at < count; at += 1) {
    leaves.push(leaf(at));
    const due = turn();
    if (due !== undefined) await due;
  }
  return count === 0 ? [] : raise([leaves.done()], [], { touched: [], from: 0 }, { sha256, turn });
}

/**
 * The tree after edits, which are in the order of their places, one for each old leaf and any number before it. Costs a
 * path to the root for each leaf that is replaced, and from the first that comes or goes all hashes behind it.
 */
export async function changeHashes(tree: HashTree, edits: readonly LeafEdit[], hashing: Hashing): Promise<HashTree> {
  const old = tree[0] ?? EMPTY_LEVEL;
  const first = edits.findIndex(({ isThere, leaf }) => !isThere || leaf === undefined);
  const replacing = first < 0 ? edits : edits.slice(0, first);
  const from = edits[first]?.at ?? Number.POSITIVE_INFINITY;
  const leaves = createWriter(old, from);
  for (const { at, leaf } of replacing) if (leaf !== undefined) leaves.set(at, leaf);
  let taken = from;
  const takeUntil = async (end: number): Promise<void> => {
    for (; taken < end; taken += 1) {
      leaves.push(hashAt(old, taken));
      const due = hashing.turn();
      if (due !== undefined) await due;
    }
  };
  for (const { at, isThere, leaf } of first < 0 ? [] : edits.slice(first)) {
    await takeUntil(at);
    if (isThere) taken += 1;
    if (leaf !== undefined) leaves.push(leaf);
  }
  await takeUntil(old.length);
  const level = leaves.done();
  return level.length === 0 ? [] : raise([level], tree, { touched: replacing.map(({ at }) => at), from }, hashing);
}

/** Places that hold another hash, and the first from which on everything has moved; infinite: nothing has. */
type Moved = { readonly touched: readonly number[]; readonly from: number };

/** All levels over the leaves, taking from the old tree what is the same. */
async function raise(levels: HashLevel[], old: HashTree, moved: Moved, { sha256, turn }: Hashing): Promise<HashTree> {
  const hash = hasher(sha256);
  let { touched, from } = moved;
  for (let below = levels[0] ?? EMPTY_LEVEL; below.length > 1; ) {
    touched = [...new Set(touched.map((at) => at >> 1))];
    from = Math.floor(from / 2);
    const level = createWriter(old[levels.length] ?? EMPTY_LEVEL, from);
    for (const at of touched) {
      if (at < from) level.set(at, nodeAt(below, at, hash));
      const due = turn();
      if (due !== undefined) await due;
    }
    for (let at = level.length(); at < halved(below.length); at += 1) {
      level.push(nodeAt(below, at, hash));
      const due = turn();
      if (due !== undefined) await due;
    }
    below = level.done();
    levels.push(below);
  }
  return levels;
}

const EMPTY_LEVEL: HashLevel = { length: 0, chunks: [] };

const halved = (length: number): number => Math.ceil(length / 2);

function levelOf(hashes: readonly Uint8Array[]): HashLevel {
  const writer = createWriter(EMPTY_LEVEL, 0);
  for (const hash of hashes) writer.push(hash);
  return writer.done();
}

/** A level that begins as the first `from` hashes of an old one, whose chunks are copied when they are written to. */
function createWriter(old: HashLevel, from: number) {
  let length = Math.min(old.length, from);
  const chunks = old.chunks.slice(0, Math.ceil(length / CHUNK));
  const own = new Set<number>();
  const chunkFor = (at: number): Uint8Array => {
    const place = Math.floor(at / CHUNK);
    const known = chunks[place];
    if (known !== undefined && own.has(place)) return known;
    const fresh = new Uint8Array(CHUNK * HASH_BYTES);
    if (known !== undefined) fresh.set(known);
    own.add(place);
    chunks[place] = fresh;
    return fresh;
  };
  const set = (at: number, hash: Uint8Array): void => chunkFor(at).set(hash, (at % CHUNK) * HASH_BYTES);
  return {
    length: (): number => length,
    set,
    push: (hash: Uint8Array): void => {
      set(length, hash);
      length += 1;
    },
    done: (): HashLevel => ({ length, chunks }),
  };
}

const tooShort = (): DaypassError => new DaypassError('internal', 'A level of the tree is too short');

function hashAt(level: HashLevel, at: number): Uint8Array {
  const chunk = at < level.length ? level.chunks[Math.floor(at / CHUNK)] : undefined;
  if (chunk === undefined) throw tooShort();
  const start = (at % CHUNK) * HASH_BYTES;
  return chunk.subarray(start, start + HASH_BYTES);
}

/** An odd last node moves up unchanged, which is the same tree as the RFC's split at a power of two. */
function nodeAt(below: HashLevel, at: number, hash: (pair: Uint8Array) => Uint8Array): Uint8Array {
  if (2 * at + 1 >= below.length) return hashAt(below, 2 * at);
  // Two that belong together are in one chunk.
  const chunk = below.chunks[Math.floor((2 * at) / CHUNK)];
  if (chunk === undefined) throw tooShort();
  const start = ((2 * at) % CHUNK) * HASH_BYTES;
  return hash(chunk.subarray(start, start + 2 * HASH_BYTES));
}

const hasher = (sha256: Sha256): ((pair: Uint8Array) => Uint8Array) => {
  const input = new Uint8Array(1 + 2 * HASH_BYTES);
  input[0] = 0x01;
  return (pair) => {
    input.set(pair, 1);
    return sha256(input);
  };
};
