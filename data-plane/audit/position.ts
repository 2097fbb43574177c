// How far the control plane has acknowledged the chain, kept on disk apart from the segments.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { GENESIS } from '@daypass/core/audit';
import { DaypassError } from '@daypass/core/errors';
import { isHexSha256 } from '@daypass/core/hash';
import {
  parseStrictJson,
  readNumber,
  readObject,
  readString,
  readStringArray,
  refuseUnknown,
} from '@daypass/core/json';

/** A record's place in the chain: its number and its hash. */
export type Link = { readonly seq: number; readonly hash: string };

/** Up to where the control plane has the chain. */
export type Position = Link & {
  /** Ids of decisions up to here that had no outcome yet. */
  readonly open: readonly string[];
};

/** Before the first record. */
export const START: Position = { seq: 0, hash: GENESIS, open: [] };

/** Reads the position; `undefined` when there is none. Throws `config_invalid` naming the file. */
export function readPosition(path: string, node: string): Position | undefined {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  try {
    const object = readObject(parseStrictJson(text), 'position');
    refuseUnknown(object, ['v', 'node', 'seq', 'hash', 'open'], 'position');
    const position = {
      seq: readNumber(object.seq, 'seq'),
      hash: readString(object.hash, 'hash'),
      open: readStringArray(object.open, 'open'),
    };
    if (object.v !== 1 || !Number.isSafeInteger(position.seq) || position.seq < 0 || !isHexSha256(position.hash))
      throw new DaypassError('invalid_json', 'A member has a value that cannot be');
    const owner = readString(object.node, 'node');
    if (owner !== node) throw new DaypassError('invalid_json', `It belongs to the node "${owner}", this is "${node}"`);
    return position;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : '';
    throw new DaypassError('config_invalid', `${path}: ${why}`, { cause, field: basename(path) });
  }
}

/** Writes the position; durable when it returns. */
export async function writePosition(
  path: string,
  node: string,
  position: Position,
  replace: (path: string, bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const { seq, hash, open } = position;
  await replace(path, Buffer.from(`${JSON.stringify({ v: 1, node, seq, hash, open })}\n`));
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
    throw new DaypassError('config_invalid', `${path} cannot be read`, { cause, field: basename(path) });
  }
}
