// Makes new inputs out of known ones: seeded, by texts and by JSON, so that a run can be had again.

/** A source of chance; the same seed gives the same run. */
export type Random = {
  /** A whole number from 0 up to, not including, `max`. */
  int(max: number): number;
  /** True once in `times`. */
  onceIn(times: number): boolean;
  /** One of a list that is not empty. */
  pick<T>(list: ArrayLike<T>): T;
};

/** What texts are made of. */
export type Words = {
  /** Pieces that mean something to the reader under test. */
  readonly dictionary: readonly string[];
  /** Other inputs, to take pieces of. */
  readonly pool: readonly string[];
  /** The largest character to invent: 255 for bytes, 65535 for texts. */
  readonly maxCode: number;
  /** No text is made longer. */
  readonly maxLength: number;
};

/** The mulberry32 generator. */
export const createRandom = (seed: number): Random => {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
  const int = (max: number): number => Math.floor(next() * max);
  return {
    int,
    onceIn: (times) => int(times) === 0,
    pick: (list) => {
      const item = list[int(list.length)];
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    },
  };
};

/** A text with one to four changes; once in a thousand it is grown towards `maxLength`. */
export const mutateText = (random: Random, text: string, words: Words): string => {
  let changed = text;
  for (let left = 1 + random.int(4); left > 0; left -= 1) changed = random.pick(CHANGES)(random, changed, words);
  if (random.onceIn(1000)) changed = grown(random, changed, words);
  return changed.slice(0, words.maxLength);
};

type Change = (random: Random, text: string, words: Words) => string;

const spliced = (text: string, from: number, to: number, piece: string): string =>
  text.slice(0, from) + piece + text.slice(to);

/** Start and end of a piece, mostly a short one. */
const span = (random: Random, text: string): readonly [number, number] => {
  const start = random.int(text.length + 1);
  const most = random.onceIn(4) ? text.length - start : Math.min(8, text.length - start);
  return [start, start + random.int(most + 1)];
};

const CHANGES: readonly Change[] = [
  (random, text, { maxCode }) => {
    const at = random.int(text.length + 1);
    const code = random.onceIn(4) ? random.int(maxCode + 1) : random.int(128);
    return spliced(text, at, at + 1, String.fromCharCode(code));
  },
  (random, text) => {
    if (text === '') return text;
    const at = random.int(text.length);
    return spliced(text, at, at + 1, String.fromCharCode(text.charCodeAt(at) ^ (1 << random.int(8))));
  },
  (random, text) => spliced(text, ...span(random, text), ''),
  (random, text) => {
    const [start, end] = span(random, text);
    return spliced(text, end, end, text.slice(start, end).repeat(1 + random.int(3)));
  },
  (random, text, { dictionary }) => {
    const at = random.int(text.length + 1);
    return spliced(text, at, at, random.pick(dictionary));
  },
  (random, text, { dictionary }) => spliced(text, ...span(random, text), random.pick(dictionary)),
  (random, text, { pool }) => {
    const other = random.pick(pool);
    return spliced(text, ...span(random, text), other.slice(...span(random, other)));
  },
  (random, text) => {
    const at = random.int(text.length + 1);
    const letter = text.charAt(at);
    return spliced(text, at, at + 1, letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase());
  },
];

const grown: Change = (random, text, { maxLength }) => {
  const [start, end] = span(random, text);
  const piece = text.slice(start, end);
  if (piece === '') return text;
  return spliced(text, end, end, piece.repeat(Math.max(0, Math.floor((maxLength - text.length) / piece.length))));
};
