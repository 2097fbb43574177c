// A bounded hash table in shared memory: slots by 128-bit keys, in the order in which they were last touched.

/** Words of a key. Keys must be hashes that nobody outside can aim. */
export const KEY_WORDS = 4;

/** The table. What a slot holds is kept beside it, by its number. The caller holds the lock. */
export type Table = {
  /** The slot of a key, or -1. */
  find(key: Int32Array): number;
  /** Whether a slot is of that key. */
  holds(slot: number, key: Int32Array): boolean;
  /** A slot for a key that is not there, as the newest one. There must be room. */
  insert(key: Int32Array): number;
  remove(slot: number): void;
  /** Makes a slot the newest. */
  touch(slot: number): void;
  /** The slot that was not touched for the longest, or -1. */
  oldest(): number;
  size(): number;
  /** Forgets every slot. */
  clear(): void;
};

// The head: how many are in use, how many were ever handed out, and slots plus one, so that zero is none.
const [SIZE, USED, FREED, OLDEST, NEWEST, HEAD_WORDS] = [0, 1, 2, 3, 4, 8];
/** Key, next of the same hash (or of those freed), previous and next in order. */
const SLOT_WORDS = KEY_WORDS + 3;
const [CHAIN, BEFORE, AFTER] = [KEY_WORDS, KEY_WORDS + 1, KEY_WORDS + 2];

/** Empty memory for a table of so many slots. */
export const tableMemory = (slots: number): SharedArrayBuffer =>
  new SharedArrayBuffer(4 * (HEAD_WORDS + bucketsFor(slots) + slots * SLOT_WORDS));

/** The table in such memory. */
export function openTable(memory: SharedArrayBuffer, slots: number): Table {
  const words = new Int32Array(memory);
  const buckets = bucketsFor(slots);
  const first = HEAD_WORDS + buckets;
  const word = (at: number): number => words[at] ?? 0;
  const base = (slot: number): number => first + slot * SLOT_WORDS;
  const headOf = (hash: number): number => HEAD_WORDS + (hash & (buckets - 1));
  const holds = (slot: number, key: Int32Array): boolean => {
    const at = base(slot);
    return word(at) === key[0] && word(at + 1) === key[1] && word(at + 2) === key[2] && word(at + 3) === key[3];
  };
  const append = (slot: number): void => {
    const newest = word(NEWEST);
    words[base(slot) + BEFORE] = newest;
    words[base(slot) + AFTER] = 0;
    if (newest === 0) words[OLDEST] = slot + 1;
    else words[base(newest - 1) + AFTER] = slot + 1;
    words[NEWEST] = slot + 1;
  };
  const detach = (slot: number): void => {
    const [before, after] = [word(base(slot) + BEFORE), word(base(slot) + AFTER)];
    if (before === 0) words[OLDEST] = after;
    else words[base(before - 1) + AFTER] = after;
    if (after === 0) words[NEWEST] = before;
    else words[base(after - 1) + BEFORE] = before;
  };
  const unchain = (slot: number): void => {
    let at = headOf(word(base(slot)));
    while (word(at) !== slot + 1) {
      if (word(at) === 0) throw new Error('a slot is in no chain');
      at = base(word(at) - 1) + CHAIN;
    }
    words[at] = word(base(slot) + CHAIN);
  };
  const free = (): number => {
    const freed = word(FREED);
    if (freed > 0) {
      words[FREED] = word(base(freed - 1) + CHAIN);
      return freed - 1;
    }
    const used = word(USED);
    if (used >= slots) throw new Error('a shared table is full');
    words[USED] = used + 1;
    return used;
  };
  return {
    holds,
    find(key) {
      let slot = word(headOf(key[0] ?? 0));
      while (slot !== 0 && !holds(slot - 1, key)) slot = word(base(slot - 1) + CHAIN);
      return slot - 1;
    },
    insert(key) {
      const slot = free();
      words.set(key, base(slot));
      const head = headOf(key[0] ?? 0);
      words[base(slot) + CHAIN] = word(head);
      words[head] = slot + 1;
      append(slot);
      words[SIZE] = word(SIZE) + 1;
      return slot;
    },
    remove(slot) {
      unchain(slot);
      detach(slot);
      words.fill(0, base(slot), base(slot) + SLOT_WORDS);
      words[base(slot) + CHAIN] = word(FREED);
      words[FREED] = slot + 1;
      words[SIZE] = word(SIZE) - 1;
    },
    touch(slot) {
      if (word(NEWEST) === slot + 1) return;
      detach(slot);
      append(slot);
    },
    oldest: () => word(OLDEST) - 1,
    size: () => word(SIZE),
    clear: () => void words.fill(0, 0, base(word(USED))),
  };
}

const bucketsFor = (slots: number): number => 2 ** Math.ceil(Math.log2(Math.max(2, slots)));
