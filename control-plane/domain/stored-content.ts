// What a stored version of a pool holds: read by what changed since a version that is known, and believed by its root.
import { type Manifest, parseManifest, treeRoot } from '@daypass/core/snapshot';
import type { SnapshotRow, SnapshotStore } from '../store/interface.ts';
import { sha256 } from './digest.ts';
import type { KnownContent } from './known-contents.ts';
import { type Content, changeContent, NOTHING } from './snapshot-content.ts';
import type { SnapshotState } from './snapshot-state.ts';

type Reads = Pick<SnapshotStore, 'changesBetween'>;

/** The entries of a version, whether they fit its manifest or not. */
export const readStored = async (snapshots: Reads, pool: string, version: number): Promise<Content> =>
  (await changeContent(NOTHING, await snapshots.changesBetween(pool, 0, version))).content;

/** The newest rows of a pool: the one for all nodes, and after it the one for some where that is newer. */
export const storedLines = async (
  snapshots: Pick<SnapshotStore, 'latest' | 'latestForAll'>,
  pool: string,
): Promise<readonly SnapshotRow[]> => {
  for (;;) {
    const last = await snapshots.latest(pool);
    if (last?.nodes === undefined) return last === undefined ? [] : [last];
    const all = await snapshots.latestForAll(pool);
    // Another publish came between the two questions.
    if (all !== undefined && all.version > last.version) continue;
    return all === undefined ? [last] : [all, last];
  }
};

/**
 * The content of a stored version, from a known one where there is one. Undefined where the stored entries do not fit the
 * signed root: a release that kept none has published since.
 */
export const readVersion = async (
  snapshots: Reads,
  row: SnapshotRow,
  known: { readonly from: SnapshotState; readonly content: Content } | undefined,
): Promise<KnownContent | undefined> => {
  const root = tryParse(row.manifest)?.root;
  if (root === undefined || row.signature === undefined) return undefined;
  if (known !== undefined) {
    const changes = await snapshots.changesBetween(row.pool, known.from.version, row.version);
    const made = await changeContent(known.content, changes);
    if (treeRoot(made.content.tree, sha256) === root) {
      return { ...made.content, step: { from: known.from, changes: made.changes } };
    }
  }
  const content = await readStored(snapshots, row.pool, row.version);
  return treeRoot(content.tree, sha256) === root ? content : undefined;
};

const tryParse = (bytes: Uint8Array): Manifest | undefined => {
  try {
    return parseManifest(bytes);
  } catch {
    return undefined;
  }
};
