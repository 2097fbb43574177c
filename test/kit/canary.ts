// Looks for a secret everywhere: files, texts, and what the kernel shows of a process.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The forms in which a secret could stand somewhere: as it is, base64 at each alignment, hex, percent-encoded, JSON. */
export function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  const aligned = [0, 1, 2].map((shift) => {
    // Whole groups only, so that what stands before and after it does not matter.
    const inner = bytes.subarray((3 - shift) % 3);
    return inner.subarray(0, inner.length - (inner.length % 3)).toString('base64');
  });
  const url = aligned.map((text) => text.replaceAll('+', '-').replaceAll('/', '_'));
  return [...new Set([secret, ...aligned, ...url, bytes.toString('hex'), encodeURIComponent(secret)])];
}

/** Which of the named texts hold the secret in any form. */
export function holding(secret: string, texts: Readonly<Record<string, string | Uint8Array>>): readonly string[] {
  const forms = formsOf(secret).map((form) => Buffer.from(form));
  return Object.entries(texts)
    .filter(([, text]) => {
      const bytes = Buffer.from(text as Uint8Array);
      return forms.some((form) => bytes.includes(form));
    })
    .map(([name]) => name);
}

/** Every file below a folder, by its path; one that goes away in between is left out. */
export async function filesBelow(folder: string): Promise<Record<string, Uint8Array>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const files: Record<string, Uint8Array> = {};
  for (const path of paths) {
    try {
      files[path] = await readFile(path);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
    }
  }
  return files;
}

/** Command line and environment of a process, as another process of the user sees them. */
export async function processListing(pid: number): Promise<Record<string, Uint8Array>> {
  const paths = [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`];
  return Object.fromEntries(await Promise.all(paths.map(async (path) => [path, await readFile(path)])));
}
