// Deltas: what leads from the snapshot that a node has to a newer one, verified as the whole of that one would be.
import { DaypassError, type ErrorCode } from './errors.ts';
import type { Manifest } from './manifest.ts';
import { compareEntries, type Entry, type EntryChange, type EntryName, isEqual } from './merkle.ts';
import { checkSize, entryBytes, type SignedSnapshot, type SnapshotTrust, verifyManifest } from './snapshot.ts';
import { checkEntries, defaultAmong } from './snapshot-consistency.ts';
import { type Entries, readEntries } from './snapshot-entry.ts';

/** A delta as it comes over the wire or from disk. Its manifest covers all entries, not only those that it brings. */
export type SignedDelta = Omit<SignedSnapshot, 'entries'> & {
  /** The snapshot that it leads from. */
  readonly base: { readonly version: number; readonly digest: string };
  /** New, or with another content; in their order. */
  readonly changed: readonly Entry[];
  /** Gone; in their order. */
  readonly removed: readonly EntryName[];
};

/** How many entries, and the bytes that they count for. */
export type SnapshotSize = { readonly entries: number; readonly bytes: number };

/** The entries that a delta changes, whoever keeps them. */
export type DeltaBase<Next extends DeltaNext> = {
  readonly size: SnapshotSize;
  readonly defaultService: string | undefined;
  /** What an entry holds; undefined: it is not there. */
  content(entry: EntryName): Uint8Array | undefined;
  /** The entries after changes that are in their order; the base stays as it is. */
  change(changes: readonly EntryChange[]): Promise<Next>;
};

/** Entries after a change. */
export type DeltaNext = {
  /** Hex Merkle root over them. */
  readonly root: string;
  hasService(name: string): boolean;
  /** One that belongs to the service, other than the service itself. */
  belongingTo(service: string): EntryName | undefined;
};

declare const verified: unique symbol;
/** A delta that may be activated on its base; only `verifyDelta` makes one. */
export type VerifiedDelta<Next> = {
  readonly manifest: Manifest;
  /** Hex sha256 of the manifest's bytes. */
  readonly digest: string;
  /** Of the key that signed it. */
  readonly generation: number;
  readonly changes: readonly EntryChange[];
  /** Those that changed, read. */
  readonly entries: Entries;
  readonly defaultService: string | undefined;
  readonly size: SnapshotSize;
  readonly next: Next;
  readonly [verified]: true;
};

/**
 * Verifies a delta against the entries of the active snapshot; only what changed is read. Throws the `snapshot_*` code of
 * the step that refused: `snapshot_base_unknown` says that a full snapshot is needed.
 */
export async function verifyDelta<Next extends DeltaNext>(
  delta: SignedDelta,
  base: DeltaBase<Next>,
  trust: SnapshotTrust,
): Promise<VerifiedDelta<Next>> {
  const { changed, removed } = delta;
  // TUF 5.5.1, 5.6.1. Size: before any work is spent on it.
  checkSize(
    changed.length + removed.length,
    changed.reduce((sum, entry) => sum + entryBytes(entry), 0),
  );
  // TUF 5.4.2 to 5.4.4: key, signature, fleet and pool, version, time, features.
  const { manifest, digest, generation } = await verifyManifest(delta, trust);
  // TUF 5.4.3. Mix and match: it leads from the very snapshot that is active.
  checkBase(delta, trust);
  const changes = changesOf(delta, base);
  const size = sizeAfter(changes, base);
  checkSize(size.entries, size.bytes);
  // TUF 5.5.2, 5.6.2. Entries: together exactly those that were signed.
  const next = await base.change(changes);
  if (next.root !== manifest.root)
    throw refusal('snapshot_root_mismatch', 'The delta does not lead to what was signed');
  // What the change touches can be read, and fits the rest.
  const entries = readEntries(changed);
  checkEntries(entries, { pool: manifest.pool, hasService: next.hasService });
  checkRemoved(removed, next);
  const defaultService = defaultAmong(defaultLeft(base.defaultService, removed), entries.services.values());
  return {
    manifest,
    digest,
    generation,
    changes,
    entries,
    defaultService,
    size,
    next,
  } as unknown as VerifiedDelta<Next>;
}

function checkBase({ base }: SignedDelta, { active }: SnapshotTrust): void {
  if (active === undefined || base.digest !== active.digest || base.version !== active.version)
    throw refusal('snapshot_base_unknown', `The delta leads from version ${base.version}, which is not the active one`);
}

/** All changes in their order. Throws `snapshot_malformed` for one that changes nothing, or comes twice. */
function changesOf({ changed, removed }: SignedDelta, base: Pick<DeltaBase<DeltaNext>, 'content'>) {
  checkOrder(changed);
  checkOrder(removed);
  const gone = removed.map(({ kind, name }): EntryChange => ({ kind, name, content: undefined }));
  const changes = [...changed, ...gone].sort(compareEntries);
  checkOrder(changes);
  for (const { kind, name, content } of changes) {
    const before = base.content({ kind, name });
    if (content === undefined && before === undefined)
      throw malformed(`It removes ${kind}/${name}, which is not there`);
    if (content !== undefined && before !== undefined && isEqual(before, content))
      throw malformed(`It changes ${kind}/${name} to what it is`);
  }
  return changes;
}

function checkOrder(names: readonly EntryName[]): void {
  names.forEach((name, at) => {
    const before = names[at - 1];
    if (before !== undefined && compareEntries(before, name) >= 0)
      throw malformed(`The entry ${name.kind}/${name.name} is out of order`);
  });
}

function sizeAfter(changes: readonly EntryChange[], { size, content }: DeltaBase<DeltaNext>): SnapshotSize {
  let { entries, bytes } = size;
  for (const change of changes) {
    const before = content(change);
    if (before !== undefined) bytes -= entryBytes({ ...change, content: before });
    if (change.content !== undefined) bytes += entryBytes({ ...change, content: change.content });
    entries += Number(change.content !== undefined) - Number(before !== undefined);
  }
  return { entries, bytes };
}

function checkRemoved(removed: readonly EntryName[], next: DeltaNext): void {
  for (const { kind, name } of removed) {
    const left = kind === 'service' ? next.belongingTo(name) : undefined;
    if (left !== undefined)
      throw refusal('snapshot_inconsistent', `The entry ${left.kind}/${left.name} is of ${name}, which is gone`);
  }
}

const defaultLeft = (before: string | undefined, removed: readonly EntryName[]): string | undefined =>
  removed.some(({ kind, name }) => kind === 'service' && name === before) ? undefined : before;

const malformed = (message: string): DaypassError => refusal('snapshot_malformed', `The delta is wrong: ${message}`);

const refusal = (code: ErrorCode, message: string): DaypassError => new DaypassError(code, message);
