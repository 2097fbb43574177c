// A snapshot on its way from the main thread, which verified it, to those that serve by it: one copy for all of them.
import type { Manifest } from '@daypass/core/snapshot';

/** A message in memory that threads share; no two that a process ever had have one number. */
export type Segment = { readonly number: number; readonly bytes: Uint8Array };

/** What is said of a snapshot as a whole. */
export type Head = {
  readonly manifest: Manifest;
  /** Hex sha256 of the manifest. */
  readonly digest: string;
  /** Of the key that signed it. */
  readonly generation: number;
  readonly defaultService: string | undefined;
};

/** A whole snapshot: a message of all entries, in their order, and those that led from there to the newest. */
export type Whole = {
  readonly head: Head;
  readonly base: Segment & { readonly places: Uint32Array };
  readonly deltas: readonly Segment[];
};

/** What leads to a snapshot from the one before, whose digest is `from`. */
export type Step = { readonly head: Head; readonly from: string; readonly delta: Segment };

/** A verified snapshot for workers. Only the main thread, after it has verified one, makes it. */
export type Handover = Pick<Head, 'digest' | 'generation'> & {
  readonly version: number;
  /** So many bytes are to be looked at, at most. */
  readonly bytes: number;
  /** What one needs that has the snapshot of the digest `has`, or none. */
  readonly lead: (has: string | undefined) => Whole | Step;
};

/** Hands over all of a snapshot, to whomever. */
export const handOverWhole = (whole: Whole): Handover => ({
  version: whole.head.manifest.version,
  digest: whole.head.digest,
  generation: whole.head.generation,
  bytes: whole.base.bytes.length,
  lead: () => whole,
});

/** Hands over what changed to those that have the snapshot before; all of it to others. */
export const handOverStep = (from: string, delta: Segment, whole: Whole): Handover => ({
  version: whole.head.manifest.version,
  digest: whole.head.digest,
  generation: whole.head.generation,
  bytes: delta.bytes.length,
  lead: (has) => (has === from ? { head: whole.head, from, delta } : whole),
});

/** As a Buffer, whoever sent it. */
export const bufferOf = ({ bytes }: Segment): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
