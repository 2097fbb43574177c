// Where a node's chain stands, in memory that all threads share: whoever appends holds the lock and moves it on.
import { createMutex, type Mutex } from '../shared/mutex.ts';
import { type OpenDecisions, openDecisionMemory, openDecisions } from './open-decisions.ts';

/** The end of the chain and of the newest file. */
export type Tail = {
  readonly seq: number;
  readonly hash: string;
  /** Bytes of all files. */
  readonly requests: number;
  readonly refusals: number;
  /** The file that is appended to, by its first number; 0: there is none. */
  readonly firstSeq: number;
  readonly bytes: number;
  readonly refusalBytes: number;
  /** Files that were full since the start. */
  readonly closed: number;
};

/** A file that is not appended to any more. */
export type Closed = {
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly bytes: number;
  readonly refusalBytes: number;
};

/** The shared memory, as it is handed to a thread. */
export type SpoolMemory = { readonly state: SharedArrayBuffer; readonly open: SharedArrayBuffer };

/** The state. `commit`, `close` and `open` are for who holds the lock. */
export type SpoolState = {
  readonly mutex: Mutex;
  readonly open: OpenDecisions;
  /** As of the last commit; a thread that ends in the middle of one leaves the one before. */
  tail(): Tail;
  commit(tail: Tail, accepting: boolean): void;
  /** Notes a full file; false when the main thread has not yet looked at so many before it. */
  close(index: number, file: Closed): boolean;
  /** The next full file that the main thread has not yet looked at. */
  takeClosed(tail: Tail): Closed | undefined;
  isAccepting(): boolean;
  isFailing(): boolean;
  setFailing(isFailing: boolean, accepting: boolean): void;
  /** The main thread wants to be told of the next record. */
  want(): void;
  /** Whether it wanted to; then it is for the caller to tell it. */
  takeWanted(): boolean;
};

const [LOCK, COMMITS, FAILING, ACCEPTING, WANTED, TAKEN] = [0, 1, 2, 3, 4, 5];
const HEAD_BYTES = 64;
const NUMBERS = 7;
const HASH_BYTES = 64;
const COPY_BYTES = NUMBERS * 8 + HASH_BYTES;
/** Files that may fill up before the main thread looks. */
const CLOSED_MAX = 256;
const CLOSED_AT = HEAD_BYTES + 2 * COPY_BYTES;

/** Memory of a chain that has not begun. */
export const createSpoolMemory = (): SpoolMemory => ({
  state: new SharedArrayBuffer(CLOSED_AT + CLOSED_MAX * 4 * 8),
  open: openDecisionMemory(),
});

/** The state in such memory, as one thread sees it. */
export function openSpoolState(memory: SpoolMemory, slot: number): SpoolState {
  const words = new Int32Array(memory.state, 0, HEAD_BYTES / 4);
  const copies = [0, 1].map((copy) => openCopy(memory.state, HEAD_BYTES + copy * COPY_BYTES));
  const closed = new Float64Array(memory.state, CLOSED_AT);
  const copyOf = (commits: number): Copy => copies[commits & 1] ?? unreachable();
  const setAccepting = (accepting: boolean): void => void Atomics.store(words, ACCEPTING, Number(accepting));
  return {
    mutex: createMutex(words, LOCK, slot),
    open: openDecisions(memory.open, slot),
    tail() {
      for (;;) {
        const commits = Atomics.load(words, COMMITS);
        const tail = copyOf(commits).read();
        if (Atomics.load(words, COMMITS) === commits) return tail;
      }
    },
    commit(tail, accepting) {
      const commits = Atomics.load(words, COMMITS);
      copyOf(commits + 1).write(tail);
      Atomics.store(words, COMMITS, (commits + 1) | 0);
      setAccepting(accepting);
    },
    close(index, { firstSeq, lastSeq, bytes, refusalBytes }) {
      if (index - Atomics.load(words, TAKEN) >= CLOSED_MAX) return false;
      closed.set([firstSeq, lastSeq, bytes, refusalBytes], (index % CLOSED_MAX) * 4);
      return true;
    },
    takeClosed(tail) {
      const taken = Atomics.load(words, TAKEN);
      if (taken >= tail.closed) return undefined;
      const at = (taken % CLOSED_MAX) * 4;
      const [firstSeq = 0, lastSeq = 0, bytes = 0, refusalBytes = 0] = closed.subarray(at, at + 4);
      Atomics.store(words, TAKEN, taken + 1);
      return { firstSeq, lastSeq, bytes, refusalBytes };
    },
    isAccepting: () => Atomics.load(words, ACCEPTING) === 1,
    isFailing: () => Atomics.load(words, FAILING) === 1,
    setFailing(isFailing, accepting) {
      Atomics.store(words, FAILING, Number(isFailing));
      setAccepting(accepting);
    },
    want: () => void Atomics.store(words, WANTED, 1),
    takeWanted: () => Atomics.load(words, WANTED) === 1 && Atomics.exchange(words, WANTED, 0) === 1,
  };
}

type Copy = { read(): Tail; write(tail: Tail): void };

function openCopy(memory: SharedArrayBuffer, at: number): Copy {
  const numbers = new Float64Array(memory, at, NUMBERS);
  const text = Buffer.from(memory, at + NUMBERS * 8, HASH_BYTES);
  // With one thread the hash is always the one that it wrote last.
  let known = { seq: -1, hash: '' };
  return {
    read() {
      const seq = numbers[0] ?? 0;
      return {
        seq,
        hash: seq === known.seq ? known.hash : text.toString('latin1'),
        requests: numbers[1] ?? 0,
        refusals: numbers[2] ?? 0,
        firstSeq: numbers[3] ?? 0,
        bytes: numbers[4] ?? 0,
        refusalBytes: numbers[5] ?? 0,
        closed: numbers[6] ?? 0,
      };
    },
    write(tail) {
      numbers[0] = tail.seq;
      numbers[1] = tail.requests;
      numbers[2] = tail.refusals;
      numbers[3] = tail.firstSeq;
      numbers[4] = tail.bytes;
      numbers[5] = tail.refusalBytes;
      numbers[6] = tail.closed;
      text.write(tail.hash, 'latin1');
      known = { seq: tail.seq, hash: tail.hash };
    },
  };
}

const unreachable = (): never => {
  throw new Error('there are two copies');
};
