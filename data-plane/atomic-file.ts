// Replaces a small file so that a reader, or a start after a crash, sees the old bytes or the new ones.
import { open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Writes `bytes` beside `path` (mode 0600), makes them durable, and puts them in its place. */
export async function writeFileAtomically(path: string, bytes: Uint8Array): Promise<void> {
  const fresh = `${path}.tmp`;
  const file = await open(fresh, 'w', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, path);
  await syncFolder(dirname(path));
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
