// The audit on this node's disk as the main thread sees it: opened, read for the upload, deleted when acknowledged, mended.
import { existsSync, readFileSync, unlinkSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { syncFolder } from '../atomic-file.ts';
import type { Log } from '../log.ts';
import { boundsOf } from './bounds.ts';
import { endOfInterrupted } from './chain.ts';
import {
  cutFile,
  readDurably,
  realDisk,
  releaseRoom,
  reserveRoom,
  type SpoolDisk,
  segmentPath,
  tryRoom,
} from './files.ts';
import { writePosition } from './position.ts';
import { positionPath, recoverSpool } from './recover.ts';
import { countLines, hashOf, lastLine, type Segment, scanSegment } from './segment.ts';
import type { Draft } from './sink.ts';
import { createSpoolMemory, openSpoolState, type SpoolMemory, type Tail } from './spool-memory.ts';
import { createSpoolWriter, hasRoom, type SpoolWriter } from './writer.ts';

const PROBE_MS = 1000;
/** The main thread among those that write. */
const MAIN_SLOT = 0;

/** Records as they are uploaded: the exact bytes of each, with a newline behind it; good until the next are read. */
export type Batch = { readonly firstSeq: number; readonly count: number; readonly lines: Uint8Array };

type Deps = {
  readonly folder: string;
  readonly node: string;
  /** All files together stay below this; at least 1 MiB. */
  readonly bytesMax: number;
  readonly now: () => number;
  readonly log: Log;
  /** New files are durable at once. */
  readonly strict?: boolean;
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

export type Spool = Pick<SpoolWriter, 'accepting' | 'append' | 'appendRefusals' | 'commit'> & {
  /** For the writers of other threads. */
  readonly memory: SpoolMemory;
  /** Called after an append. */
  onAppend(listener: () => void): void;
  /** A writer of another thread has appended a record that the main thread wanted to hear of. */
  appended(): void;
  /** Called when other threads may write what they have kept, and let go of files that are gone. */
  onMended(listener: () => void): void;
  /** The records after the acknowledged ones, durable on this disk; undefined when there are none. */
  read(limit: { readonly records: number; readonly bytes: number }): Promise<Batch | undefined>;
  /** The control plane has the batch up to `storedSeq`: remembered durably, then whole files are deleted. */
  acknowledge(batch: Batch, storedSeq: number): Promise<void>;
  /**
   * A thread has ended: what it was writing is finished, what it gave up is kept, and its other requests get the
   * outcome `failed`.
   */
  bury(slot: number, givenUp?: readonly Draft[]): Promise<void>;
  usage(): SpoolUsage;
  close(): void;
};

/**
 * Opens the spool and mends what a crash left. A request that had been decided and had not ended gets the outcome
 * `failed` with the reason `internal`. Throws `config_invalid` naming the file.
 */
export function openSpool(deps: Deps): Spool {
  const { folder, node, now, log, disk = realDisk } = deps;
  const bounds = boundsOf(deps.bytesMax);
  const recovered = recoverSpool(folder, node, log);
  const memory = createSpoolMemory();
  const state = openSpoolState(memory, MAIN_SLOT);
  /** Files that nobody appends to, oldest first. */
  const segments: Segment[] = [...recovered.segments];
  let { position, offset } = recovered;
  /** What is read for the upload. */
  let room: Uint8Array = new Uint8Array();
  let pendingSince = recovered.last.seq > position.seq ? now() : undefined;
  let warned = false;
  let durableName = 0;
  let listener = () => {};
  let mended = () => {};

  const commit = (tail: Tail) => state.commit(tail, !state.isFailing() && hasRoom(tail, bounds));
  /** For who cannot wait: false when another thread holds the lock. */
  const tryHeld = (work: () => void): boolean => {
    if (!state.mutex.tryLock()) return false;
    try {
      work();
    } finally {
      state.mutex.unlock();
    }
    return true;
  };
  // The main thread never stops for the lock: it may be the one to free it.
  const held = async (work: () => void): Promise<void> => {
    while (!tryHeld(work)) await setImmediate();
  };
  commit({
    ...recovered.last,
    requests: sum(segments, ({ bytes, refusalBytes }) => bytes - refusalBytes),
    refusals: sum(segments, ({ refusalBytes }) => refusalBytes),
    firstSeq: 0,
    bytes: 0,
    refusalBytes: 0,
    closed: 0,
  });
  const writer = createSpoolWriter({
    folder,
    node,
    bytesMax: deps.bytesMax,
    memory,
    slot: MAIN_SLOT,
    strict: deps.strict === true,
    log,
    wake: () => appended(),
    disk,
  });

  const appended = () => {
    pendingSince ??= now();
    state.want();
    listener();
  };
  const warnAboutSize = () => {
    const { requests } = state.tail();
    if (requests >= bounds.warn && !warned) log.warn('the audit spool is 80 % full', { bytes: requests, folder });
    warned = requests >= bounds.warn || (warned && requests >= bounds.warn * 0.9);
  };
  const heal = () => {
    const tail = state.tail();
    if (tail.firstSeq !== 0) cutFile(disk, segmentPath(folder, tail.firstSeq), tail.bytes);
    cutUnborn(disk, folder, tail);
    tryRoom(disk, folder);
    state.setFailing(false, hasRoom(tail, bounds));
    writer.flushHeld();
  };
  const look = () => {
    warnAboutSize();
    if (!state.isFailing()) return;
    try {
      if (!tryHeld(heal)) return;
    } catch {
      return;
    }
    if (state.isFailing()) return;
    log.info('the audit can be written again', { folder });
    mended();
  };
  const looks = setInterval(look, PROBE_MS).unref();
  reserveRoom(folder);

  /** All files, the one that is appended to as the last. */
  const files = (): readonly Segment[] => {
    const tail = state.tail();
    for (let file = state.takeClosed(tail); file !== undefined; file = state.takeClosed(tail))
      segments.push({ ...file, path: segmentPath(folder, file.firstSeq) });
    return tail.firstSeq === 0 ? segments : [...segments, activeOf(folder, tail)];
  };
  /** Nobody appends to the newest file any more, if all of it is acknowledged and it is worth it. */
  const detach = (seq: number) => {
    const tail = state.tail();
    if (tail.firstSeq === 0 || tail.seq > seq || tail.bytes < bounds.rotate) return;
    files();
    segments.push(activeOf(folder, tail));
    commit({ ...tail, firstSeq: 0, bytes: 0, refusalBytes: 0 });
  };
  const discount = ({ bytes, refusalBytes }: Segment) => {
    const tail = state.tail();
    commit({
      ...tail,
      requests: tail.requests - (bytes - refusalBytes),
      refusals: tail.refusals - refusalBytes,
    });
  };
  const deleteUntil = async (seq: number): Promise<void> => {
    await held(() => detach(seq));
    files();
    for (let [oldest] = segments; oldest !== undefined && oldest.lastSeq <= seq; [oldest] = segments) {
      const gone = oldest;
      unlinkSync(gone.path);
      segments.shift();
      offset = 0;
      await held(() => discount(gone));
      writer.tidy();
      mended();
    }
  };

  const spool: Spool = {
    memory,
    accepting: writer.accepting,
    append(drafts) {
      writer.append(drafts);
      warnAboutSize();
    },
    appendRefusals: writer.appendRefusals,
    commit: writer.commit,
    onAppend(next) {
      listener = next;
      state.want();
    },
    appended,
    onMended(next) {
      mended = next;
    },
    async read(limit) {
      await deleteUntil(position.seq);
      state.want();
      const all = files();
      const [oldest] = all;
      if (oldest === undefined || offset >= oldest.bytes) return undefined;
      const wanted = Math.min(oldest.bytes - offset, limit.bytes);
      if (room.length < wanted) room = Buffer.allocUnsafeSlow(limit.bytes);
      const bytes = await readDurably(oldest.path, offset, room.subarray(0, wanted));
      const newest = all.at(-1)?.firstSeq ?? 0;
      if (durableName < newest) await syncFolder(folder);
      durableName = Math.max(durableName, newest);
      const { count, end } = countLines(bytes, limit.records);
      if (count === 0) throw new Error('The spool does not hold the records that were written to it');
      return { firstSeq: position.seq + 1, count, lines: bytes.subarray(0, end) };
    },
    async acknowledge(batch, storedSeq) {
      const { count, end } = countLines(batch.lines, storedSeq - batch.firstSeq + 1);
      if (count === 0 || batch.firstSeq !== position.seq + 1) return;
      const seq = position.seq + count;
      let undecided: readonly string[] = [];
      await held(() => {
        undecided = state.open.list().flatMap((open) => (open.seq <= seq ? [open.id] : []));
      });
      const reached = { seq, hash: hashOf(lastLine(batch.lines.subarray(0, end))), open: undecided };
      const write = () => writePosition(positionPath(folder), node, reached, disk.replace);
      await write().catch((error: unknown) => {
        // On a disk that the spool has filled nothing could be deleted for ever.
        if (!releaseRoom(folder)) throw error;
        return write();
      });
      position = reached;
      offset += end;
      pendingSince = state.tail().seq > seq ? now() : undefined;
      await deleteUntil(seq);
      if (!state.isFailing()) reserveRoom(folder);
      warnAboutSize();
    },
    async bury(slot, givenUp = []) {
      if (state.mutex.takeFrom(slot)) {
        try {
          // What a failed write left there is kept by its thread, or was given up.
          if (!state.isFailing()) adoptTail(slot);
        } catch (error) {
          // What lies behind the tail is cut before anybody writes there.
          log.error('the audit of a worker that ended cannot be mended yet', { error, folder });
          state.setFailing(true, false);
        } finally {
          state.mutex.unlock();
        }
      }
      let left: readonly { row: number; id: string }[] = [];
      await held(() => {
        const rows = state.open.list().filter((open) => open.slot === slot);
        const { seq: lastSeq } = state.tail();
        left = rows.filter(({ seq }) => seq <= lastSeq);
        // Whoever has the slot next may end before their outcomes are written.
        for (const { row } of left) state.open.adopt(row);
        // It ended before what it wrote was committed.
        for (const { row, seq } of rows) if (seq > lastSeq) state.open.remove(row);
        writer.adopt(left);
        writer.keep(givenUp);
        writer.flushHeld();
      });
      const ended = new Set(givenUp.map(({ kind, id }) => (kind === 'outcome' ? id : '')));
      const interrupted = left.filter(({ id }) => !ended.has(id));
      await finish(interrupted.map(({ id }) => endOfInterrupted(id, { refusedFor: undefined }, now())));
    },
    usage() {
      const { requests, refusals, seq } = state.tail();
      return {
        bytes: requests + refusals,
        bytesMax: deps.bytesMax,
        accepting: spool.accepting(),
        lastSeq: seq,
        acknowledgedSeq: position.seq,
        pendingSince: seq > position.seq ? (pendingSince ?? now()) : undefined,
      };
    },
    close() {
      clearInterval(looks);
      // What is kept goes with the process.
      look();
      writer.close();
    },
  };

  /** The whole records behind the tail are the last that the thread wrote; a part of one is cut. */
  const adoptTail = (slot: number) => {
    const tail = state.tail();
    cutUnborn(disk, folder, tail);
    if (tail.firstSeq === 0) return;
    const path = segmentPath(folder, tail.firstSeq);
    const bytes = readFileSync(path).subarray(tail.bytes);
    let reached = tail;
    const undecided = new Map<string, number>();
    const rows = new Map(state.open.list().map(({ id, row }) => [id, row]));
    scanSegment(bytes, node, tail, ({ id, kind, seq, hash, end, counted }) => {
      const grown = end - (reached.bytes - tail.bytes);
      const row = rows.get(id);
      if (kind === 'decision' && !counted && row === undefined) undecided.set(id, seq);
      if (kind === 'outcome' && row !== undefined) state.open.remove(row);
      if (kind === 'outcome') undecided.delete(id);
      reached = {
        ...reached,
        seq,
        hash,
        bytes: reached.bytes + grown,
        requests: reached.requests + (counted ? 0 : grown),
        refusals: reached.refusals + (counted ? grown : 0),
        refusalBytes: reached.refusalBytes + (counted ? grown : 0),
      };
      return true;
    });
    for (const [id, seq] of undecided) state.open.addFor(slot, id, seq);
    cutFile(disk, path, reached.bytes);
    commit(reached);
  };
  const finish = async (outcomes: readonly Draft[]): Promise<void> => {
    if (outcomes.length === 0) return;
    log.warn('requests were interrupted by the end of their thread or process', { count: outcomes.length });
    while (!state.mutex.tryLock()) await setImmediate();
    writer.appendHeld(outcomes);
  };

  writer.adopt(
    [...recovered.open].map(([id, { seq }]) => ({ id, row: state.open.add(id, seq) })).filter(({ row }) => row >= 0),
  );
  void finish([...recovered.open].map(([id, decision]) => endOfInterrupted(id, decision, now())));
  return spool;
}

const sum = (segments: readonly Segment[], of: (segment: Segment) => number): number =>
  segments.reduce((total, segment) => total + of(segment), 0);

const activeOf = (folder: string, { firstSeq, seq, bytes, refusalBytes }: Tail): Segment => ({
  path: segmentPath(folder, firstSeq),
  firstSeq,
  lastSeq: seq,
  bytes,
  refusalBytes,
});

/** A file that was begun and to which nothing was committed: its name is that of the next one. */
function cutUnborn(disk: SpoolDisk, folder: string, { seq }: Tail): void {
  const path = segmentPath(folder, seq + 1);
  if (existsSync(path)) cutFile(disk, path, 0);
}
