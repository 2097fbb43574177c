// Replaces a file so that a reader, or a start after a crash, sees the old bytes or the new ones; and reads it.
import { type FileHandle, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Writes `bytes` beside `path` (mode 0600), makes them durable, and puts them in its place. */
export const writeFileAtomically = async (path: string, bytes: Uint8Array): Promise<void> =>
  (await prepareFile(path, `${path}.tmp`, bytes)).putInPlace();

/** Writes `bytes` to `fresh` (mode 0600), and makes them durable; `putInPlace` makes them the file at `path`. */
export async function prepareFile(path: string, fresh: string, bytes: Uint8Array) {
  const file = await open(fresh, 'w', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  return {
    async putInPlace(): Promise<void> {
      await rename(fresh, path);
      await syncFolder(dirname(path));
    },
  };
}

/** Makes the names in a folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Reads the first `length` bytes of a file into memory that threads can share; less where there is less. */
export async function readInto(file: FileHandle, length: number): Promise<Buffer> {
  const bytes = Buffer.from(new SharedArrayBuffer(length));
  for (let at = 0; at < length; ) {
    const { bytesRead } = await file.read(bytes, at, length - at, at);
    if (bytesRead === 0) return bytes.subarray(0, at);
    at += bytesRead;
  }
  return bytes;
}
