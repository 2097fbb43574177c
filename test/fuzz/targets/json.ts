// Fuzzes the reader of JSON bodies against `JSON.parse`: the same texts but for what is ambiguous, and the same values.
import { foldName } from '@daypass/core/fold';
import { isBodyArray, isBodyObject, type JsonBody, NumberText, readJsonBody } from '@daypass/core/request-body';
import { RequestDetails } from '@daypass/core/request-details';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { parseRule } from '@daypass/core/rule-parse';
import { type FuzzTarget, targetOf } from '../engine.ts';
import { must } from '../must.ts';
import { mutateJson } from '../mutate-json.ts';
import { mutateText, type Random, type Words } from '../mutator.ts';

/** What `JSON.parse` gives. */
type Parsed = null | boolean | number | string | readonly Parsed[] | { readonly [name: string]: Parsed };

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const bytesOf = (input: string): Buffer => Buffer.from(input, 'latin1');

/** `undefined` if it is not UTF-8 or not JSON. */
const parsed = (input: string): { text: string; value: Parsed } | undefined => {
  try {
    const text = UTF8.decode(bytesOf(input));
    return { text, value: JSON.parse(text) };
  } catch {
    return undefined;
  }
};

const isMembers = (value: Parsed): value is { readonly [name: string]: Parsed } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isList = (value: Parsed): value is readonly Parsed[] => Array.isArray(value);

/** How many members and values there are, how deep, and whether some text is half a character. */
const measured = (value: Parsed): { members: number; values: number; depth: number; isWellFormed: boolean } => {
  const sum = { members: 0, values: 0, depth: 0, isWellFormed: true };
  const visit = (one: Parsed, depth: number): void => {
    sum.values += 1;
    if (typeof one === 'string') sum.isWellFormed &&= one.isWellFormed();
    if (!isList(one) && !isMembers(one)) return;
    sum.depth = Math.max(sum.depth, depth + 1);
    for (const [name, member] of Object.entries(one)) {
      if (isMembers(one)) sum.members += 1;
      sum.isWellFormed &&= name.isWellFormed();
      visit(member, depth + 1);
    }
  };
  visit(value, 0);
  return sum;
};

/** Members as they are written, those included that a later one replaces. */
const colonsOf = (json: string): number => json.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""').split(':').length - 1;

/** How many values of an input are looked at in full, so that the checks stay cheap. */
const SMALL = 4096;

/** Whether a small JSON text has one meaning to everybody. */
const isClear = ({ text, value }: { text: string; value: Parsed }): boolean => {
  const { members, depth, isWellFormed } = measured(value);
  return isWellFormed && depth <= 64 && members === colonsOf(text);
};

const same = (read: JsonBody['value'], value: Parsed): boolean => {
  if (read instanceof NumberText) return Object.is(Number(read.text), value);
  if (isBodyArray(read))
    return isList(value) && read.length === value.length && read.every((one, at) => same(one, value[at] ?? null));
  if (!isBodyObject(read)) return read === value;
  if (!isMembers(value) || Object.keys(value).length !== Object.keys(read).length) return false;
  return Object.entries(read).every(([name, one]) => Object.hasOwn(value, name) && same(one, value[name] ?? null));
};

/** Whether a member is there under exactly this name and no other spelling; for `absent`: under none. */
const spellings = (value: Parsed, name: string): readonly string[] =>
  isMembers(value) ? Object.keys(value).filter((one) => foldName(one) === foldName(name)) : [];
const member = (value: Parsed, name: string): Parsed | undefined =>
  isMembers(value) && spellings(value, name).join() === name ? value[name] : undefined;

const CONDITIONS: readonly (readonly [string, (value: Parsed) => boolean])[] = [
  ['body.a = "b"', (value) => member(value, 'a') === 'b'],
  ['body.a = null', (value) => member(value, 'a') === null],
  ['absent body.a', (value) => isMembers(value) && spellings(value, 'a').length === 0],
  [
    'body.a[*] in ["b", "c"]',
    (value) => {
      const list = member(value, 'a') ?? null;
      return isList(list) && list.length > 0 && list.every((one) => one === 'b' || one === 'c');
    },
  ],
];
const rules = CONDITIONS.map(([text]) => compileRules([parseRule(`POST /x where ${text}`)]));
// Of numbers it is enough that none passes that is too large; which are written oddly is the rule's own business.
const atMost = compileRules([parseRule('POST /x where body.n <= 5')]);

