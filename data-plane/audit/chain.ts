// Puts records into a node's chain: number, hash of the one before, bytes.
import { isErrorCode } from '@daypass/core/errors';
import { lineOf } from './line.ts';
import type { Link } from './position.ts';
import type { OpenDecision } from './recover.ts';
import { hashOf } from './segment.ts';
import type { Draft } from './sink.ts';

/** Records as lines, and the last one's place. */
export type Chained = { readonly bytes: Uint8Array; readonly last: Link };

/** Chains drafts behind `last`. The bytes are good until the next call. */
export function chain(drafts: readonly Draft[], node: string, last: Link): Chained {
  let { seq, hash } = last;
  let text = '';
  for (const draft of drafts) {
    seq += 1;
    const line = lineOf(draft, { seq, prev: hash, node });
    hash = hashOf(line);
    text += `${line}\n`;
  }
  return { bytes: bytesOf(text), last: { seq, hash } };
}

/** Lines as they are written, in place of a buffer for each request. */
const room = Buffer.alloc(256 * 1024);

// UTF-8 takes at most three bytes for a UTF-16 unit.
const bytesOf = (text: string): Buffer =>
  text.length * 3 > room.length ? Buffer.from(text) : room.subarray(0, room.write(text));

/** A draft that could not be written when its request ended: the request's end was not what its outcome says. */
export function asUnwritten(draft: Draft): Draft {
  if (draft.kind === 'decision' || draft.result === 'refused') return draft;
  return { ...draft, result: 'failed', reason: 'audit_unavailable' };
}

/** The outcome of a request whose process ended before it did. */
export function endOfInterrupted(id: string, { refusedFor }: OpenDecision, time: number): Draft {
  const reason = refusedFor !== undefined && isErrorCode(refusedFor) ? refusedFor : 'internal';
  const result = refusedFor === undefined ? 'failed' : 'refused';
  const nothing = { status: 0, request_bytes: 0, response_bytes: 0, latency_micros: 0 };
  return { kind: 'outcome', id, time, result, reason, ...nothing };
}
