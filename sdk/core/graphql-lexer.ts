// The tokens of a GraphQL document (October 2021, §2.1), read strictly.

/** A token. A block string has no value: servers do not agree on how its indentation is taken off. */
export type Token =
  | { readonly kind: 'punctuator' | 'name' | 'number' | 'string'; readonly text: string }
  | { readonly kind: 'block' | 'end' };

/** Thrown for a document that has no one reading; never leaves the reader of requests. */
export class GraphqlProblem extends Error {
  override readonly name = 'GraphqlProblem';
}

/** Tokens of one document. */
const MAX_TOKENS = 20_000;

const IGNORED = /(?:[\t\n\r ,]|#[^\n\r]*)*/y;
const PUNCTUATOR = /\.\.\.|[!$&():=@[\]{|}]/y;
const NAME = /[_A-Za-z][_0-9A-Za-z]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9A-Za-z_.])/y;
const QUOTE = /"/y;
const BLOCK_QUOTE = /"""/y;
const BLOCK_ESCAPE = /\\"""/y;
const BLOCK_PLAIN = /[^"\\]+/y;
const BLOCK_CHARACTER = /["\\]/y;
const PLAIN = /[^"\\\n\r]*/y;
const ESCAPED = /\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})/y;
const ESCAPES: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };
const ODD_CHARACTER = /[^\t\n\r\u0020-\u007e\u00a0-\u2027\u202a-\uffff]|\ufeff/;

/** Reads all tokens, the last of kind `end`. @throws GraphqlProblem */
export const readTokens = (source: string): readonly Token[] => {
  // Outside a string every one of these changes the meaning for some reader; within one it may be written as an escape.
  if (ODD_CHARACTER.test(source) || !source.isWellFormed()) throw new GraphqlProblem('a character that is not allowed');
  const tokens: Token[] = [];
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(source) ?? undefined;
    if (found !== undefined) at += found[0].length;
    return found;
  };
  for (;;) {
    match(IGNORED);
    if (at >= source.length) {
      tokens.push({ kind: 'end' });
      return tokens;
    }
    if (tokens.length >= MAX_TOKENS) throw new GraphqlProblem('too many tokens');
    tokens.push(readToken(match));
  }
};

type Match = (pattern: RegExp) => RegExpExecArray | undefined;

const readToken = (match: Match): Token => {
  const punctuator = match(PUNCTUATOR);
  if (punctuator !== undefined) return { kind: 'punctuator', text: punctuator[0] };
  const name = match(NAME);
  if (name !== undefined) return { kind: 'name', text: name[0] };
  if (match(BLOCK_QUOTE) !== undefined) {
    skipBlock(match);
    return { kind: 'block' };
  }
  if (match(QUOTE) !== undefined) return { kind: 'string', text: readString(match) };
  const number = match(NUMBER);
  if (number !== undefined) return { kind: 'number', text: number[0] };
  throw new GraphqlProblem('something that is no token');
};

// Up to the first three quotes without a backslash before them (§2.9.4).
const skipBlock = (match: Match): void => {
  while (match(BLOCK_QUOTE) === undefined) {
    const hasMore = match(BLOCK_ESCAPE) ?? match(BLOCK_PLAIN) ?? match(BLOCK_CHARACTER);
    if (hasMore === undefined) throw new GraphqlProblem('a block string does not end');
  }
};

const readString = (match: Match): string => {
  let text = '';
  while (match(QUOTE) === undefined) {
    const plain = match(PLAIN)?.[0] ?? '';
    const escaped = match(ESCAPED)?.[0] ?? '';
    if (plain === '' && escaped === '') throw new GraphqlProblem('a string does not end');
    text += plain + plainOf(escaped);
  }
  if (!text.isWellFormed()) throw new GraphqlProblem('a lone surrogate');
  return text;
};

const plainOf = (escaped: string): string => {
  if (escaped === '') return '';
  const letter = escaped[1] ?? '';
  return letter === 'u' ? String.fromCharCode(Number.parseInt(escaped.slice(2), 16)) : (ESCAPES[letter] ?? letter);
};
