// Asks a person: a line that is shown, or a secret that is not. Questions go to stderr.
import { UsageError } from './failure.ts';
import type { Io } from './io.ts';

/** A terminal that is being read; close it when nothing more is asked. */
export type Terminal = {
  /** The answer, without blanks around it; empty at the end of input. */
  readonly ask: (question: string) => Promise<string>;
  /** The answer, with nothing shown while it is typed. */
  readonly askHidden: (question: string) => Promise<string>;
  readonly close: () => Promise<void>;
};

/** Whether a person can be asked. */
export const canAsk = (io: Io): boolean => io.stdin.isTTY === true;

/** Starts reading the terminal. */
export const openTerminal = (io: Io): Terminal => {
  const chunks = io.stdin[Symbol.asyncIterator]();
  let waiting = '';
  const character = async (): Promise<string | undefined> => {
    while (waiting === '') {
      const { value, done } = await chunks.next();
      if (done === true) return undefined;
      waiting = typeof value === 'string' ? value : Buffer.from(value).toString('utf8');
    }
    const [first = ''] = waiting;
    waiting = waiting.slice(first.length);
    return first;
  };
  return {
    ask: async (question) => {
      io.err(question);
      return (await readLine(character)).trim();
    },
    askHidden: async (question) => {
      io.err(question);
      io.stdin.setRawMode?.(true);
      try {
        return await readLine(character);
      } finally {
        io.stdin.setRawMode?.(false);
        io.err('\n');
      }
    },
    close: async () => void (await chunks.return?.()),
  };
};

/** Reads up to Enter or Ctrl-D. In raw mode the terminal leaves Backspace and Ctrl-C to us. */
const readLine = async (character: () => Promise<string | undefined>): Promise<string> => {
  const line: string[] = [];
  for (;;) {
    const key = await character();
    if (key === undefined || key === '\r' || key === '\n' || key === '\u0004') return line.join('');
    if (key === '\u0003') throw new UsageError('stopped');
    if (key === '\u007f' || key === '\b') line.pop();
    else line.push(key);
  }
};
