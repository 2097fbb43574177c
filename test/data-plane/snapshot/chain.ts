// A chain of snapshots that a fleet has signed, and the deltas between them.
import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import {
  changeTree,
  EMPTY_TREE,
  type Entry,
  type EntryChange,
  encodeEntry,
  type Manifest,
  treeRoot,
} from '@daypass/core/snapshot';
import {
  type Snapshot,
  type SnapshotDelta,
  SnapshotDeltaSchema,
  SnapshotSchema,
} from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { serviceConfig } from '../service-config.ts';
import { digestOf, type Fleet, POOL } from './fleet.ts';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** Signs one version after the other. */
export type Chain = {
  readonly version: () => number;
  readonly digest: () => string;
  /** Signs the next version, and returns what leads there; `manifest` replaces members of an honest one. */
  next(changes: readonly EntryChange[], manifest?: Partial<Manifest>): Promise<SnapshotDelta>;
  /** All of the newest version. */
  whole(): Snapshot;
};

/** A chain that begins with version 1. */
export async function createChain(fleet: Fleet, entries: readonly Entry[]): Promise<Chain> {
  let tree = await changeTree(EMPTY_TREE, entries, sha256, async () => {});
  const sign = (version: number, previous: string, manifest: Partial<Manifest> = {}) =>
    fleet.snapshot(version, { entries: [], manifest: { root: treeRoot(tree, sha256), previous, ...manifest } });
  let version = 1;
  let newest = await sign(version, '');
  return {
    version: () => version,
    digest: () => digestOf(newest),
    async next(changes, manifest) {
      const base = { baseVersion: BigInt(version), baseDigest: digestOf(newest) };
      tree = await changeTree(tree, changes, sha256, async () => {});
      version += 1;
      newest = await sign(version, base.baseDigest, manifest);
      const { manifest: bytes, signature, key } = newest;
      const ordered = changes.toSorted(compareNames);
      return create(SnapshotDeltaSchema, {
        ...base,
        manifest: bytes,
        signature,
        ...(key === undefined ? {} : { key }),
        changed: ordered.flatMap(({ kind, name, content }) => (content === undefined ? [] : [{ kind, name, content }])),
        removed: ordered.flatMap(({ kind, name, content }) => (content === undefined ? [{ kind, name }] : [])),
      });
    },
    whole() {
      const { manifest, signature, key } = newest;
      const signed = { manifest, signature, ...(key === undefined ? {} : { key }) };
      return create(SnapshotSchema, { ...signed, entries: [...tree.entries] });
    },
  };
}

const compareNames = (a: EntryChange, b: EntryChange): number =>
  `${a.kind} ${a.name}` < `${b.kind} ${b.name}` ? -1 : 1;

/** A service entry; `size` makes it at least so many bytes large. */
export const serviceEntry = (name: string, change: object = {}, size = 0): Entry =>
  encodeEntry('service', name, {
    ...serviceConfig({ name, pool: POOL, origin: 'https://api.example', ...change }),
    ...(size === 0 ? {} : { drop_query: ['x'.repeat(size)] }),
  });

/** An entry that goes. */
export const gone = ({ kind, name }: Entry): EntryChange => ({ kind, name, content: undefined });
