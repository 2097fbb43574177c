// A token as an argument, or on standard input so that it stays out of the process list.
import { UsageError } from './failure.ts';
import type { Io } from './io.ts';

const MAX_BYTES = 16_384;

/** The token that an argument gives: itself, or standard input for `-`. @throws UsageError */
export const tokenArgument = async (argument: string, io: Io): Promise<string> => {
  if (argument !== '-') return argument.trim();
  let text = '';
  for await (const chunk of io.stdin) {
    text += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString('latin1');
    if (text.length > MAX_BYTES) throw new UsageError('what stands on stdin is too long for a token', 'token');
  }
  if (text.trim() === '') throw new UsageError('there is no token on stdin', 'token');
  return text.trim();
};
