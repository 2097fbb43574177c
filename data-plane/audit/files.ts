// The spool's files as one growing row of bytes: appended to at one end, deleted as whole files at the other.
import { closeSync, ftruncateSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder } from '../atomic-file.ts';
import { type Segment, segmentName } from './segment.ts';

const PROBE = Buffer.alloc(64 * 1024);

/** The calls that may find the disk full; an argument, so that a test can fill it. */
export type SpoolDisk = {
  readonly openSync: (path: string, flags: string, mode: number) => number;
  readonly writeSync: (fd: number, bytes: Uint8Array) => number;
  readonly ftruncateSync: (fd: number, length: number) => void;
};

/** The real disk. */
export const realDisk: SpoolDisk = { openSync, writeSync, ftruncateSync };

type Deps = {
  readonly folder: string;
  readonly disk: SpoolDisk;
  /** A new file is begun above this. */
  readonly segmentBytesMax: number;
};

export type SpoolFiles = {
  /** One write at the end. After it throws, `mend` comes before the next. */
  append(bytes: Uint8Array, place: { firstSeq: number; lastSeq: number }, counted: boolean): void;
  /** Cuts what a failed write left, and throws when there is no room for more. */
  mend(): void;
  /** Up to `bytesMax` bytes from `offset` of the oldest file, durable on this disk; undefined at its end. */
  read(offset: number, bytesMax: number): Promise<Uint8Array | undefined>;
  /** Deletes the files that end at or before `seq`, the newest only above `newestBytesMin`. Returns how many. */
  deleteUntil(seq: number, newestBytesMin: number): number;
  /** Bytes in all files. */
  totals(): { readonly requests: number; readonly refusals: number };
  close(): void;
};

/** Goes on behind `segments`, in a new file. */
export function createSpoolFiles(deps: Deps, segments: Segment[]): SpoolFiles {
  const { folder, disk } = deps;
  const totals = { requests: 0, refusals: 0 };
  let active: { readonly fd: number; readonly segment: Segment } | undefined;
  let namesAreDurable = false;
  const count = ({ bytes, refusalBytes }: Segment, sign: 1 | -1) => {
    totals.requests += sign * (bytes - refusalBytes);
    totals.refusals += sign * refusalBytes;
  };
  for (const segment of segments) count(segment, 1);

  const release = () => {
    if (active !== undefined) closeSync(active.fd);
    active = undefined;
  };
  const fileFor = (bytes: number, firstSeq: number) => {
    if (active !== undefined && active.segment.bytes + bytes > deps.segmentBytesMax && active.segment.bytes > 0)
      release();
    if (active !== undefined) return active;
    const path = join(folder, segmentName(firstSeq));
    const fd = disk.openSync(path, 'a', 0o600);
    const segment = { path, firstSeq, lastSeq: firstSeq - 1, bytes: 0, refusalBytes: 0 };
    segments.push(segment);
    namesAreDurable = false;
    active = { fd, segment };
    return active;
  };

  return {
    append(bytes, { firstSeq, lastSeq }, counted) {
      const { fd, segment } = fileFor(bytes.length, firstSeq);
      const written = disk.writeSync(fd, bytes);
      if (written !== bytes.length) throw new Error(`Only ${written} of ${bytes.length} bytes could be written`);
      segment.bytes += written;
      segment.lastSeq = lastSeq;
      if (counted) segment.refusalBytes += written;
      totals[counted ? 'refusals' : 'requests'] += written;
    },
    mend() {
      if (active !== undefined) disk.ftruncateSync(active.fd, active.segment.bytes);
      tryRoom(disk, join(folder, 'probe'));
    },
    async read(offset, bytesMax) {
      const [oldest] = segments;
      if (oldest === undefined || offset >= oldest.bytes) return undefined;
      const bytes = await readDurably(oldest.path, offset, Math.min(oldest.bytes - offset, bytesMax));
      if (!namesAreDurable) {
        namesAreDurable = true;
        await syncFolder(folder);
      }
      return bytes;
    },
    deleteUntil(seq, newestBytesMin) {
      let deleted = 0;
      for (let [oldest] = segments; oldest !== undefined && oldest.lastSeq <= seq; [oldest] = segments) {
        const isActive = oldest === active?.segment;
        if (isActive && oldest.bytes < newestBytesMin) break;
        if (isActive) release();
        unlinkSync(oldest.path);
        segments.shift();
        count(oldest, -1);
        deleted += 1;
      }
      return deleted;
    },
    totals: () => totals,
    close: release,
  };
}

function tryRoom(disk: SpoolDisk, path: string): void {
  const fd = disk.openSync(path, 'w', 0o600);
  try {
    if (disk.writeSync(fd, PROBE) !== PROBE.length) throw new Error('There is no room');
  } finally {
    closeSync(fd);
    unlinkSync(path);
  }
}

/** Synced before they are sent: what the control plane has seen, a power loss cannot take back and number anew. */
async function readDurably(path: string, offset: number, length: number): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    await file.datasync();
    const { buffer, bytesRead } = await file.read(Buffer.allocUnsafe(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
