// The Merkle root over a snapshot's entries (tree hash of RFC 6962 §2.1).
import { DaypassError } from './errors.ts';
import { type Sha256, toHex } from './hash.ts';

/** One part of a snapshot; `content` is JSON bytes. */
export type Entry = { readonly kind: string; readonly name: string; readonly content: Uint8Array };

/** The order of entries: by kind, then by name, in UTF-16 code units. */
export function compareEntries(a: Entry, b: Entry): number {
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
  return toHex(
    treeHash(
      sorted.map((entry) => leafHash(entry, sha256)),
      sha256,
    ),
  );
}

function leafHash(entry: Entry, sha256: Sha256): Uint8Array {
  const data = JSON.stringify([entry.kind, entry.name, toHex(sha256(entry.content))]);
  return sha256(joined(0x00, [new TextEncoder().encode(data)]));
}

/** Level by level; an odd last node moves up unchanged, which is the same tree as the RFC's split at a power of two. */
function treeHash(leaves: readonly Uint8Array[], sha256: Sha256): Uint8Array {
  let level = leaves;
  if (level.length === 0) return sha256(new Uint8Array(0));
  while (level.length > 1) level = nextLevel(level, sha256);
  return level[0] ?? sha256(new Uint8Array(0));
}

function nextLevel(level: readonly Uint8Array[], sha256: Sha256): readonly Uint8Array[] {
  const next: Uint8Array[] = [];
  for (let at = 0; at < level.length; at += 2) {
    const pair = level.slice(at, at + 2);
    const [only] = pair;
    if (only !== undefined) next.push(pair.length === 2 ? sha256(joined(0x01, pair)) : only);
  }
  return next;
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
