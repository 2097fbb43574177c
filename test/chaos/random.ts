// Chances that a seed repeats.

export type Random = {
  /** In [0, 1). */
  next(): number;
  /** A whole number of [least, most]. */
  between(least: number, most: number): number;
  /** One of them; throws when there is none. */
  pick<T>(among: readonly T[]): T;
  chance(probability: number): boolean;
  /** Another, which goes its own way from here. */
  fork(): Random;
};

/** Mulberry32: small, fast, and even enough to choose who is killed. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (least: number, most: number): number => least + Math.floor(next() * (most - least + 1));
  return {
    next,
    between,
    pick: (among) => {
      if (among.length === 0) throw new Error('there is nothing to choose from');
      return among[between(0, among.length - 1)] as (typeof among)[number];
    },
    chance: (probability) => next() < probability,
    fork: () => createRandom(between(0, 2 ** 32 - 1)),
  };
}
