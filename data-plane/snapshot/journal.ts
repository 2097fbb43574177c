// Deltas on disk behind the snapshot that they lead on from: appended one by one, durable, a torn end is no record.
import { hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { readInto, syncFolder, writeFileAtomically } from '../atomic-file.ts';

/** A file of records. */
export type Journal = {
  /** Makes a record durable. When it throws, no record was added: also where it would not be read again. */
  append(record: Uint8Array): Promise<void>;
  /** Replaces all records, all or nothing. */
  replace(records: readonly Uint8Array[]): Promise<void>;
};

/** Bytes that stand before a record: its length (4, big endian) and its SHA-256 (32). */
const HEAD_BYTES = 36;

/** Opens a journal, and reads what is whole of it, in shared memory; what comes after is cut off. */
export async function openJournal(
  path: string,
  bytesMax: number,
): Promise<{ readonly journal: Journal; readonly records: readonly Buffer[] }> {
  const { records, end: whole } = await takeUp(path, bytesMax);
  await syncFolder(dirname(path));
  let end = whole;
  const journal: Journal = {
    async append(record) {
      if (end + HEAD_BYTES + record.length > bytesMax) throw new Error(`${path} is full`);
      await using file = await open(path, 'r+');
      const bytes = framed(record);
      // Where the last one ended: what a failed append has left is written over.
      for (let at = 0; at < bytes.length; )
        at += (await file.write(bytes, at, bytes.length - at, end + at)).bytesWritten;
      await file.datasync();
      end += bytes.length;
    },
    async replace(fresh) {
      const bytes = Buffer.concat(fresh.map(framed));
      await writeFileAtomically(path, bytes);
      end = bytes.length;
    },
  };
  return { journal, records };
}

async function takeUp(path: string, bytesMax: number) {
  await using file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  const taken = await readRecords(file, bytesMax);
  await file.truncate(taken.end);
  return taken;
}

async function readRecords(file: FileHandle, bytesMax: number) {
  const { size } = await file.stat();
  const bytes = await readInto(file, Math.min(size, bytesMax));
  const records: Buffer[] = [];
  let end = 0;
  for (;;) {
    const record = recordAt(bytes, end);
    if (record === undefined) return { records, end };
    records.push(record);
    end += HEAD_BYTES + record.length;
  }
}

function recordAt(bytes: Buffer, at: number): Buffer | undefined {
  if (at + HEAD_BYTES > bytes.length) return undefined;
  const end = at + HEAD_BYTES + bytes.readUInt32BE(at);
  if (end > bytes.length) return undefined;
  const record = bytes.subarray(at + HEAD_BYTES, end);
  return bytes.subarray(at + 4, at + HEAD_BYTES).equals(hash('sha256', record, 'buffer')) ? record : undefined;
}

function framed(record: Uint8Array): Buffer {
  const bytes = Buffer.alloc(HEAD_BYTES + record.length);
  bytes.writeUInt32BE(record.length);
  hash('sha256', record, 'buffer').copy(bytes, 4);
  bytes.set(record, HEAD_BYTES);
  return bytes;
}
