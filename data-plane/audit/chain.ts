// Puts records into a node's chain: number, hash of the one before, bytes.
import { isErrorCode } from '@daypass/core/errors';
import { lineOf } from './line.ts';
import type { Link } from './position.ts';
import type { OpenDecision } from './recover.ts';
import { hashOf } from './segment.ts';
import type { Draft } from './sink.ts';

/** A record whose line is made but for its place, so that little is left to do while others wait. */
export type Prepared = { readonly kind: Draft['kind']; readonly id: string; readonly rest: string };

/** Records as lines, and the last one's place. */
export type Chained = { readonly bytes: Uint8Array; readonly last: Link };

/** Makes the line of a draft but for its place. */
export function prepare(draft: Draft, node: string): Prepared {
  const line = lineOf(draft, { seq: 0, prev: '', node });
  return { kind: draft.kind, id: draft.id, rest: line.slice(placeless(draft.kind).length) };
}

/** Chains records behind `last`. The bytes are good until the next call. */
export function chain(records: readonly Prepared[], last: Link): Chained {
  let { seq, hash } = last;
  let text = '';
  for (const { kind, rest } of records) {
    seq += 1;
    const line = `{"kind":"${kind}","seq":${seq},"prev":"${hash}"${rest}`;
    hash = hashOf(line);
    text += `${line}\n`;
  }
  return { bytes: bytesOf(text), last: { seq, hash } };
}

const placeless = (kind: Draft['kind']): string => `{"kind":"${kind}","seq":0,"prev":""`;

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

/** The outcome of a request whose process, or thread, ended before it did. */
export function endOfInterrupted(id: string, { refusedFor }: Pick<OpenDecision, 'refusedFor'>, time: number): Draft {
  const reason = refusedFor !== undefined && isErrorCode(refusedFor) ? refusedFor : 'internal';
  const result = refusedFor === undefined ? 'failed' : 'refused';
  const nothing = { status: 0, request_bytes: 0, response_bytes: 0, latency_micros: 0 };
  return { kind: 'outcome', id, time, result, reason, ...nothing };
}
