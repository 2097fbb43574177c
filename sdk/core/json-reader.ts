// The recursive-descent reader behind `parseStrictJson`.

import { DaypassError } from './errors.ts';

/**
 * A JSON value whose numbers are read as `N`. Objects have no prototype: `__proto__` and `constructor` are members like
 * any other.
 */
export type Json<N> = null | boolean | N | string | readonly Json<N>[] | { readonly [member: string]: Json<N> };

/** A JSON value. */
export type JsonValue = Json<number>;

/** A JSON object. */
export type JsonObject = { readonly [member: string]: JsonValue };

/** Makes a number of its text; `undefined` if it is too large. */
export type NumberReader<N> = (text: string) => N | undefined;

/** How much a document may hold. */
export type Bounds = {
  /** How deep arrays and objects may nest. */
  readonly maxDepth: number;
  /** Values in all; no limit if left out. */
  readonly maxValues?: number;
  /** Members of all objects together, which cost the most to read; no limit if left out. */
  readonly maxMembers?: number;
};

/**
 * Reads the one value that `text` holds, within the bounds.
 * @throws DaypassError `invalid_json` with the position
 */
export const readDocument = <N>(text: string, bounds: Bounds, readNumber: NumberReader<N>): Json<N> =>
  new Reader(text, bounds, readNumber).document();

/** Numbers as doubles, which must be finite. */
export const readDouble: NumberReader<number> = (text) => {
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
};

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const HEX4 = /[0-9a-fA-F]{4}/y;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** What may follow a backslash. */
const ESCAPES = new Set('"\\/bfnrtu');

class Reader<N> {
  readonly #text: string;
  readonly #maxDepth: number;
  readonly #readNumber: NumberReader<N>;
  #at = 0;
  #valuesLeft: number;
  #membersLeft: number;

  constructor(text: string, { maxDepth, maxValues, maxMembers }: Bounds, readNumber: NumberReader<N>) {
    this.#text = text;
    this.#maxDepth = maxDepth;
    this.#valuesLeft = maxValues ?? Number.POSITIVE_INFINITY;
    this.#membersLeft = maxMembers ?? Number.POSITIVE_INFINITY;
    this.#readNumber = readNumber;
  }

  document(): Json<N> {
    const value = this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) throw this.#wrong('something follows the value');
    return value;
  }

  #value(depth: number): Json<N> {
    this.#space();
    this.#valuesLeft -= 1;
    if (this.#valuesLeft < 0) throw this.#wrong('too many values');
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object(depth + 1);
      case '[':
        return this.#array(depth + 1);
      case '"':
        return this.#string();
      case 't':
        return this.#word('true', true);
      case 'f':
        return this.#word('false', false);
      case 'n':
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #object(depth: number): { readonly [member: string]: Json<N> } {
    this.#open(depth);
    const object: Record<string, Json<N>> = Object.create(null);
    if (this.#takeAfterSpace('}')) return object;
    do {
      this.#space();
      const start = this.#at;
      if (this.#text[start] !== '"') throw this.#wrong('a member name is missing');
      const name = this.#string();
      this.#membersLeft -= 1;
      if (this.#membersLeft < 0) throw this.#wrong('too many members', start);
      if (Object.hasOwn(object, name)) throw this.#wrong(`the member ${quote(name)} occurs twice`, start);
      if (!this.#takeAfterSpace(':')) throw this.#wrong('a colon is missing');
      object[name] = this.#value(depth);
    } while (this.#takeAfterSpace(','));
    if (!this.#takeAfterSpace('}')) throw this.#wrong('a comma or } is missing');
    return object;
  }

  #array(depth: number): readonly Json<N>[] {
    this.#open(depth);
    const array: Json<N>[] = [];
    if (this.#takeAfterSpace(']')) return array;
    do array.push(this.#value(depth));
    while (this.#takeAfterSpace(','));
    if (!this.#takeAfterSpace(']')) throw this.#wrong('a comma or ] is missing');
    return array;
  }

  #open(depth: number): void {
    if (depth > this.#maxDepth) throw this.#wrong(`nested deeper than ${this.#maxDepth}`);
    this.#at += 1;
  }

  #string(): string {
    const start = this.#at;
    let hasEscape = false;
    this.#at += 1;
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (Number.isNaN(code)) throw this.#wrong('a string does not end', start);
      if (code < 0x20) throw this.#wrong('a control character in a string');
      this.#at += 1;
      if (code === QUOTE) break;
      if (code !== BACKSLASH) continue;
      hasEscape = true;
      this.#skipEscape();
    }
    // What is checked already is decoded by the engine, at once: escape by escape it takes ten times as long.
    const text = hasEscape
      ? String(JSON.parse(this.#text.slice(start, this.#at)))
      : this.#text.slice(start + 1, this.#at - 1);
    if (!text.isWellFormed()) throw this.#wrong('a lone surrogate in a string', start);
    return text;
  }

  #skipEscape(): void {
    const letter = this.#text[this.#at] ?? '';
    if (!ESCAPES.has(letter)) throw this.#wrong('an unknown escape');
    this.#at += 1;
    if (letter === 'u' && this.#match(HEX4) === undefined) throw this.#wrong('four hex digits are missing');
  }

  #number(): N {
    const start = this.#at;
    const digits = this.#match(NUMBER);
    if (digits === undefined) throw this.#wrong('a value is missing');
    const value = this.#readNumber(digits);
    if (value === undefined) throw this.#wrong('a number is too large', start);
    return value;
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw this.#wrong('a value is missing');
    this.#at += word.length;
    return value;
  }

  #takeAfterSpace(character: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }

  #space(): void {
    while (isSpace(this.#text.charCodeAt(this.#at))) this.#at += 1;
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #wrong(what: string, at: number = this.#at): DaypassError {
    return new DaypassError('invalid_json', `${what} (at character ${at + 1})`, { column: at + 1 });
  }
}

const isSpace = (code: number): boolean => code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09;

const quote = (name: string): string => JSON.stringify(name.length > 64 ? `${name.slice(0, 64)}…` : name);
