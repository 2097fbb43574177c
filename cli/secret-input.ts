// Reading a secret where nobody else can read it: from standard input, a prompt without echo, or a variable.
import { Secret } from '@daypass/core/secret';
import { UsageError } from './failure.ts';
import type { Input, Io } from './io.ts';
import { canAsk, openTerminal, type Terminal } from './terminal.ts';

/** The largest secret that is read, in bytes. */
const MAX_BYTES = 4096;

/** Where the user says a secret is. */
export type SecretSource = { readonly secretStdin?: boolean; readonly secretEnv?: string };

/** The secret that the flags point at, one trailing newline taken off; undefined where no flag does. @throws UsageError */
export const readSecret = async (source: SecretSource, io: Io): Promise<Secret | undefined> => {
  if (source.secretStdin === true && source.secretEnv !== undefined)
    throw new UsageError('give --secret-stdin or --secret-env, not both', '--secret-env');
  if (source.secretEnv !== undefined)
    return secretFrom(io.env[source.secretEnv] ?? '', `--secret-env ${source.secretEnv}`);
  return source.secretStdin === true ? readSecretInput(io, '--secret-stdin') : undefined;
};

/** The secret on standard input, asked for without echo on a terminal. @throws UsageError naming the flag */
export const readSecretInput = async (io: Io, flag: string, terminal?: Terminal): Promise<Secret> => {
  if (!canAsk(io)) return secretFrom(await readAll(io.stdin, flag), flag);
  const asked = terminal ?? openTerminal(io);
  try {
    return secretFrom(await asked.askHidden('Credential (not shown): '), flag);
  } finally {
    if (terminal === undefined) await asked.close();
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
