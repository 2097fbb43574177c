// A snapshot on its way from the main thread, which verified it, to those that serve by it: one copy for all of them.
import { parseManifest, type VerifiedSnapshot } from '@daypass/core/snapshot';
import { readEntries } from '@daypass/core/snapshot-entry';
import type { Snapshot } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { decodeFile, encodeFile } from './signed.ts';

/** A verified snapshot in memory that threads share. Only the main thread, after it has verified one, makes it. */
export type Handover = { readonly bytes: SharedArrayBuffer; readonly digest: string };

/** Puts what was verified into shared memory. */
export function handOver(message: Snapshot, { digest }: VerifiedSnapshot): Handover {
  const file = encodeFile(message);
  const bytes = new SharedArrayBuffer(file.length);
  new Uint8Array(bytes).set(file);
  return { bytes, digest };
}

/** Reads what the main thread has verified; it is not verified again. */
export function takeOver({ bytes, digest }: Handover): VerifiedSnapshot {
  const { manifest, entries } = decodeFile(new Uint8Array(bytes));
  return { ...readEntries(entries), manifest: parseManifest(manifest), digest } as VerifiedSnapshot;
}
