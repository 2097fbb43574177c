// The snapshot that a node stands on: verified, kept by the main thread, handed to workers; and how the next one is reached.
import { hash } from 'node:crypto';
import { DaypassError } from '@daypass/core/errors';
import type { Sha256 } from '@daypass/core/hash';
import { manifestDigest, type SnapshotTrust, verifyManifest } from '@daypass/core/snapshot';
import { verifyDelta } from '@daypass/core/snapshot-delta';
import { compact } from './compact.ts';
import { baseFor, type EntryTable } from './entry-table.ts';
import { bufferOf, type Handover, handOverStep, handOverWhole, type Segment, type Whole } from './handover.ts';
import { type DeltaMessage, readDelta, readSnapshot, type Signed } from './message.ts';
import { createHaste, type Pace } from './pace.ts';
import type { Stored } from './store.ts';
import { createServiceCheck, placesOf, verifyEntries } from './verify-whole.ts';

/** A verified snapshot. */
export type Standing = {
  readonly whole: Whole;
  readonly signed: Signed;
  readonly table: EntryTable;
};

/** A snapshot that was verified: how workers get it, and, when they have it, what the node stands on. */
export type Candidate = { readonly handover: Handover; take(): Standing };

/** What is trusted, given the digest of a manifest that is to be verified. */
export type Trust = (digest: string) => SnapshotTrust;

/** SHA-256 of bytes, of any memory. */
export const sha256: Sha256 = (bytes) => hash('sha256', bytes, 'buffer');

/** Numbers for segments. */
export type NextNumber = () => number;

/** Verifies a `Snapshot` message; what is as in `before` is not read again. Throws a `snapshot_*` code. */
export async function verifyWhole(
  bytes: Buffer,
  trust: Trust,
  next: NextNumber,
  pace: Pace,
  before: Standing | undefined,
): Promise<Candidate> {
  const { signed, places } = readSnapshot(bytes);
  const base = { number: next(), bytes, places };
  return candidate(base, [], signed, trust, pace, before);
}

/**
 * Verifies what lies on disk: the last manifest vouches for all that led to it. Deltas that do not lead on are left out.
 * Throws a `snapshot_*` code.
 */
export async function verifyStored({ base, deltas }: Stored, trust: Trust, next: NextNumber): Promise<Candidate> {
  const { signed, places } = readSnapshot(base);
  const following: (Segment & { readonly delta: DeltaMessage })[] = [];
  let newest: Signed = signed;
  for (const bytes of deltas) {
    const delta = readDelta(bytes);
    if (delta.base.digest !== manifestDigest(newest.manifest, sha256)) continue;
    following.push({ number: next(), bytes, delta });
    newest = delta;
  }
  return candidate({ number: next(), bytes: base, places }, following, newest, trust, createHaste(), undefined);
}

async function candidate(
  base: Whole['base'],
  deltas: readonly (Segment & { readonly delta: DeltaMessage })[],
  { manifest: bytes, signature, key }: Signed,
  trust: Trust,
  pace: Pace,
  before: Standing | undefined,
): Promise<Candidate> {
  const signed = { manifest: bytes, signature, key };
  const { manifest, digest, generation } = await verifyManifest(signed, trust(manifestDigest(bytes, sha256)));
  const table = await verifyEntries(placesOf(base, deltas), manifest, sha256, pace, before?.table);
  const head = { manifest, digest, generation, defaultService: table.defaultService };
  const whole = { head, base, deltas: deltas.map(({ number, bytes: own }) => ({ number, bytes: own })) };
  return { handover: handOverWhole(whole), take: () => ({ whole, signed, table }) };
}

/** Verifies a `SnapshotDelta` message against what the node stands on. Throws a `snapshot_*` code. */
export async function verifyStep(
  bytes: Buffer,
  trust: Trust,
  next: NextNumber,
  before: Standing | undefined,
): Promise<Candidate> {
  if (before === undefined)
    throw new DaypassError('snapshot_base_unknown', 'There is no snapshot that a delta leads from');
  const delta = readDelta(bytes);
  const segment = { number: next(), bytes };
  const base = baseFor(before.table, segment, delta, { sha256, turn: createHaste() });
  const verified = await verifyDelta(delta, base, trust(manifestDigest(delta.manifest, sha256)));
  createServiceCheck()(verified.entries);
  const { manifest, digest, generation, defaultService } = verified;
  const head = { manifest, digest, generation, defaultService };
  const whole = { ...before.whole, head, deltas: [...before.whole.deltas, segment] };
  const { manifest: signedBytes, signature, key } = delta;
  return {
    handover: handOverStep(before.whole.head.digest, segment, whole),
    take: () => ({ whole, signed: { manifest: signedBytes, signature, key }, table: verified.next.take(verified) }),
  };
}

/** Deltas behind a snapshot, in number, in bytes, and as a share of it, before all are written into one. */
const [DELTAS_MAX, DELTA_BYTES_MIN, DELTA_SHARE] = [4096, 1024 * 1024, 1 / 8];

/** Whether so much has changed since all entries lay in one message that they should do so again. */
export function isScattered({ whole: { base, deltas } }: Standing): boolean {
  const bytes = deltas.reduce((sum, delta) => sum + delta.bytes.length, 0);
  return deltas.length >= DELTAS_MAX || bytes > Math.max(DELTA_BYTES_MIN, base.bytes.length * DELTA_SHARE);
}

/** The same snapshot, all entries of it in one message. */
export async function gather({ whole, signed, table }: Standing, next: NextNumber, pace: Pace): Promise<Candidate> {
  const compacted = await compact(table, signed, next(), pace);
  const gathered = { head: whole.head, base: compacted.base, deltas: [] };
  return { handover: handOverWhole(gathered), take: () => ({ whole: gathered, signed, table: compacted.table }) };
}

/** The message that holds all entries of a gathered snapshot. */
export const messageOf = ({ whole }: Standing): Buffer => bufferOf(whole.base);
