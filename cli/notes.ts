// Notes on stderr: at once for people; for programs as objects once the command is done, so that an error stands alone.
import type { Io, Outside } from './io.ts';
import { printable } from './output.ts';

/** The outside with notes. `end` gives out what is left and is called when the command has succeeded. */
export type Notes = {
  readonly io: Io;
  readonly end: () => void;
  /** Notes of a command that failed: they go into its error. */
  readonly kept: () => readonly string[];
};

/** A command that runs for long keeps its latest notes only. */
const KEPT_MAX = 20;

/** Adds notes to the outside. */
export const withNotes = (outside: Outside, asJson: boolean): Notes => {
  if (!asJson) {
    const note = (text: string): void => outside.err(`note: ${text.split('\n').map(printable).join('\n')}\n`);
    return { io: { ...outside, note }, end: () => {}, kept: () => [] };
  }
  const kept: string[] = [];
  const note = (text: string): void => {
    kept.push(text);
    if (kept.length > KEPT_MAX) kept.shift();
  };
  const end = (): void => {
    for (const text of kept.splice(0)) outside.err(`${JSON.stringify({ note: text })}\n`);
  };
  return { io: { ...outside, note }, end, kept: () => kept };
};
