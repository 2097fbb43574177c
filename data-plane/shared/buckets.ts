// Token buckets that all threads fill and empty together, by keys; and one that is for all of a kind.
import { type Bucket, type Flow, putBack, secondsUntilOne, take } from '../bucket.ts';
import type { KeyOf } from './keyed-hash.ts';
import { createMutex, type Mutex } from './mutex.ts';
import { KEY_WORDS, openTable, type Table, tableMemory } from './table.ts';

/** One bucket to take from. */
export type Draw = { readonly key: string; readonly flow: Flow };

/** Buckets by key, full at first; the one that was not asked for the longest goes when there are too many. */
export type Buckets = {
  /** Takes one from each, or none: returns 0, or the whole seconds until the first that has none left has one. */
  takeAll(draws: readonly Draw[]): number;
  /** Makes good what a thread left that ended while it changed the buckets: they begin empty. */
  recover(slot: number): void;
};

/** A bucket for all. */
export type Budget = {
  take(): boolean;
  putBack(): void;
};

/** Memory of buckets. */
export type BucketMemory = {
  readonly table: SharedArrayBuffer;
  readonly values: SharedArrayBuffer;
  readonly lock: SharedArrayBuffer;
};

// One request takes from three: none of them may push another out.
const slotsFor = (max: number): number => Math.max(3, max);

/** Empty memory for so many buckets. */
export const bucketMemory = (max: number): BucketMemory => ({
  table: tableMemory(slotsFor(max)),
  // One more: since when buckets that are new began to fill.
  values: new SharedArrayBuffer(8 * (2 * slotsFor(max) + 1)),
  lock: new SharedArrayBuffer(4),
});

/** The buckets in such memory, as one thread sees them. */
export function openBuckets(
  memory: BucketMemory,
  slot: number,
  max: number,
  keyOf: KeyOf,
  nowMs: () => number,
): Buckets {
  const slots = slotsFor(max);
  const table = openTable(memory.table, slots);
  const values = new Float64Array(memory.values);
  const mutex = createMutex(new Int32Array(memory.lock), 0, slot);
  const since = slots * 2;
  const bucket = new SharedBucket(values);
  const keys = createKeys(keyOf);
  const find = ({ key, flow }: Draw, now: number): number => {
    const known = keys.get(key);
    const found = slotOf(table, known);
    known.slot = found < 0 ? makeRoom(table, slots).insert(known.words) : found;
    bucket.slot = known.slot;
    if (found < 0) {
      const began = values[since] ?? 0;
      bucket.level = began === 0 ? flow.burst : Math.min(flow.burst, Math.max(0, now - began) * flow.perMs);
      bucket.at = now;
    } else table.touch(found);
    return known.slot;
  };
  const takeAll = (draws: readonly Draw[]): number => {
    // Read with the lock held: two threads that read it before could set it back by turns.
    const now = nowMs();
    const taken: number[] = [];
    for (const draw of draws) {
      taken.push(find(draw, now));
      if (take(bucket, draw.flow, now)) continue;
      const seconds = secondsUntilOne(bucket, draw.flow);
      for (let at = 0; at < taken.length - 1; at += 1) {
        bucket.slot = taken[at] ?? 0;
        putBack(bucket, draws[at]?.flow ?? draw.flow);
      }
      return seconds;
    }
    return 0;
  };
  return {
    takeAll(draws) {
      if (draws.length === 0) return 0;
      return locked(mutex, () => takeAll(draws));
    },
    recover(dead) {
      if (!mutex.takeFrom(dead)) return;
      table.clear();
      values[since] = nowMs();
      mutex.unlock();
    },
  };
}

/** Empty memory for one budget. */
export const budgetMemory = (): SharedArrayBuffer => new SharedArrayBuffer(8 * 4);

/** The budget in such memory, full at first. */
export function openBudget(
  memory: SharedArrayBuffer,
  slot: number,
  flow: Flow,
  nowMs: () => number,
): Budget & { recover(slot: number): void } {
  const values = new Float64Array(memory, 0, 2);
  const words = new Int32Array(memory, 16, 2);
  const mutex = createMutex(words, 0, slot);
  const bucket = new SharedBucket(values);
  const fillFirst = (): void => {
    if (words[1] !== 0) return;
    bucket.level = flow.burst;
    bucket.at = nowMs();
    words[1] = 1;
  };
  return {
    take: () =>
      locked(mutex, () => {
        fillFirst();
        return take(bucket, flow, nowMs());
      }),
    putBack: () => locked(mutex, () => putBack(bucket, flow)),
    // Level and time are good whatever was under way.
    recover(dead) {
      if (mutex.takeFrom(dead)) mutex.unlock();
    },
  };
}

/** A bucket in shared memory; `slot` says which. */
class SharedBucket implements Bucket {
  readonly #values: Float64Array;
  slot = 0;

  constructor(values: Float64Array) {
    this.#values = values;
  }

  get level(): number {
    return this.#values[this.slot * 2] ?? 0;
  }

  set level(level: number) {
    this.#values[this.slot * 2] = level;
  }

  get at(): number {
    return this.#values[this.slot * 2 + 1] ?? 0;
  }

  set at(at: number) {
    this.#values[this.slot * 2 + 1] = at;
  }
}

/** A key as words, and the slot where it was last. */
type Known = { readonly words: Int32Array; slot: number };

/** Keys that this thread has hashed already: a hash costs more than all the rest. */
const KEYS_MAX = 8_192;

function createKeys(keyOf: KeyOf): { get(key: string): Known } {
  const known = new Map<string, Known>();
  return {
    get(key) {
      const found = known.get(key);
      if (found !== undefined) return found;
      if (known.size >= KEYS_MAX) known.clear();
      const fresh = { words: new Int32Array(KEY_WORDS), slot: -1 };
      keyOf(key, fresh.words);
      known.set(key, fresh);
      return fresh;
    },
  };
}

const slotOf = (table: Table, { words, slot }: Known): number =>
  slot >= 0 && table.holds(slot, words) ? slot : table.find(words);

function makeRoom(table: Table, slots: number): Table {
  if (table.size() >= slots) table.remove(table.oldest());
  return table;
}

function locked<T>(mutex: Mutex, work: () => T): T {
  mutex.lock();
  try {
    return work();
  } finally {
    mutex.unlock();
  }
}
