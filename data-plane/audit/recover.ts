// Brings the spool folder into order at start: what a crash tore is cut, what does not belong is set aside.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../log.ts';
import { type Link, type Position, readPosition, START } from './position.ts';
import { firstPrevOf, firstSeqOf, type ScannedRecord, type Segment, scanSegment } from './segment.ts';

/** The spool as it lies on disk, whole again. */
export type Recovered = {
  /** Oldest first; each has records that are not acknowledged. */
  readonly segments: readonly Segment[];
  /** Where the first record that is not acknowledged begins in the first segment. */
  readonly offset: number;
  readonly position: Position;
  /** The last record of the chain. */
  readonly last: Link;
  /** Decisions without an outcome by id. */
  readonly open: ReadonlyMap<string, OpenDecision>;
};

/** A decision that waits for its outcome. `refusedFor`: its reason, if the request was refused. */
export type OpenDecision = { readonly seq: number; readonly refusedFor: string | undefined };

type Found = { readonly name: string; readonly firstSeq: number };

/** The file that says how far the control plane has acknowledged. */
export const positionPath = (folder: string): string => join(folder, 'position.json');

/** Reads and mends the folder, making it if need be. Throws `config_invalid` naming the file. */
export function recoverSpool(folder: string, node: string, log: Log): Recovered {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const all = segmentsIn(folder);
  const position = readPosition(positionPath(folder), node) ?? beforeFirst(folder, all);
  const found = withoutAcknowledged(folder, all, position);
  const open = new Map<string, OpenDecision>();
  for (const id of position.open) open.set(id, { seq: position.seq, refusedFor: undefined });
  const segments: Segment[] = [];
  let link = beginningOf(found, position);
  let offset = 0;
  let broken = false;
  for (const { name, firstSeq } of found) {
    const path = join(folder, name);
    broken ||= firstSeq !== link.seq + 1;
    if (broken) {
      setAside(path, log);
      continue;
    }
    const bytes = readFileSync(path);
    const segment = { path, firstSeq, lastSeq: link.seq, bytes: 0, refusalBytes: 0 };
    const end = scanSegment(bytes, node, link, (record) => {
      if (record.seq === position.seq && record.hash !== position.hash) return false;
      if (record.seq === position.seq) offset = record.end;
      if (record.seq > position.seq) note(open, record);
      if (record.counted) segment.refusalBytes += record.end - segment.bytes;
      segment.lastSeq = record.seq;
      segment.bytes = record.end;
      link = record;
      return true;
    });
    if (end !== 'whole') cut(path, bytes, segment, end === 'broken', log);
    broken = end === 'broken';
    segments.push(segment);
  }
  const pending = segments.filter((segment) => segment.lastSeq > position.seq && segment.bytes > 0);
  for (const segment of segments) if (!pending.includes(segment)) unlinkSync(segment.path);
  const { seq, hash = position.hash } = link.seq > position.seq ? link : position;
  return { segments: pending, offset: pending.length > 0 ? offset : 0, position, last: { seq, hash }, open };
}

function segmentsIn(folder: string): readonly Found[] {
  return readdirSync(folder)
    .sort()
    .flatMap((name) => {
      const firstSeq = firstSeqOf(name);
      return firstSeq === undefined ? [] : [{ name, firstSeq }];
    });
}

/** Without a position, everything that is there is still to be uploaded. */
function beforeFirst(folder: string, [first]: readonly Found[]): Position {
  if (first === undefined) return START;
  const prev = firstPrevOf(readFileSync(join(folder, first.name)));
  return { seq: first.firstSeq - 1, hash: prev ?? START.hash, open: [] };
}

/** Deletes segments that end before the position. */
function withoutAcknowledged(folder: string, all: readonly Found[], position: Position): readonly Found[] {
  return all.filter(({ name }, index) => {
    const next = all[index + 1];
    if (next === undefined || next.firstSeq > position.seq + 1) return true;
    unlinkSync(join(folder, name));
    return false;
  });
}

/** What the first segment has to follow; it may begin in what is acknowledged, before hashes that are still known. */
function beginningOf([first]: readonly Found[], position: Position): { seq: number; hash: string | undefined } {
  if (first === undefined || first.firstSeq > position.seq) return position;
  return { seq: first.firstSeq - 1, hash: undefined };
}

function note(open: Map<string, OpenDecision>, { kind, id, seq, refusedFor, counted }: ScannedRecord): void {
  if (kind === 'outcome') open.delete(id);
  else if (!counted) open.set(id, { seq, refusedFor });
}

function cut(path: string, bytes: Uint8Array, segment: Segment, keep: boolean, log: Log): void {
  const rest = bytes.subarray(segment.bytes);
  if (keep) {
    const file = asidePath(path);
    writeFileSync(file, rest, { mode: 0o600 });
    log.error('audit records do not follow from the one before; they are set aside', {
      file,
      after_seq: segment.lastSeq,
    });
  } else log.warn('an audit record was cut short by a crash', { file: path, bytes: rest.length });
  truncateSync(path, segment.bytes);
}

function setAside(path: string, log: Log): void {
  const file = asidePath(path);
  renameSync(path, file);
  log.error('a file of audit records does not follow from the one before; it is set aside', { file });
}

function asidePath(path: string): string {
  let count = 1;
  while (existsSync(`${path}.damaged-${count}`)) count += 1;
  return `${path}.damaged-${count}`;
}
