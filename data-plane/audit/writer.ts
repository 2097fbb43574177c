// The spool as one thread writes to it: its records go into the node's one chain, one write each time.
import { DaypassError } from '@daypass/core/errors';
import type { Log } from '../log.ts';
import { type Bounds, boundsOf } from './bounds.ts';
import { asUnwritten, chain, type Prepared, prepare } from './chain.ts';
import { createAppendFile, realDisk, type SpoolDisk, syncNamesNow } from './files.ts';
import { createGroupSync } from './group-sync.ts';
import type { Draft } from './sink.ts';
import { openSpoolState, type SpoolMemory, type Tail } from './spool-memory.ts';

/** Kept by each thread while the disk is full or fails. */
const UNWRITTEN_MAX = 2048;

/** What a thread needs to write. */
export type WriterDeps = {
  readonly folder: string;
  readonly node: string;
  /** All files together stay below this; at least 1 MiB. */
  readonly bytesMax: number;
  readonly memory: SpoolMemory;
  /** The thread. */
  readonly slot: number;
  /** New files are durable at once, and `commit` is called. */
  readonly strict: boolean;
  readonly log: Log;
  /** Tells the main thread that there is a record. */
  readonly wake: () => void;
  readonly disk?: SpoolDisk;
};

export type SpoolWriter = {
  /** False when the spool is full or failing. Comes back by itself when there is room again. */
  accepting(): boolean;
  /** One write of what requests left. Throws `audit_unavailable`; the records are then kept, and written when that works. */
  append(drafts: readonly Draft[]): void;
  /** The same for who holds the lock, which it gives back; false when it did not work. */
  appendHeld(drafts: readonly Draft[]): boolean;
  /** One write of counted refusals, into their reserve; false when that is full or the disk fails. */
  appendRefusals(drafts: readonly Draft[]): boolean;
  /** What was appended is durable when it resolves. Rejects with `audit_unavailable`. */
  commit(): Promise<void>;
  /** Writes what is kept, if it can be written now. */
  flush(): void;
  /** The same for who holds the lock, and goes on holding it. */
  flushHeld(): void;
  /** Takes over decisions that a thread which has ended left open: their outcomes will close them. */
  adopt(rows: readonly { readonly row: number; readonly id: string }[]): void;
  /** Gives away what is kept, for a thread that does not end. */
  giveUp(): readonly Draft[];
  /** Keeps what another thread gave up. */
  keep(drafts: readonly Draft[]): void;
  /** Lets go of a file that is not appended to any more. */
  tidy(): void;
  close(): void;
};

