// What names a version of a pool, and what leads from one to the next.
import type { EntryChange } from '@daypass/core/snapshot';

/** What a node or a replica has: a version and the hex sha256 of its manifest. */
export type SnapshotState = { readonly version: number; readonly digest: string };

/** What leads from a state to one after it, in the order of kind and name. */
export type Step = { readonly from: SnapshotState; readonly changes: readonly EntryChange[] };
