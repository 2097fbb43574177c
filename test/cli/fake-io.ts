// The command in this process, with streams that are kept.
import { run } from '../../cli/main.ts';

/** What a command left behind. */
export type Result = { readonly code: number; readonly out: string; readonly err: string };

/** Runs the command with an environment and a standard input of its own; nothing of this process is touched. */
export async function daypass(
  args: readonly string[],
  options: {
    readonly env?: Readonly<Record<string, string>>;
    readonly stdin?: string;
    /** What a person types, in pieces as a terminal gives them; told whether it is shown. */
    readonly typed?: readonly string[];
    readonly onRawMode?: (on: boolean) => void;
  } = {},
): Promise<Result> {
  let out = '';
  let err = '';
  const code = await run(args, {
    env: options.env ?? {},
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    stdin:
      options.typed === undefined
        ? chunks([options.stdin ?? ''])
        : Object.assign(chunks(options.typed), { isTTY: true, setRawMode: options.onRawMode ?? (() => {}) }),
    now: Date.now,
    onStop: () => () => {},
  });
  return { code, out, err };
}

/** The objects that stand in a text, one a line. */
export const jsonLines = (text: string): readonly Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

async function* chunks(texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) if (text !== '') yield new TextEncoder().encode(text);
}
