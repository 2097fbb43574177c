// What was published: the versions of a pool, and each of them whole.
import { DaypassError } from '@daypass/core/errors';
import { type Entry, entryBytes } from '@daypass/core/snapshot';
import type { Aggregates, ChangeCount, SnapshotRow } from '../store/interface.ts';
import { cutPage, decodePageToken, encodePageToken, pageSize } from './page.ts';

/** A version and how its entries differ from those of the one before it, by kind. */
export type PublishedVersion = { readonly row: SnapshotRow; readonly changes: readonly ChangeCount[] };

/** A part of a snapshot; the first has what was signed. */
export type SnapshotPart = { readonly signed: SignedRow | undefined; readonly entries: readonly Entry[] };

/** A version as it was signed. */
export type SignedRow = SnapshotRow & {
  readonly signature: Uint8Array;
  readonly keyStatement: Uint8Array;
  readonly keySignature: Uint8Array;
};

/** What was published, to look at. */
export type PublishedVersions = {
  /** Newest first. Throws `not_found` for a pool that is not there. */
  list(
    pool: string,
    page: { readonly pageSize: number; readonly pageToken: string },
  ): Promise<{ readonly versions: readonly PublishedVersion[]; readonly nextPageToken: string }>;
  /** The parts of a version, 0 for the newest. Throws `not_found` for one that is not kept. */
  get(pool: string, version: number): AsyncGenerator<SnapshotPart, void, undefined>;
};

type Deps = {
  /** Outside a transaction. */
  readonly read: Pick<Aggregates, 'snapshots'>;
  readonly hasPool: (pool: string) => boolean;
};

/** Makes the reader. */
export const createPublishedVersions = ({ read: { snapshots }, hasPool }: Deps): PublishedVersions => {
  const checkPool = (pool: string): void => {
    if (!hasPool(pool)) {
      throw new DaypassError('not_found', `there is no pool \`${pool.slice(0, 63)}\``, { field: 'pool' });
    }
  };
  return {
    list: async (pool, page) => {
      checkPool(pool);
      const size = pageSize(page.pageSize);
      const [cursor] = decodePageToken('snapshots', page.pageToken, ['number']) ?? [];
      const after = typeof cursor === 'number' ? cursor : undefined;
      const cut = cutPage(await snapshots.list(pool, { after, limit: size + 1 }), size);
      const [newest, oldest] = [cut.page.at(0), cut.page.at(-1)];
      const counts =
        newest === undefined || oldest === undefined
          ? []
          : await snapshots.changeCounts(pool, oldest.version, newest.version);
      const byVersion = Map.groupBy(counts, ({ version }) => version);
      const versions = cut.page.map((row) => ({ row, changes: byVersion.get(row.version) ?? [] }));
      const nextPageToken = cut.last === undefined ? '' : encodePageToken('snapshots', [cut.last.version]);
      return { versions, nextPageToken };
    },
    get: async function* (pool, version) {
      checkPool(pool);
      const row = await (version === 0 ? snapshots.latestForAll(pool) : snapshots.at(pool, version));
      if (row === undefined || !isSigned(row)) {
        const what = row === undefined ? 'is not kept' : 'was made by a release that kept no signatures';
        throw new DaypassError('not_found', `the snapshot ${version} of \`${pool}\` ${what}`, { field: 'version' });
      }
      yield* partsOf(snapshots, row);
    },
  };
};

const isSigned = (row: SnapshotRow): row is SignedRow =>
  row.signature !== undefined && row.keyStatement !== undefined && row.keySignature !== undefined;

const ROWS_A_PAGE = 100;
const PART_BYTES = 1024 * 1024;

async function* partsOf(snapshots: Deps['read']['snapshots'], row: SignedRow): AsyncGenerator<SnapshotPart> {
  let part: Entry[] = [];
  let bytes = 0;
  let signed: SignedRow | undefined = row;
  for (let after: Entry | undefined; ; ) {
    const page: readonly Entry[] = await snapshots.entriesAt(row.pool, row.version, { after, limit: ROWS_A_PAGE });
    for (const entry of page) {
      if (part.length > 0 && bytes + entryBytes(entry) > PART_BYTES) {
        yield { signed, entries: part };
        [part, bytes, signed] = [[], 0, undefined];
      }
      part.push(entry);
      bytes += entryBytes(entry);
    }
    after = page.at(-1);
    if (page.length < ROWS_A_PAGE) return yield { signed, entries: part };
  }
}
