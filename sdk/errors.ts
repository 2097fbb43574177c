// The one place where what came over the network becomes a typed error.
import { Code, ConnectError } from '@connectrpc/connect';
import { CODE_METADATA, FIELD_METADATA, type ProblemText, REFUSAL_HEADER, readProblem } from '@daypass/core/error-wire';
import { DaypassError, describe, type ErrorCode, isErrorCode } from '@daypass/core/errors';

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

/** Refusals are short; anything longer is not read. */
const MAX_PROBLEM_BYTES = 65_536;

/**
 * The refusal in a response of the data plane at `dataPlane`; undefined when the response is the upstream's, whose body
 * is then unread. A problem document alone proves nothing, since an upstream can write one: the header that every data
 * plane takes off an upstream's answer says whose it is, and a redirect may have led to somebody else altogether.
 */
export async function refusalOf(response: Response, dataPlane: string): Promise<RefusedError | undefined> {
  const { headers, status } = response;
  const code = headers.get(REFUSAL_HEADER);
  if (code === null || status < 400 || !isFrom(response, dataPlane)) return undefined;
  const known = (await readBody(response)) ?? readHead(code, headers);
  const seconds = headers.get('retry-after') ?? '';
  const retryAfterSeconds = /^[0-9]{1,6}$/.test(seconds) ? Number(seconds) : undefined;
  const { decisionId, neededRule } = known;
  return new RefusedError(known.code, known.detail, { status, decisionId, neededRule, retryAfterSeconds });
}

/** Whether the answer came from the data plane itself; a response that no network gave has no URL. */
const isFrom = ({ url }: Response, dataPlane: string): boolean =>
  url === '' || new URL(url).origin === new URL(dataPlane).origin;

/** The problem in the body; undefined where there is none, as in the answer to HEAD. */
async function readBody(response: Response): Promise<ProblemText | undefined> {
  const length = response.headers.get('content-length') ?? '';
  if (/^[0-9]{1,5}$/.test(length) && Number(length) <= MAX_PROBLEM_BYTES) return readProblem(await response.text());
  await response.body?.cancel();
  return undefined;
}

/** What the head alone says, its challenge (RFC 6750 §3) included. A code that is not known here is a refusal all the same. */
function readHead(named: string, headers: Headers): ProblemText {
  const code = isErrorCode(named) ? named : 'unavailable';
  const neededRule = /^(?:Bearer|DPoP) realm="daypass".*, scope="([^"]*)"$/.exec(
    headers.get('www-authenticate') ?? '',
  )?.[1];
  return { code, detail: describe(code).title, decisionId: '', neededRule };
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
