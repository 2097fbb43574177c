// How a command ends badly: its exit code, and the one shape in which the error is shown.
import { Code, ConnectError } from '@connectrpc/connect';
import { CODE_METADATA } from '@daypass/core/error-wire';
import { DaypassError } from '@daypass/core/errors';
import { toDaypassError } from '@daypass/sdk/errors';
import { CommanderError } from 'commander';

/** Exit codes: 1 refused or failed, 2 wrong usage or settings, 3 the control plane cannot be reached. */
export type ExitCode = 1 | 2 | 3;

/** An error as it is shown. */
export type Failure = {
  readonly exitCode: ExitCode;
  readonly code: string;
  readonly message: string;
  readonly field?: string | undefined;
  /** What was said before it failed, where it was not shown yet. */
  readonly notes?: readonly string[];
};

/** The command was called wrongly; nothing was asked of the control plane. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  /** The flag, variable or file at fault. */
  readonly field: string | undefined;
  readonly code: string;

  constructor(message: string, field?: string, code = 'invalid_argument') {
    super(message);
    this.field = field;
    this.code = code;
  }
}

/** Nothing answers at the control plane's address. */
export class UnreachableError extends Error {
  override readonly name = 'UnreachableError';
}

/** A failure with something added to it. */
export class FailedError extends Error {
  override readonly name = 'FailedError';
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

/** What to show of anything thrown. An unknown throwable shows its system error code at most. */
export const failureOf = (thrown: unknown): Failure => {
  if (thrown instanceof UsageError)
    return { exitCode: 2, code: thrown.code, message: thrown.message, field: thrown.field };
  if (thrown instanceof FailedError) return thrown.failure;
  if (thrown instanceof UnreachableError) return { exitCode: 3, code: 'unavailable', message: thrown.message };
  if (thrown instanceof CommanderError) return commanderFailure(thrown);
  if (thrown instanceof ConnectError) return connectFailure(thrown);
  if (thrown instanceof DaypassError)
    return {
      exitCode: thrown.code === 'config_invalid' ? 2 : 1,
      code: thrown.code,
      message: thrown.message,
      field: thrown.field,
    };
  return { exitCode: 1, code: 'internal', message: systemMessage(thrown) };
};

/** Wrong arguments, with the flag at fault where one is named. */
const commanderFailure = ({ code, message }: CommanderError): Failure => {
  const text =
    code === 'commander.help'
      ? 'a command is missing'
      : withoutValues(message)
          .replace(/^error: /, '')
          .trimEnd();
  return { exitCode: 2, code: 'invalid_argument', message: text, field: /'[^']*?(--[a-z-]+)/.exec(text)?.[1] };
};

/** Arguments too many may be a token or a secret that lost its flag: they are counted, and not shown. */
export const withoutValues = (message: string): string => {
  const at = message.indexOf(': ', message.indexOf('but got '));
  return message.includes('too many arguments') && at >= 0 ? `${message.slice(0, at)}.\n` : message;
};

/** What came back from the control plane, or did not. */
const connectFailure = (error: ConnectError): Failure => {
  if (error.cause instanceof UnreachableError) return failureOf(error.cause);
  const answered = error.metadata.has(CODE_METADATA);
  if (!answered && BROKEN.has(error.code)) {
    const late = error.code === Code.DeadlineExceeded;
    const message = late ? 'the control plane did not answer in time' : 'the connection to the control plane broke';
    return { exitCode: 3, code: 'unavailable', message };
  }
  if (!answered && error.code === Code.Unimplemented)
    return { exitCode: 3, code: 'unavailable', message: 'what answers there is not a Daypass control plane' };
  return failureOf(toDaypassError(error));
};

// What the client makes of a connection that ends early, or of an answer by something in between.
const BROKEN: ReadonlySet<Code> = new Set([
  Code.Unknown,
  Code.Unavailable,
  Code.DeadlineExceeded,
  Code.Aborted,
  Code.Canceled,
  Code.Internal,
  Code.DataLoss,
]);

/** `EACCES: permission denied, open 'x'` says all that is needed; anything else is a fault of ours. */
const systemMessage = (thrown: unknown): string => {
  if (thrown instanceof Error && 'syscall' in thrown) return thrown.message;
  return 'internal error (set DAYPASS_DEBUG=1 to see where)';
};
