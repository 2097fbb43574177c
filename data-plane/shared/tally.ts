// A bounded number that all threads count together: each knows its own share, which is given back when the thread ends.

/** What is counted: requests in flight, connections, bytes of held bodies. */
export type Tally = {
  /** Adds; false, and nothing added, when it would be more than the bound. */
  enter(amount: number): boolean;
  leave(amount: number): void;
  /** The share of this thread. */
  own(): number;
  /** Gives back the share of a thread that has ended. */
  giveBack(slot: number): void;
};

/** Empty memory for the shares of so many threads. */
export const tallyMemory = (slots: number): SharedArrayBuffer => new SharedArrayBuffer(4 * (slots + 1));

/** The tally in such memory, as one thread sees it. `max` is below 2^30. */
export function openTally(memory: SharedArrayBuffer, slot: number, max: number): Tally {
  const words = new Int32Array(memory);
  const share = slot + 1;
  return {
    enter(amount) {
      if (Atomics.add(words, 0, amount) + amount > max) {
        Atomics.sub(words, 0, amount);
        return false;
      }
      Atomics.add(words, share, amount);
      return true;
    },
    leave(amount) {
      Atomics.sub(words, share, amount);
      Atomics.sub(words, 0, amount);
    },
    own: () => Atomics.load(words, share),
    giveBack(dead) {
      Atomics.sub(words, 0, Atomics.exchange(words, dead + 1, 0));
    },
  };
}
