// The spool's files on the disk: opened to be appended to, read back, mended, and the disk itself tried.
import {
  closeSync,
  existsSync,
  fdatasync,
  fdatasyncSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { writeFileAtomically } from '../atomic-file.ts';
import { segmentName } from './segment.ts';

const PROBE = Buffer.alloc(64 * 1024);

/** The calls that may find the disk full or broken; an argument, so that a test can make them fail. */
export type SpoolDisk = {
  readonly openSync: (path: string, flags: string, mode: number) => number;
  readonly writeSync: (fd: number, bytes: Uint8Array) => number;
  readonly ftruncateSync: (fd: number, length: number) => void;
  /** Resolves when what was written is durable. */
  readonly datasync: (fd: number) => Promise<void>;
  /** Replaces a small file; durable when it resolves. */
  readonly replace: (path: string, bytes: Uint8Array) => Promise<void>;
};

/** The real disk. */
export const realDisk: SpoolDisk = {
  openSync,
  writeSync,
  ftruncateSync,
  datasync: promisify(fdatasync),
  replace: writeFileAtomically,
};

/** The file that begins with a number. */
export const segmentPath = (folder: string, firstSeq: number): string => join(folder, segmentName(firstSeq));

/** The file that a thread appends to: the same for all threads, each with a descriptor of its own. */
export type AppendFile = {
  /** Opens the file that begins with `firstSeq`, if it is not open yet. */
  to(firstSeq: number): void;
  /** One write at its end. Throws unless all of it was written. */
  append(bytes: Uint8Array): void;
  /** Makes the file durable, and stops the thread meanwhile. */
  syncNow(): void;
  /** Makes what was written durable. */
  sync(): Promise<void>;
  /** Closes the file, unless it is the one that begins with `firstSeq`. */
  keepOnly(firstSeq: number): void;
};

/** Returns none that is open yet. */
export function createAppendFile(folder: string, disk: SpoolDisk): AppendFile {
  let current: { readonly fd: number; readonly firstSeq: number } | undefined;
  /** Those that are being synced; they are closed after that. */
  const syncing = new Map<number, number>();
  const leaving = new Set<number>();
  const release = (): void => {
    if (current === undefined) return;
    if (syncing.has(current.fd)) leaving.add(current.fd);
    else closeSync(current.fd);
    current = undefined;
  };
  const synced = (fd: number): void => {
    const others = (syncing.get(fd) ?? 1) - 1;
    if (others > 0) {
      syncing.set(fd, others);
      return;
    }
    syncing.delete(fd);
    if (leaving.delete(fd)) closeSync(fd);
  };
  return {
    to(firstSeq) {
      if (current?.firstSeq === firstSeq) return;
      release();
      current = { fd: disk.openSync(segmentPath(folder, firstSeq), 'a', 0o600), firstSeq };
    },
    append(bytes) {
      const written = current === undefined ? 0 : disk.writeSync(current.fd, bytes);
      if (written !== bytes.length) throw new Error(`Only ${written} of ${bytes.length} bytes could be written`);
    },
    syncNow() {
      if (current !== undefined) fdatasyncSync(current.fd);
    },
    async sync() {
      if (current === undefined) return;
      const { fd } = current;
      syncing.set(fd, (syncing.get(fd) ?? 0) + 1);
      try {
        await disk.datasync(fd);
      } finally {
        synced(fd);
      }
    },
    keepOnly(firstSeq) {
      if (current?.firstSeq !== firstSeq) release();
    },
  };
}

/** Makes the names in a folder durable, and stops the thread meanwhile. */
export function syncNamesNow(folder: string): void {
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Cuts a file to a length. */
export function cutFile(disk: SpoolDisk, path: string, length: number): void {
  const fd = disk.openSync(path, 'r+', 0o600);
  try {
    disk.ftruncateSync(fd, length);
  } finally {
    closeSync(fd);
  }
}

/** Throws when there is no room on the disk. */
export function tryRoom(disk: SpoolDisk, folder: string): void {
  const path = join(folder, 'probe');
  const fd = disk.openSync(path, 'w', 0o600);
  try {
    if (disk.writeSync(fd, PROBE) !== PROBE.length) throw new Error('There is no room');
  } finally {
    closeSync(fd);
    unlinkSync(path);
  }
}

const reservePath = (folder: string): string => join(folder, 'reserve');

/** Keeps some room of the disk for what has to be written before the spool can be made smaller, if there is some. */
export function reserveRoom(folder: string): void {
  const path = reservePath(folder);
  if (existsSync(path)) return;
  try {
    writeFileSync(path, PROBE, { mode: 0o600 });
  } catch {
    releaseRoom(folder);
  }
}

/** Gives that room back; false: there is none. */
export function releaseRoom(folder: string): boolean {
  if (!existsSync(reservePath(folder))) return false;
  unlinkSync(reservePath(folder));
  return true;
}

/** Synced before they are sent: what the control plane has seen, a power loss cannot take back and number anew. */
export async function readDurably(path: string, offset: number, room: Uint8Array): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    await file.datasync();
    const { bytesRead } = await file.read(room, 0, room.length, offset);
    return room.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}
