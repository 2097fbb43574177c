// One file of the spool: records as JSON lines, named after the first one's sequence number.
import { hash } from 'node:crypto';
import type { Link } from './position.ts';

/** A file of the spool. It is only ever appended to, and deleted as a whole. */
export type Segment = {
  readonly path: string;
  readonly firstSeq: number;
  lastSeq: number;
  /** Length of the whole records. */
  bytes: number;
  /** Of those, counted refusals: they have a reserve of their own. */
  refusalBytes: number;
};

/** A record as a scan sees it. */
export type ScannedRecord = Link & {
  readonly id: string;
  readonly kind: 'decision' | 'outcome';
  /** A counted refusal: it never has an outcome. */
  readonly counted: boolean;
  /** For a decision, whether the request was refused, and why. */
  readonly refusedFor: string | undefined;
  /** Where the next record begins. */
  readonly end: number;
};

/** What a scan found after the whole records: nothing, a last line without its end, or a line that does not belong. */
export type ScanEnd = 'whole' | 'torn' | 'broken';

const NEWLINE = 10;

/** The file name of the segment that begins with `seq`. */
export const segmentName = (seq: number): string => `${String(seq).padStart(16, '0')}.jsonl`;

/** The first sequence number of a segment by its file name, or undefined for another file. */
export const firstSeqOf = (name: string): number | undefined =>
  /^\d{16}\.jsonl$/.test(name) ? Number.parseInt(name, 10) : undefined;

/** Hex SHA-256 of a record's bytes, or of the UTF-8 of its text. */
export const hashOf = (bytes: Uint8Array | string): string => hash('sha256', bytes, 'hex');

/** How many whole lines a piece begins with, `max` at most, and where the last of them ends, its newline included. */
export function countLines(bytes: Uint8Array, max: number): { readonly count: number; readonly end: number } {
  let count = 0;
  let end = 0;
  for (; count < max; count += 1) {
    const newline = bytes.indexOf(NEWLINE, end);
    if (newline < 0) break;
    end = newline + 1;
  }
  return { count, end };
}

/** The last of lines that are whole, without its newline. */
export const lastLine = (lines: Uint8Array): Uint8Array =>
  lines.subarray(lines.lastIndexOf(NEWLINE, lines.length - 2) + 1, lines.length - 1);

/** The lines of a piece of a segment, without their newlines; the rest behind the last newline is left out. */
export function* linesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let start = 0; start < bytes.length; ) {
    const end = bytes.indexOf(NEWLINE, start);
    if (end < 0) return;
    yield bytes.subarray(start, end);
    start = end + 1;
  }
}

/**
 * Walks the records that follow `after` without a gap, each holding the hash of the one before; stops at the first that
 * does not. A hash of `undefined` is not compared. `visit` may return false to stop as if the record did not belong.
 */
export function scanSegment(
  bytes: Uint8Array,
  node: string,
  after: { readonly seq: number; readonly hash: string | undefined },
  visit: (record: ScannedRecord) => boolean,
): ScanEnd {
  let { seq, hash: prev } = after;
  let offset = 0;
  for (const line of linesOf(bytes)) {
    const record = readLine(line, offset + line.length + 1);
    if (record === undefined || record.node !== node || record.seq !== seq + 1) return endOf(bytes, offset);
    if (prev !== undefined && record.prev !== prev) return endOf(bytes, offset);
    if (!visit(record)) return 'broken';
    seq = record.seq;
    prev = record.hash;
    offset = record.end;
  }
  return offset === bytes.length ? 'whole' : endOf(bytes, offset);
}

/** The `prev` of a segment's first record, if that can be read. */
export function firstPrevOf(bytes: Uint8Array): string | undefined {
  const [line] = linesOf(bytes);
  return line === undefined ? undefined : readLine(line, 0)?.prev;
}

/** A bad last line is what a crash leaves; a bad line with others behind it is something else. */
function endOf(bytes: Uint8Array, offset: number): ScanEnd {
  const newline = bytes.indexOf(NEWLINE, offset);
  return newline < 0 ? 'torn' : 'broken';
}

function readLine(line: Uint8Array, end: number): (ScannedRecord & { prev: string; node: string }) | undefined {
  const value = parseLine(line);
  if (typeof value !== 'object' || value === null) return undefined;
  const member = (name: string): unknown => Reflect.get(value, name);
  const [kind, seq, id, prev, node] = [member('kind'), member('seq'), member('id'), member('prev'), member('node')];
  if (kind !== 'decision' && kind !== 'outcome') return undefined;
  if (typeof seq !== 'number' || typeof id !== 'string' || typeof prev !== 'string' || typeof node !== 'string')
    return undefined;
  const refused = kind === 'decision' && member('result') === 'refused';
  return {
    seq,
    prev,
    node,
    id,
    kind,
    end,
    hash: hashOf(line),
    counted: refused && member('source') !== '',
    refusedFor: refused ? String(member('reason')) : undefined,
  };
}

function parseLine(line: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(line.buffer, line.byteOffset, line.byteLength).toString('utf8'));
  } catch {
    return undefined;
  }
}
