// The audit on this node's disk: a hash chain in append-only files, kept until the control plane has it.
import { DaypassError } from '@daypass/core/errors';
import type { Log } from '../log.ts';
import { asUnwritten, chain, endOfInterrupted } from './chain.ts';
import { createSpoolFiles, realDisk, type SpoolDisk } from './files.ts';
import { writePosition } from './position.ts';
import { positionPath, recoverSpool } from './recover.ts';
import { hashOf, linesOf } from './segment.ts';
import type { Draft } from './sink.ts';

const MIB = 1024 * 1024;
const UNWRITTEN_MAX = 2048;
const OPEN_MAX = 65_536;
const PROBE_MS = 1000;

/** Records as they are uploaded: each its exact bytes. */
export type Batch = { readonly firstSeq: number; readonly records: readonly Uint8Array[] };

type Deps = {
  readonly folder: string;
  readonly node: string;
  /** All files together stay below this; at least 1 MiB. */
  readonly bytesMax: number;
  readonly now: () => number;
  readonly log: Log;
  readonly disk?: SpoolDisk;
};

export type SpoolUsage = {
  readonly bytes: number;
  readonly bytesMax: number;
  readonly accepting: boolean;
  readonly lastSeq: number;
  readonly acknowledgedSeq: number;
  /** Since when records wait for their acknowledgement, in milliseconds since the epoch. */
  readonly pendingSince: number | undefined;
};

export type Spool = {
  /** False when full or failing. Comes back by itself when there is room again. */
  accepting(): boolean;
  /** One write of what requests left. Throws `audit_unavailable`; the records are then kept, and written when that works. */
  append(drafts: readonly Draft[]): void;
  /** One write of counted refusals, into their reserve; false when that is full or the disk fails. */
  appendRefusals(drafts: readonly Draft[]): boolean;
  /** Called after each append. */
  onAppend(listener: () => void): void;
  /** The records after the acknowledged ones, durable on this disk; undefined when there are none. */
  read(limit: { readonly records: number; readonly bytes: number }): Promise<Batch | undefined>;
  /** The control plane has the batch up to `storedSeq`: remembered durably, then whole files are deleted. */
  acknowledge(batch: Batch, storedSeq: number): Promise<void>;
  usage(): SpoolUsage;
  close(): void;
};

/**
 * Opens the spool and mends what a crash left. A request that had been decided and had not ended gets the outcome
 * `failed` with the reason `internal`. Throws `config_invalid` naming the file.
 */
