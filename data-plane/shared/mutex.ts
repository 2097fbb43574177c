// A lock between the threads of one process: held for microseconds, and taken from a thread that ended while it held it.

/** Whom a lock belongs to: a slot number from 0, of which no two threads have the same at one time. */
export type Mutex = {
  /** Waits for the lock. The thread is stopped meanwhile, so whoever may have to free a dead one's uses `tryLock`. */
  lock(): void;
  /** Whether the lock is held now. */
  tryLock(): boolean;
  unlock(): void;
  /** Takes the lock over from a thread that has ended; false: it did not hold it. Called once for each that has. */
  takeFrom(slot: number): boolean;
};

const FREE = 0;
/** Somebody may be waiting. */
const WAITED = 0x4000_0000;
/** Looks at the lock before the thread goes to sleep: most locks are held for less than that takes. */
const SPINS = 100;

/** A lock in one word of shared memory, which is zero at first. */
export function createMutex(words: Int32Array, at: number, slot: number): Mutex {
  const me = slot + 1;
  const tryLock = (): boolean => Atomics.compareExchange(words, at, FREE, me) === FREE;
  const wait = (): void => {
    for (let spins = 0; spins < SPINS; spins += 1) {
      if (Atomics.load(words, at) === FREE && tryLock()) return;
    }
    for (;;) {
      const held = Atomics.load(words, at);
      if (held === FREE) {
        // Others may be waiting, too.
        if (Atomics.compareExchange(words, at, FREE, me | WAITED) === FREE) return;
        continue;
      }
      const waited = held | WAITED;
      if (held === waited || Atomics.compareExchange(words, at, held, waited) === held) Atomics.wait(words, at, waited);
    }
  };
  return {
    lock() {
      if (!tryLock()) wait();
    },
    tryLock,
    unlock() {
      if ((Atomics.exchange(words, at, FREE) & WAITED) !== 0) Atomics.notify(words, at, 1);
    },
    takeFrom(dead) {
      const held = Atomics.load(words, at);
      if ((held & ~WAITED) !== dead + 1) {
        // It may have been woken and ended before it took the lock: then nobody would wake the next one.
        Atomics.notify(words, at, 1);
        return false;
      }
      Atomics.store(words, at, me | WAITED);
      return true;
    },
  };
}
