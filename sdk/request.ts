// Turns a service, a path and fetch's init into a request that says exactly what its token allows.
import { DaypassError } from '@daypass/core/errors';
import { isMethod } from '@daypass/core/method';
import { smallestRule } from '@daypass/core/rule-match';
import { parseTarget } from '@daypass/core/target';

/** fetch's init, and the scope of the token that the request uses. */
export type DaypassInit = RequestInit & {
  /** Rules of the token. Absent: the Daypass's own, else the smallest rule for this very request. */
  readonly allow?: readonly string[];
  /** The path may hold `%2F` in a segment: for a service that allows it. */
  readonly encodedSlashes?: boolean;
};

/** A request that is ready but for its token. */
export type Prepared = {
  readonly url: string;
  readonly init: RequestInit;
  readonly allow: readonly string[];
  /** Whether the body can be sent a second time. */
  readonly replayable: boolean;
};

/** Checks the base URL of a plane and returns it without a slash at its end; throws `invalid_argument`. */
export function readBase(url: string | URL, field: string): string {
  const parsed = URL.canParse(String(url)) ? new URL(String(url)) : undefined;
  const plain = parsed?.username === '' && parsed.password === '' && parsed.search === '' && parsed.hash === '';
  if (parsed === undefined || !plain || !/^https?:$/.test(parsed.protocol))
    throw new DaypassError(
      'invalid_argument',
      `${field} must be an http or https URL without user, query or fragment`,
      { field },
    );
  return parsed.href.replace(/(?<!\/)\/+$/, '');
}

/**
 * Prepares a request. Throws `invalid_argument` for a service name or method that cannot be, and `target_ambiguous` for
 * a path that the data plane would refuse or that a URL parser would change.
 */
export function prepare(
  base: string,
  service: string,
  path: string,
  given: DaypassInit,
  allow?: readonly string[],
): Prepared {
  const { allow: own, encodedSlashes = false, method: asked = 'GET', ...rest } = given;
  const method = asked.toUpperCase();
  if (!isMethod(method))
    throw new DaypassError('invalid_argument', 'method is not an HTTP method', { field: 'method' });
  checkService(service);
  const target = parseTarget(path, { encodedSlashes });
  const url = new URL(`${base}/s/${service}${path}`);
  // What the rule is made of must be what is sent.
  if (url.pathname !== new URL(base).pathname.replace(/\/$/, '') + `/s/${service}${target.path}`)
    throw new DaypassError('target_ambiguous', 'the path would be changed on its way');
  return {
    url: url.href,
    init: { ...rest, method },
    allow: own ?? allow ?? [smallestRule(method, target.path)],
    replayable: isReplayable(rest.body),
  };
}

/** Throws `invalid_argument` for a text that is no service name. */
export function checkService(service: string): void {
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(service))
    throw new DaypassError('invalid_argument', 'service is not the name of a service', { field: 'service' });
}

/** Texts, forms and bytes can be sent again; a stream is gone once it is read. */
const isReplayable = (body: RequestInit['body']): boolean =>
  body === undefined ||
  body === null ||
  typeof body === 'string' ||
  body instanceof URLSearchParams ||
  body instanceof FormData ||
  body instanceof Blob ||
  body instanceof ArrayBuffer ||
  ArrayBuffer.isView(body);
