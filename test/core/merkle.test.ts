// The Merkle root is that of RFC 6962 over the sorted entries.
import { toHex } from '@daypass/core/hash';
import { type Entry, merkleRoot } from '@daypass/core/merkle';
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