const details = (body: JsonBody): RequestDetails => {
  const one = new RequestDetails({ query: undefined, header: () => [] });
  one.body = body;
  return one;
};

const check = (input: string, body: JsonBody): string => {
  const known = parsed(input);
  must(known !== undefined, 'read what JSON.parse refuses');
  must(same(body.value, known.value), 'read another value than JSON.parse');
  if (input.length > SMALL) return 'large';
  must(isClear(known), 'read what has two meanings');
  const matches = CONDITIONS.map(([text, holds], at) => {
    const compiled = rules[at] ?? atMost;
    const matched = matchRules(compiled, 'POST', '/x', undefined, details(body)) !== undefined;
    must(matched === holds(known.value), `${text} was ${matched}`);
    return matched ? '1' : '0';
  });
  const n = member(known.value, 'n');
  const isPassed = matchRules(atMost, 'POST', '/x', undefined, details(body)) !== undefined;
  must(!isPassed || (typeof n === 'number' && n <= 5), 'a number passed that is too large');
  const { depth, values } = measured(known.value);
  return `read depth ${Math.min(depth, 8)}, ${Math.min(values, 20)} values, ${matches.join('')}${isPassed ? '1' : '0'}`;
};

const names = ['a', 'A', 'b', 'n', 'x', '__proto__', 'constructor', 'toString', '', 'ａ', 'a ', 'ſ', 'é', 'e\u0301'];
const values = [null, true, 0, 5, 6, -0, 1e21, 0.1, 'b', 'c', '', [], {}, ['b'], ['b', 'd'], { a: 'b' }, 'é', '😀'];

const fromUtf8 = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

const make = (random: Random, input: string, words: Words): string => {
  const text = bytesOf(input).toString('utf8');
  if (random.onceIn(2000)) return large(random, text, words);
  const changed = fromUtf8(mutateJson(random, text, { names, values }));
  return (random.onceIn(4) ? mutateText(random, changed, words) : changed).slice(0, words.maxLength);
};

/** As much as fits of members, elements, nesting or one long text. */
const large = (random: Random, text: string, { maxLength }: Words): string => {
  const piece = random.pick(['1,', '{},', '"\\u0061",', '[[', '{"a":', `${text},`, '"a":1,', '\\\\', '0', ' ', '😀']);
  const times = Math.floor(maxLength / Buffer.byteLength(piece)) - 8;
  const numbered = Array.from(
    { length: Math.floor(maxLength / 12) },
    (_, at) => `"${random.pick(names)}${at}":1`,
  ).join();
  return random.pick([
    () => fromUtf8(`[${piece.repeat(times)}1]`),
    () => fromUtf8(`"${piece.replaceAll('"', '').repeat(times)}"`),
    () => fromUtf8(`{${numbered}}`).slice(0, maxLength),
    () => fromUtf8(piece.repeat(times)),
  ])();
};

/** JSON bodies: changed values and members, odd spellings, and as large as a body may be. */
export const json: FuzzTarget = targetOf<JsonBody>({
  name: 'json',
  input: 'bytes',
  dictionary: [
    ...[
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      '\\u',
      '\\ud800',
      '\\u0000',
      '\\u0061',
      '\\/',
      'null',
      'true',
      'false',
      '-',
    ],
    ...[
      '0',
      '-0',
      '01',
      '1e5',
      '1E+400',
      '.5',
      '5.',
      'NaN',
      'Infinity',
      ' ',
      '\n',
      '\u000b',
      '\u0000',
      '//',
      '/**/',
      "'",
    ],
    ...[
      '\xef\xbb\xbf',
      '\xc2\xa0',
      '\xff',
      '\xc0\x80',
      '\xed\xa0\x80',
      '\xf0\x9f\x98\x80',
      '"a":',
      '"a":1,',
      '"__proto__":',
    ],
  ],
  maxLength: 1_048_576,
  codes: ['invalid_json'],
  make,
  read: (input) => readJsonBody('application/json', bytesOf(input)),
  check,
  checkRefusal: (input) => {
    const known = input.length > SMALL ? undefined : parsed(input);
    must(known === undefined || !isClear(known), 'refused what has one meaning');
  },
});