export function openSpool(deps: Deps): Spool {
  const { folder, node, now, log } = deps;
  const bounds = boundsOf(deps.bytesMax);
  const recovered = recoverSpool(folder, node, log);
  const open = new Map([...recovered.open].map(([id, { seq }]) => [id, seq]));
  const disk = deps.disk ?? realDisk;
  const files = createSpoolFiles({ folder, disk, segmentBytesMax: bounds.segment }, [...recovered.segments]);
  const unwritten: Draft[] = [];
  let { last, position, offset } = recovered;
  let failure: unknown;
  let probe: NodeJS.Timeout | undefined;
  let warned = false;
  let pendingSince = last.seq > position.seq ? now() : undefined;
  let listener = () => {};

  const write = (drafts: readonly Draft[], counted: boolean) => {
    const chained = chain(drafts, node, last);
    files.append(chained.bytes, { firstSeq: last.seq + 1, lastSeq: chained.last.seq }, counted);
    let { seq } = last;
    for (const { kind, id } of drafts) {
      seq += 1;
      if (kind === 'outcome') open.delete(id);
      else if (!counted && open.size < OPEN_MAX) open.set(id, seq);
    }
    last = chained.last;
    pendingSince ??= now();
    listener();
  };
  const writeUnwritten = () => {
    if (unwritten.length === 0 || isFull()) return;
    write(unwritten, false);
    unwritten.length = 0;
  };
  const isFull = () => files.totals().requests >= bounds.hard;

  const fail = (cause: unknown) => {
    if (failure === undefined) log.error('the audit cannot be written; requests are refused', { error: cause, folder });
    failure = cause;
    probe ??= setInterval(heal, PROBE_MS).unref();
  };
  const heal = () => {
    try {
      files.mend();
      writeUnwritten();
    } catch (cause) {
      failure = cause;
      return;
    }
    failure = undefined;
    clearInterval(probe);
    probe = undefined;
    log.info('the audit can be written again', { folder });
  };
  const keep = (drafts: readonly Draft[]) => {
    if (unwritten.length + drafts.length <= UNWRITTEN_MAX) unwritten.push(...drafts.map(asUnwritten));
    else log.error('audit records are lost', { ids: drafts.map(({ id }) => id) });
  };
  const warnAboutSize = () => {
    const { requests } = files.totals();
    if (requests >= bounds.warn && !warned) log.warn('the audit spool is 80 % full', { bytes: requests, folder });
    warned = requests >= bounds.warn || (warned && requests >= bounds.warn * 0.9);
  };

  const spool: Spool = {
    accepting: () => failure === undefined && files.totals().requests < bounds.soft,
    append(drafts) {
      try {
        if (failure !== undefined) throw failure;
        if (isFull()) throw new Error('The spool is full');
        writeUnwritten();
        write(drafts, false);
      } catch (cause) {
        keep(drafts);
        if (!isFull()) fail(cause);
        throw new DaypassError('audit_unavailable', 'The audit cannot be written', { cause });
      }
      warnAboutSize();
    },
    appendRefusals(drafts) {
      if (failure !== undefined || files.totals().refusals >= bounds.refusals) return false;
      try {
        write(drafts, true);
        return true;
      } catch (cause) {
        fail(cause);
        return false;
      }
    },
    onAppend(next) {
      listener = next;
    },
    async read(limit) {
      if (files.deleteUntil(position.seq, bounds.rotate) > 0) offset = 0;
      const bytes = await files.read(offset, limit.bytes);
      if (bytes === undefined) return undefined;
      const records = [...linesOf(bytes)].slice(0, limit.records);
      if (records.length === 0) throw new Error('The spool does not hold the records that were written to it');
      return { firstSeq: position.seq + 1, records };
    },
    async acknowledge(batch, storedSeq) {
      const stored = batch.records.slice(0, Math.max(0, storedSeq - batch.firstSeq + 1));
      const final = stored.at(-1);
      if (final === undefined || batch.firstSeq !== position.seq + 1) return;
      const seq = position.seq + stored.length;
      const undecided = [...open].filter(([, decided]) => decided <= seq).map(([id]) => id);
      const reached = { seq, hash: hashOf(final), open: undecided };
      await writePosition(positionPath(folder), node, reached);
      position = reached;
      offset += stored.reduce((sum, record) => sum + record.length + 1, 0);
      pendingSince = last.seq > seq ? now() : undefined;
      if (files.deleteUntil(seq, bounds.rotate) > 0) offset = 0;
      warnAboutSize();
    },
    usage: () => ({
      bytes: files.totals().requests + files.totals().refusals,
      bytesMax: deps.bytesMax,
      accepting: spool.accepting(),
      lastSeq: last.seq,
      acknowledgedSeq: position.seq,
      pendingSince,
    }),
    close() {
      clearInterval(probe);
      files.close();
    },
  };
  finishInterrupted(
    spool,
    [...recovered.open].map(([id, decision]) => endOfInterrupted(id, decision, now())),
    log,
  );
  return spool;
}

function finishInterrupted(spool: Spool, outcomes: readonly Draft[], log: Log): void {
  if (outcomes.length === 0) return;
  log.warn('requests were interrupted by the end of the process', { count: outcomes.length });
  try {
    spool.append(outcomes);
  } catch {
    // Said in the log already; the decisions stay open on disk, and the next start tries again.
  }
}

/** Requests may use all but the reserve of counted refusals; new ones stop earlier, so that those under way find room. */
function boundsOf(bytesMax: number) {
  const refusals = Math.min(16 * MIB, Math.floor(bytesMax / 16));
  const hard = bytesMax - refusals;
  const soft = hard - Math.min(8 * MIB, Math.floor(bytesMax / 8));
  const segment = Math.min(8 * MIB, Math.floor(bytesMax / 8));
  return { refusals, hard, soft, segment, warn: soft * 0.8, rotate: Math.min(segment, refusals) / 8 };
}
