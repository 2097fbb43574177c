// Turns errors into Connect errors, in one place: the catalogue's code, the field at fault, and nothing of the cause.

import { pathToString } from '@bufbuild/protobuf/reflect';
import { ValidationError } from '@bufbuild/protovalidate';
import { Code, ConnectError } from '@connectrpc/connect';
import { type ConnectCode, DaypassError, describe, type ErrorCode } from '@daypass/core/errors';

/** Headers, or trailers, of an error. */
export const CODE_HEADER = 'daypass-error-code';
export const FIELD_HEADER = 'daypass-error-field';

const CODES: Readonly<Record<ConnectCode, Code>> = {
  invalid_argument: Code.InvalidArgument,
  unauthenticated: Code.Unauthenticated,
  permission_denied: Code.PermissionDenied,
  not_found: Code.NotFound,
  already_exists: Code.AlreadyExists,
  failed_precondition: Code.FailedPrecondition,
  aborted: Code.Aborted,
  resource_exhausted: Code.ResourceExhausted,
  unavailable: Code.Unavailable,
  deadline_exceeded: Code.DeadlineExceeded,
  internal: Code.Internal,
};

/** What an operator has to mend. */
const LOGGED: ReadonlySet<ErrorCode> = new Set(['internal', 'database_unavailable']);

/** Looks at what was thrown; `unexpected` says that an operator has to hear of it. */
export const toConnectError = (thrown: unknown): { readonly error: ConnectError; readonly unexpected: boolean } => {
  if (thrown instanceof DaypassError) {
    return { error: ofDaypass(thrown), unexpected: LOGGED.has(thrown.code) };
  }
  if (thrown instanceof ConnectError) return { error: ofConnect(thrown), unexpected: false };
  if (isGone(thrown)) return { error: make('unavailable', undefined, 'The request broke off'), unexpected: false };
  return { error: make('internal', undefined, describe('internal').title), unexpected: true };
};

/** The client went away in the middle of its request: whoever can connect can do that, and must not fill the log. */
const isGone = (thrown: unknown): boolean =>
  thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' && GONE.has(thrown.code);

const GONE: ReadonlySet<string> = new Set([
  ...['ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED', 'ERR_STREAM_WRITE_AFTER_END', 'ABORT_ERR'],
  ...['ERR_HTTP2_STREAM_ERROR', 'ERR_HTTP2_SESSION_ERROR', 'ERR_HTTP2_INVALID_STREAM', 'ECONNRESET', 'EPIPE'],
]);

const ofDaypass = (error: DaypassError): ConnectError => {
  const message = error.message === '' ? describe(error.code).title : error.message;
  return make(error.code, error.field, message);
};

/** The validation of messages names one violation and counts the rest: name them all. */
const ofConnect = (error: ConnectError): ConnectError => {
  if (!(error.cause instanceof ValidationError)) return error;
  const [first, ...others] = error.cause.violations.slice(0, VIOLATIONS_MAX).map(({ field, message, ruleId }) => ({
    field: pathToString(field),
    message: message === '' ? ruleId : message,
  }));
  if (first === undefined) return error;
  const rest = others.map(({ field, message }) => `; ${field}: ${message}`).join('');
  return make('invalid_argument', first.field === '' ? undefined : first.field, first.message + rest);
};

const VIOLATIONS_MAX = 20;

const make = (code: ErrorCode, field: string | undefined, message: string): ConnectError => {
  const headers = new Headers({ [CODE_HEADER]: code });
  // A field path may hold a map key that was sent; a header may not hold everything that a key can.
  if (field !== undefined)
    headers.set(
      FIELD_HEADER,
      field
        .toWellFormed()
        .slice(0, 256)
        .replace(/[^ -~]/gu, '?')
        .trim(),
    );
  const text = field === undefined ? message : `${field}: ${message}`;
  return new ConnectError(text, CODES[describe(code).connect], headers);
};
