// What a command may touch of the process: streams, clock, environment, and the signal that asks it to stop.
import { processEnvironment } from './settings.ts';

/** The outside of a command, and its notes: what a person should know besides the answer, a sentence without its full stop. */
export type Io = Outside & { readonly note: (text: string) => void };

/** The outside of the whole program. Tests give their own. */
export type Outside = {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Writes to standard output: what the command was asked for, and nothing else. */
  readonly out: (text: string) => void;
  /** Writes to standard error: everything for people. */
  readonly err: (text: string) => void;
  readonly stdin: Input;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Calls back on SIGINT and SIGTERM until the returned function is called. */
  readonly onStop: (stop: (signal: NodeJS.Signals) => void) => () => void;
};

/** Standard input; `setRawMode` is there on a terminal only. */
export type Input = AsyncIterable<Uint8Array | string> & {
  readonly isTTY?: boolean;
  readonly setRawMode?: (on: boolean) => unknown;
};

/** The real one. A reader that goes away early (`daypass audit list | head`) ends the command without an error. */
export const processIo = (): Outside => {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
  return {
    env: processEnvironment(),
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    stdin: process.stdin,
    now: Date.now,
    onStop,
  };
};

const onStop: Outside['onStop'] = (stop) => {
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, stop);
  return () => {
    for (const signal of signals) process.off(signal, stop);
  };
};