/** Opens the spool for a thread. */
export function createSpoolWriter(deps: WriterDeps): SpoolWriter {
  const { folder, node, log, strict, disk = realDisk } = deps;
  const bounds = boundsOf(deps.bytesMax);
  const state = openSpoolState(deps.memory, deps.slot);
  const { mutex } = state;
  const file = createAppendFile(folder, disk);
  const unwritten: Draft[] = [];
  /** Rows of the decisions that wait for their outcome here. */
  const open = new Map<string, number>();

  const fail = (cause: unknown): void => {
    if (!state.isFailing()) log.error('the audit cannot be written; requests are refused', { error: cause, folder });
    state.setFailing(true, false);
  };
  const isFull = (): boolean => state.tail().requests >= bounds.hard;
  const begin = (tail: Tail): Tail => {
    const firstSeq = tail.seq + 1;
    if (strict && tail.firstSeq !== 0) {
      file.to(tail.firstSeq);
      file.syncNow();
    }
    const { closed } = tail;
    if (tail.firstSeq !== 0 && !state.close(closed, { ...tail, lastSeq: tail.seq }))
      throw new Error('Too many files are full');
    file.to(firstSeq);
    if (strict) syncNamesNow(folder);
    return { ...tail, firstSeq, bytes: 0, refusalBytes: 0, closed: tail.firstSeq === 0 ? closed : closed + 1 };
  };
  const write = (records: readonly Prepared[], counted: boolean): void => {
    const before = state.tail();
    const { bytes, last } = chain(records, before);
    const isEnough = before.bytes > 0 && before.bytes + bytes.length > bounds.segment;
    const tail = before.firstSeq === 0 || isEnough ? begin(before) : before;
    file.to(tail.firstSeq);
    file.append(bytes);
    // Before the commit: a decision that can be read is known to be open.
    if (!counted) noteOpen(records, before.seq);
    const added = bytes.length;
    const requests = tail.requests + (counted ? 0 : added);
    state.commit(
      {
        seq: last.seq,
        hash: last.hash,
        requests,
        refusals: tail.refusals + (counted ? added : 0),
        firstSeq: tail.firstSeq,
        bytes: tail.bytes + added,
        refusalBytes: tail.refusalBytes + (counted ? added : 0),
        closed: tail.closed,
      },
      requests < bounds.soft,
    );
    if (state.takeWanted()) deps.wake();
  };
  const noteOpen = (records: readonly Prepared[], before: number): void => {
    let pair = '';
    for (const [at, { kind, id }] of records.entries()) {
      // The usual request writes both at once.
      if (id === pair) continue;
      pair = kind === 'decision' && records[at + 1]?.id === id ? id : '';
      if (pair !== '') continue;
      const row = open.get(id);
      if (kind === 'decision' && row === undefined) {
        const fresh = state.open.add(id, before + at + 1);
        if (fresh >= 0) open.set(id, fresh);
      } else if (kind === 'outcome' && row !== undefined) {
        open.delete(id);
        state.open.remove(row);
      }
    }
  };
  const prepared = (drafts: readonly Draft[]): readonly Prepared[] => drafts.map((draft) => prepare(draft, node));
  const writeUnwritten = (): void => {
    if (unwritten.length === 0 || isFull()) return;
    write(prepared(unwritten), false);
    unwritten.length = 0;
  };
  const keep = (drafts: readonly Draft[]): void => {
    if (unwritten.length + drafts.length <= UNWRITTEN_MAX) unwritten.push(...drafts.map(asUnwritten));
    else log.error('audit records are lost', { ids: drafts.map(({ id }) => id) });
  };
  const sync = createGroupSync(async () => {
    try {
      if (state.isFailing()) throw new Error('The audit cannot be written');
      await file.sync();
    } catch (cause) {
      mutex.lock();
      fail(cause);
      mutex.unlock();
      throw unavailable(cause);
    }
  });

  const appendHeld = (drafts: readonly Draft[], records: readonly Prepared[]): unknown => {
    let isTried = false;
    try {
      if (state.isFailing()) throw new Error('The audit cannot be written');
      if (isFull()) throw new Error('The spool is full');
      isTried = true;
      writeUnwritten();
      write(records, false);
      return undefined;
    } catch (cause) {
      keep(drafts);
      // A part may be on the disk, also if what was kept has filled the spool by now.
      if (isTried) fail(cause);
      return cause;
    } finally {
      mutex.unlock();
    }
  };
  const flushHeld = (): void => {
    try {
      if (!state.isFailing()) writeUnwritten();
    } catch (cause) {
      fail(cause);
    }
  };

  return {
    accepting: state.isAccepting,
    append(drafts) {
      const records = prepared(drafts);
      mutex.lock();
      const cause = appendHeld(drafts, records);
      if (cause !== undefined) throw unavailable(cause);
    },
    appendHeld: (drafts) => appendHeld(drafts, prepared(drafts)) === undefined,
    appendRefusals(drafts) {
      const records = prepared(drafts);
      mutex.lock();
      try {
        if (state.isFailing() || state.tail().refusals >= bounds.refusals) return false;
        write(records, true);
        return true;
      } catch (cause) {
        fail(cause);
        return false;
      } finally {
        mutex.unlock();
      }
    },
    commit: sync,
    flush() {
      if (unwritten.length === 0) return;
      mutex.lock();
      flushHeld();
      mutex.unlock();
    },
    flushHeld,
    adopt(rows) {
      for (const { id, row } of rows) open.set(id, row);
    },
    giveUp: () => unwritten.splice(0),
    keep,
    tidy: () => file.keepOnly(state.tail().firstSeq),
    close: () => file.keepOnly(-1),
  };
}

const unavailable = (cause: unknown): DaypassError =>
  new DaypassError('audit_unavailable', 'The audit cannot be written', { cause });

/** Whether the spool takes requests, by its bytes. */
export const hasRoom = ({ requests }: Tail, { soft }: Bounds): boolean => requests < soft;
