// The one place where what came over the network becomes a typed error.
import { Code, ConnectError } from '@connectrpc/connect';
import { CODE_METADATA, FIELD_METADATA, type ProblemText, readProblem } from '@daypass/core/error-wire';
import { catalogue, DaypassError, describe, type ErrorCode, isErrorCode } from '@daypass/core/errors';

/** Daypass refused a request on its way to the upstream, which never saw it unless `code` is one of its own (`upstream_*`). */
export class RefusedError extends DaypassError {
  /** The HTTP status of the refusal. */
  readonly status: number;
  /** Under this id the refusal stands in the audit; empty where the answer could not say it (HEAD). */
  readonly decisionId: string;
  /** Seconds to wait before trying again, where the data plane said so. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    details: {
      readonly status: number;
      readonly decisionId: string;
      readonly neededRule: string | undefined;
      readonly retryAfterSeconds: number | undefined;
    },
  ) {
    super(code, message, details.neededRule === undefined ? {} : { neededRule: details.neededRule });
    this.status = details.status;
    this.decisionId = details.decisionId;
    this.retryAfterSeconds = details.retryAfterSeconds;
  }
}

/** Refusals are short; anything longer is an upstream's answer. */
const MAX_PROBLEM_BYTES = 65_536;

/**
 * The refusal in a response of a data plane; undefined when the response is the upstream's, whose body is then unread.
 */
export async function refusalOf(response: Response): Promise<RefusedError | undefined> {
  const { headers, status } = response;
  if (status < 400 || headers.get('content-type') !== 'application/problem+json') return undefined;
  const length = headers.get('content-length') ?? '';
  if (!/^[0-9]{1,5}$/.test(length) || Number(length) > MAX_PROBLEM_BYTES) return undefined;
  const text = await response.clone().text();
  const problem = text === '' ? readChallenge(headers) : readProblem(text);
  if (problem === undefined) return undefined;
  await response.body?.cancel();
  const { code, detail, decisionId, neededRule } = problem;
  const seconds = headers.get('retry-after') ?? '';
  const retryAfterSeconds = /^[0-9]{1,6}$/.test(seconds) ? Number(seconds) : undefined;
  return new RefusedError(code, detail, { status, decisionId, neededRule, retryAfterSeconds });
}

/** The answer to HEAD has no body; its challenge (RFC 6750 §3) says as much, but for the decision's id. */
function readChallenge(headers: Headers): ProblemText | undefined {
  const challenge = headers.get('www-authenticate') ?? '';
  if (!challenge.startsWith('Bearer realm="daypass", ')) return undefined;
  const detail = /error_description="([^"]*)"/.exec(challenge)?.[1] ?? '';
  const code = Object.keys(catalogue).find((one) => isErrorCode(one) && describe(one).title === detail);
  if (code === undefined || !isErrorCode(code)) return undefined;
  return { code, detail, decisionId: '', neededRule: /scope="([^"]*)"/.exec(challenge)?.[1] };
}

/** Anything that a call to the control plane threw, as a DaypassError; the original is its cause. */
export function toDaypassError(thrown: unknown): DaypassError {
  if (thrown instanceof DaypassError) return thrown;
  if (!(thrown instanceof ConnectError)) return new DaypassError('internal', 'Internal error', { cause: thrown });
  if (isUnreachable(thrown))
    return new DaypassError('unavailable', 'The control plane cannot be reached', { cause: thrown });
  const named = thrown.metadata.get(CODE_METADATA) ?? '';
  const field = decoded(thrown.metadata.get(FIELD_METADATA));
  const code = isErrorCode(named) ? named : codeOf(thrown.code);
  return new DaypassError(code, thrown.rawMessage, { cause: thrown, ...(field === undefined ? {} : { field }) });
}

/** The control plane gave no answer at all: the platform's fetch rejected, in a way of its own. */
const isUnreachable = (error: ConnectError): boolean => error.code === Code.Unknown && error.cause instanceof TypeError;

function decoded(field: string | null): string | undefined {
  try {
    return field === null ? undefined : decodeURI(field);
  } catch {
    return undefined;
  }
}

function codeOf(code: Code): ErrorCode {
  switch (code) {
    case Code.InvalidArgument:
    case Code.OutOfRange:
      return 'invalid_argument';
    case Code.Unauthenticated:
      return 'unauthenticated';
    case Code.PermissionDenied:
      return 'permission_denied';
    case Code.NotFound:
      return 'not_found';
    case Code.AlreadyExists:
      return 'already_exists';
    case Code.FailedPrecondition:
      return 'failed_precondition';
    case Code.Aborted:
      return 'etag_stale';
    case Code.ResourceExhausted:
      return 'rate_limited';
    case Code.Unavailable:
    case Code.DeadlineExceeded:
    case Code.Canceled:
      return 'unavailable';
    case Code.Unknown:
    case Code.Unimplemented:
    case Code.Internal:
    case Code.DataLoss:
      return 'internal';
    default:
      return code satisfies never;
  }
}
