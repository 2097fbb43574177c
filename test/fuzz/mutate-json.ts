// Makes new JSON texts out of known ones: other values, members that are gone, new or twice, and other spellings.
import type { Random } from './mutator.ts';

/** What JSON is changed with. */
export type JsonWords = { readonly names: readonly string[]; readonly values: readonly unknown[] };

/** The text of `json` with one or two of its parts changed; not valid JSON if `json` is none. */
export const mutateJson = (random: Random, json: string, words: JsonWords): string => {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    return json;
  }
  for (let left = 1 + random.int(2); left > 0; left -= 1) value = changed(random, value, words);
  return printed(random, value);
};

type Members = { [name: string]: unknown };

const isMembers = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const changed = (random: Random, value: unknown, words: JsonWords): unknown => {
  if (Array.isArray(value)) {
    if (value.length === 0 || random.onceIn(4)) return random.pick([[], [...value, random.pick(words.values)]]);
    return value.toSpliced(random.int(value.length), 1, changed(random, random.pick(value), words));
  }
  if (!isMembers(value) || random.onceIn(8)) return otherValue(random, value, words);
  const name = random.onceIn(3) ? random.pick(words.names) : random.pick([...Object.keys(value), 'x']);
  const { [name]: member = random.pick(words.values), ...rest } = value;
  if (random.onceIn(4)) return rest;
  if (random.onceIn(6)) return { ...value, [random.pick(words.names)]: member };
  return Object.assign(Object.create(null), rest, { [name]: changed(random, member, words) });
};

const otherValue = (random: Random, value: unknown, { values }: JsonWords): unknown => {
  if (typeof value === 'number' && !random.onceIn(3))
    return random.pick([value + 1, value - 1, -value, value + 0.5, 0]);
  if (typeof value === 'string' && !random.onceIn(3)) return otherText(random, value);
  return random.pick(values);
};

const otherText = (random: Random, text: string): string => {
  const at = random.int(text.length + 1);
  const letter = String.fromCharCode(random.onceIn(4) ? random.int(0x1_0000) : 32 + random.int(96));
  return random.pick([
    text.slice(0, at) + letter + text.slice(at),
    text.slice(0, at) + text.slice(at + 1),
    text.repeat(1 + random.int(5)),
    text.slice(0, at),
  ]);
};

/** JSON in a spelling of many. */
const printed = (random: Random, value: unknown): string => {
  const blank = random.onceIn(60) ? random.pick([' ', '\n', '\t', '\r', '\u00a0', '\v']) : '';
  if (Array.isArray(value)) return `[${blank}${value.map((item) => printed(random, item)).join(`,${blank}`)}]`;
  if (isMembers(value))
    return `{${Object.entries(value)
      .map((entry) => printedMember(random, entry))
      .join(',')}${blank}}`;
  if (typeof value === 'number' && random.onceIn(20)) return `${value}${random.pick(['.0', 'e0', 'E+2', 'e400', '.'])}`;
  return typeof value === 'string' ? printedText(random, value) : (JSON.stringify(value) ?? 'null');
};

const printedMember = (random: Random, [name, value]: readonly [string, unknown]): string => {
  const member = `${printedText(random, name)}:${printed(random, value)}`;
  return random.onceIn(60) ? `${member},${printedText(random, name)}:${printed(random, value)}` : member;
};

const printedText = (random: Random, text: string): string => {
  const plain = JSON.stringify(text);
  if (!random.onceIn(40)) return plain;
  return plain.replace(/[a-z/]/, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`);
};
