// A text that does not print itself.

import { DaypassError } from './errors.ts';

const SHOWN = '[secret]';

/** Holds a credential; only `reveal()` gives it out. Printing, JSON and inspection show `[secret]`. */
export class Secret {
  readonly #text: string;

  /** @throws DaypassError `invalid_argument` if `text` is empty */
  constructor(text: string) {
    if (text === '') throw new DaypassError('invalid_argument', 'a secret cannot be empty');
    this.#text = text;
  }

  /** The text itself: for the one place that puts it on a request. */
  reveal(): string {
    return this.#text;
  }

  /** Length in UTF-8 bytes. */
  get byteLength(): number {
    return new TextEncoder().encode(this.#text).length;
  }

  toString(): string {
    return SHOWN;
  }

  toJSON(): string {
    return SHOWN;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return SHOWN;
  }
}
