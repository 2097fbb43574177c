// What the bench measures: a variant, where it listens, and what it is asked.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** The path that every proxy is asked for, and what the upstream then sees. */
export const PREFIX = '/s/bench';
export const PATH = '/repos/acme/site/issues/7';

/** One row. */
export type Subject = {
  /** As in `--only` and `variant`. */
  readonly variant: string;
  readonly title: string;
  readonly url: string;
  readonly pid: number;
  /** Files: see `Load`. */
  readonly body?: string;
  /** A file of tokens that is good for a load of so many seconds. */
  readonly tokens: (seconds: number) => Promise<string>;
  /** Waits until nothing of the round before is left to do, and throws where that round was not what it should be. */
  readonly settled?: () => Promise<void>;
};

/** Writes tokens, one a line; returns the file. */
export async function tokenFile(folder: string, name: string, tokens: readonly string[]): Promise<string> {
  const file = join(folder, `${name}.tokens`);
  await writeFile(file, `${tokens.join('\n')}\n`, { mode: 0o600 });
  return file;
}
