// What went wrong with an upstream, as one of our codes; the cause is for the log.
import { DaypassError } from '@daypass/core/errors';
import { ClientGone } from './cancellation.ts';

/** Turns what undici or a socket reports into `upstream_*`; our own errors stay as they are. */
export function upstreamError(error: unknown): DaypassError | ClientGone {
  if (error instanceof ClientGone) return error;
  const own = findOwn(error);
  if (own !== undefined) return own;
  const code = codeOf(error);
  if (TIMEOUTS.has(code))
    return new DaypassError('upstream_timeout', 'The upstream did not answer in time', { cause: error });
  if (INVALID.has(code) || code.startsWith('HPE_') || isProtocolBreach(error))
    return new DaypassError('upstream_response_invalid', 'The upstream broke the HTTP protocol', { cause: error });
  return new DaypassError('upstream_unreachable', 'The upstream cannot be reached', { cause: error });
}

const TIMEOUTS = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT']);
const INVALID = new Set([
  'UND_ERR_HEADERS_OVERFLOW',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
  'UND_ERR_RES_EXCEEDED_MAX_SIZE',
]);

// undici gives an upgrade or a 100 that nobody asked for no code of its own.
const isProtocolBreach = (error: unknown): boolean =>
  error instanceof Error && /^bad (upgrade|response)$/.test(error.message);

function findOwn(error: unknown): DaypassError | undefined {
  if (error instanceof DaypassError) return error;
  if (error instanceof AggregateError) return error.errors.map(findOwn).find((found) => found !== undefined);
  return error instanceof Error && error.cause !== undefined ? findOwn(error.cause) : undefined;
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return '';
  const code: unknown = Reflect.get(error, 'code');
  return typeof code === 'string' ? code : error.name === 'HTTPParserError' ? 'HPE_UNKNOWN' : '';
}
