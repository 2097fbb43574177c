// The text of a rule under the parser's eye: a place in it, and errors that point at a column.

import { DaypassError } from './errors.ts';
import { parseStrictJson } from './json.ts';

/** The error for what stands at `index` (counted from 0). */
export const wrong = (text: string, index: number, why: string): DaypassError => {
  const shown = JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
  return new DaypassError('invalid_rule', `the rule ${shown} is wrong at column ${index + 1}: ${why}`, {
    column: index + 1,
  });
};

const STRING = /"(?:[^"\\]|\\.)*"/y;

/** Reads one token after the other. */
export class RuleText {
  readonly text: string;
  at: number;

  constructor(text: string, at: number) {
    this.text = text;
    this.at = at;
  }

  get isAtEnd(): boolean {
    return this.at >= this.text.length;
  }

  skipSpaces(): void {
    while (this.text[this.at] === ' ') this.at += 1;
  }

  /** Takes `word` if it stands here. */
  take(word: string): boolean {
    if (!this.text.startsWith(word, this.at)) return false;
    this.at += word.length;
    return true;
  }

  /** Takes what the sticky `pattern` matches here. */
  match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.at += found.length;
    return found;
  }

  /** Takes everything up to the next space; empty at a space or the end. */
  word(): string {
    const space = this.text.indexOf(' ', this.at);
    const end = space < 0 ? this.text.length : space;
    const word = this.text.slice(this.at, end);
    this.at = end;
    return word;
  }

  /** Takes a JSON string. @throws DaypassError `invalid_rule` */
  string(): string {
    const start = this.at;
    const literal = this.match(STRING);
    if (literal === undefined) throw this.wrong('a string does not end');
    try {
      return String(parseStrictJson(literal));
    } catch (cause) {
      throw this.wrong(cause instanceof Error ? cause.message : 'not a JSON string', start);
    }
  }

  wrong(why: string, index: number = this.at): DaypassError {
    return wrong(this.text, index, why);
  }
}
