// The committed inputs: one JSON file a target, of texts that people can read or of base64 lines.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FuzzTarget } from './engine.ts';

const BASE64 = 'base64:';

/** The inputs to begin with: those of the target itself, then those of its file. */
export const readCorpus = async (target: FuzzTarget): Promise<readonly string[]> => {
  const path = join(import.meta.dirname, 'corpus', `${target.name}.json`);
  const lines: unknown = JSON.parse(await readFile(path, 'utf8'));
  if (!Array.isArray(lines)) throw new Error(`${path} is not a list`);
  return [...(target.seeds ?? []), ...lines.map((line) => inputOf(target, String(line)))];
};

/** An input as a line for its file. */
export const lineOf = (target: FuzzTarget, input: string): string =>
  JSON.stringify(BASE64 + Buffer.from(input, encodingOf(target)).toString('base64'));

const inputOf = (target: FuzzTarget, line: string): string => {
  if (line.startsWith(BASE64)) return Buffer.from(line.slice(BASE64.length), 'base64').toString(encodingOf(target));
  return target.input === 'bytes' ? Buffer.from(line, 'utf8').toString('latin1') : line;
};

const encodingOf = (target: FuzzTarget): 'latin1' | 'utf16le' => (target.input === 'bytes' ? 'latin1' : 'utf16le');
