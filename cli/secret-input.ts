// Reading a secret where nobody else can read it: from standard input, a prompt without echo, or a variable.
import { Secret } from '@daypass/core/secret';
import { UsageError } from './failure.ts';
import type { Input, Io } from './io.ts';

/** The largest secret that is read, in bytes. */
const MAX_BYTES = 4096;

/** Where the user says a secret is. */
export type SecretSource = { readonly secretStdin?: boolean; readonly secretEnv?: string };

/** The secret that the flags point at, one trailing newline taken off; undefined where no flag does. @throws UsageError */
export const readSecret = async (source: SecretSource, io: Io): Promise<Secret | undefined> => {
  if (source.secretStdin === true && source.secretEnv !== undefined)
    throw new UsageError('give --secret-stdin or --secret-env, not both', '--secret-env');
  if (source.secretEnv !== undefined) return secretFrom(io.env[source.secretEnv] ?? '', `--secret-env ${source.secretEnv}`);
  return source.secretStdin === true ? readSecretInput(io, '--secret-stdin') : undefined;
};

/** The secret on standard input, asked for without echo on a terminal. @throws UsageError naming the flag */
export const readSecretInput = async (io: Io, flag: string): Promise<Secret> => {
  if (io.stdin.isTTY !== true) return secretFrom(await readAll(io.stdin, flag), flag);
  io.err('Secret (not shown): ');
  try {
    return secretFrom(await readHidden(io.stdin), flag);
  } finally {
    io.err('\n');
  }
};

const secretFrom = (text: string, flag: string): Secret => {
  const stripped = text.replace(/\r?\n$/, '');
  if (stripped === '') throw new UsageError(`${flag} gives an empty secret`, flag);
  return new Secret(stripped);
};

const readAll = async (stdin: Input, flag: string): Promise<string> => {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stdin) {
    const piece = typeof chunk === 'string' ? new TextEncoder().encode(chunk) : chunk;
    bytes += piece.length;
    if (bytes > MAX_BYTES) throw new UsageError(`${flag} gives more than ${MAX_BYTES} bytes`, flag);
    chunks.push(piece);
  }
  return decodeUtf8(Buffer.concat(chunks), flag);
};

const decodeUtf8 = (bytes: Uint8Array, flag: string): string => {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new UsageError(`${flag} gives something that is not UTF-8 text`, flag);
  }
};

/** Reads a line in raw mode: the terminal shows nothing, so Backspace and Ctrl-C are ours to handle. */
const readHidden = async (stdin: Input): Promise<string> => {
  stdin.setRawMode?.(true);
  try {
    let line = '';
    for await (const chunk of stdin) {
      for (const key of typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('utf8')) {
        if (key === '\r' || key === '\n' || key === '\u0004') return line;
        if (key === '\u0003') throw new UsageError('stopped');
        line = key === '\u007f' || key === '\b' ? line.slice(0, -1) : line + key;
      }
    }
    return line;
  } finally {
    stdin.setRawMode?.(false);
  }
};
