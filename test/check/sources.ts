// Which files the checks read: everything git tracks or would track.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);

/** The folder that holds the root package.json. */
export const root: string = join(import.meta.dirname, '..', '..');

/** A file of the project, its path relative to the root with forward slashes. */
export type SourceFile = { readonly path: string; readonly text: string };

/** Paths of all files that are tracked, or new and not ignored, in name order. */
export async function projectPaths(): Promise<readonly string[]> {
  const options = { cwd: root, maxBuffer: 16 * 1024 * 1024 };
  const listed = await execute('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], options);
  const deleted = await execute('git', ['ls-files', '-z', '--deleted'], options);
  const gone = new Set(deleted.stdout.split('\0'));
  return [...new Set(listed.stdout.split('\0'))].filter((path) => path !== '' && !gone.has(path)).sort();
}

/** The text of the files whose path the filter keeps. */
export async function readSources(keep: (path: string) => boolean): Promise<readonly SourceFile[]> {
  const paths = (await projectPaths()).filter(keep);
  return Promise.all(paths.map(async (path) => ({ path, text: await readFile(join(root, path), 'utf8') })));
}
