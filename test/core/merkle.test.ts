// The Merkle root is that of RFC 6962 over the sorted entries.
import { toHex } from '@daypass/core/hash';
import {
  changeTree,
  compareEntries,
  EMPTY_TREE,
  type Entry,
  type EntryChange,
  merkleRoot,
  treeRoot,
} from '@daypass/core/merkle';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { codeOf, sha256, utf8 } from './fixture.ts';

/** RFC 6962 §2.1, word for word: split at the largest power of two below n. */
function treeHash(leaves: readonly Uint8Array[]): Uint8Array {
  const [only] = leaves;
  if (only === undefined) return sha256(new Uint8Array(0));
  if (leaves.length === 1) return sha256(Uint8Array.of(0, ...only));
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return sha256(Uint8Array.of(1, ...treeHash(leaves.slice(0, k)), ...treeHash(leaves.slice(k))));
}

const leaf = ({ kind, name, content }: Entry): Uint8Array => utf8(JSON.stringify([kind, name, toHex(sha256(content))]));
const entries = (count: number): readonly Entry[] =>
  Array.from({ length: count }, (_, at) => ({
    kind: 'scope',
    name: `s${String(at).padStart(3, '0')}`,
    content: utf8(`${at}`),
  }));

test('the root of nothing is the hash of nothing', () => {
  expect(merkleRoot([], sha256)).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
});

test('the root is that of the RFC for every small number of entries', () => {
  for (let count = 0; count <= 40; count += 1)
    expect(merkleRoot(entries(count), sha256)).toBe(toHex(treeHash(entries(count).map(leaf))));
});

test('the order in which entries come does not matter, what they hold does', () => {
  const root = merkleRoot(entries(9), sha256);
  expect(merkleRoot(entries(9).toReversed(), sha256)).toBe(root);
  expect(merkleRoot(entries(8), sha256)).not.toBe(root);
  expect(
    merkleRoot(
      entries(9).map((one) => ({ ...one, kind: 'key' })),
      sha256,
    ),
  ).not.toBe(root);
});

test('two entries of one kind and name are refused', async () => {
  expect(await codeOf(() => merkleRoot([...entries(3), ...entries(1)], sha256))).toBe('snapshot_malformed');
});

const step = fc.record({
  kind: fc.constantFrom('key', 'scope'),
  name: fc.integer({ min: 0, max: 24 }).map((at) => `n${at}`),
  content: fc.option(fc.constantFrom('a', 'b', 'c').map(utf8), { nil: undefined }),
});
const isTwice = (changes: readonly EntryChange[]): boolean =>
  new Set(changes.map(({ kind, name }) => `${kind} ${name}`)).size < changes.length;

test('a changed tree is the tree of the changed entries, whatever comes, goes and stays', async () => {
  let turns = 0;
  const turn = async (): Promise<void> => {
    turns += 1;
  };
  const rounds = fc.array(
    fc.array(step, { maxLength: 12 }).filter((one) => !isTwice(one)),
    { minLength: 1, maxLength: 8 },
  );
  await fc.assert(
    fc.asyncProperty(rounds, async (all) => {
      let tree = EMPTY_TREE;
      const wanted = new Map<string, Entry>();
      for (const changes of all) {
        tree = await changeTree(tree, changes, sha256, turn);
        for (const { kind, name, content } of changes) {
          if (content === undefined) wanted.delete(`${kind} ${name}`);
          else wanted.set(`${kind} ${name}`, { kind, name, content });
        }
        expect(tree.entries).toEqual([...wanted.values()].sort(compareEntries));
        expect(treeRoot(tree, sha256)).toBe(merkleRoot([...wanted.values()], sha256));
      }
    }),
    { numRuns: 300 },
  );
  const many = await changeTree(EMPTY_TREE, entries(999), sha256, turn);
  expect(treeRoot(many, sha256)).toBe(merkleRoot(entries(999), sha256));
  expect(turns).toBeGreaterThan(1);
});

test('one entry that is replaced among thousands costs a path of hashes, and the tree before stays what it was', async () => {
  const tree = await changeTree(EMPTY_TREE, entries(1000), sha256, async () => {});
  const root = treeRoot(tree, sha256);
  let hashes = 0;
  const counting = (bytes: Uint8Array): Uint8Array => {
    hashes += 1;
    return sha256(bytes);
  };
  const change = { kind: 'scope', name: 's500', content: utf8('new') };
  const changed = await changeTree(tree, [change], counting, async () => {});
  expect(hashes).toBeLessThanOrEqual(2 + 10);
  expect(treeRoot(changed, sha256)).toBe(merkleRoot(changed.entries, sha256));
  expect(treeRoot(changed, sha256)).not.toBe(root);
  expect(treeRoot(tree, sha256)).toBe(root);
  expect(await changeTree(changed, [change], sha256, async () => {})).toBe(changed);
});
