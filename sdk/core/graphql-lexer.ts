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

const IGNORED = /(?:[\t\n\r ,]|#[^\n\r]*(?:[\n\r]|$))*/y;
const PUNCTUATOR = /\.\.\.|[!$&():=@[\]{|}]/y;
const NAME = /[_A-Za-z][_0-9A-Za-z]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
// What must not follow a number (§2.9.1).
const NUMBER_GOES_ON = /[0-9A-Za-z_.]/y;
const QUOTE = /"/y;
const BLOCK_QUOTE = /"""/y;
// Up to the first three quotes without a backslash before them (§2.9.4); each character in one way, and in one match.
const BLOCK_BODY = /(?:[^"\\]|\\"""|"(?!"")|\\(?!"""))*/y;
const STRING_BODY = /(?:[^"\\\n\r]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*/y;
const ODD_CHARACTER = /[^\t\n\r\u0020-\u007e\u00a0-\u2027\u202a-\uffff]|\ufeff/;

/** Takes steps from a budget; false when it is spent. */
export type Spend = (steps: number) => boolean;

/** Steps to read one token, and what is made of it. */
const TOKEN_STEPS = 5;

/** Reads all tokens, the last of kind `end`. @throws GraphqlProblem, also when too much is spent */
export const readTokens = (source: string, spend: Spend = () => true): readonly Token[] => {
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
    if (tokens.length >= MAX_TOKENS || !spend(TOKEN_STEPS)) throw new GraphqlProblem('too many tokens');
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
  if (number !== undefined && match(NUMBER_GOES_ON) === undefined) return { kind: 'number', text: number[0] };
  throw new GraphqlProblem('something that is no token');
};

const skipBlock = (match: Match): void => {
  match(BLOCK_BODY);
  if (match(BLOCK_QUOTE) === undefined) throw new GraphqlProblem('a block string does not end');
};

const readString = (match: Match): string => {
  const body = match(STRING_BODY)?.[0] ?? '';
  if (match(QUOTE) === undefined) throw new GraphqlProblem('a string does not end');
  const text = unescaped(body);
  if (!text.isWellFormed()) throw new GraphqlProblem('a lone surrogate');
  return text;
};

// The escapes are those of JSON, where only a tab must be one (§2.9.4).
const unescaped = (body: string): string =>
  body.includes('\\') ? String(JSON.parse(`"${body.replaceAll('\t', '\\t')}"`)) : body;
