// Reads a service's upstream: one https origin and a base path, in one spelling only.
import { DaypassError } from '@daypass/core/errors';
import { parseTarget } from '@daypass/core/target';

/** An upstream in canonical form. */
export type Upstream = {
  /** `https://host[:port]`, default port left out. */
  readonly origin: string;
  /** `''` or `/base/path`. */
  readonly basePath: string;
  /** The origin as a URL, for the address policy. */
  readonly url: URL;
};

const FORM = /^(https?):\/\/([^/?#@\\]+)(\/[^?#\\]*)?$/;

/**
 * Reads an upstream URL.
 * @throws {DaypassError} `invalid_argument` for anything but `http(s)://host[:port][/base/path]` in its plain spelling,
 * so that what is stored, sealed and dialled can never be three things.
 */
export const readUpstream = (text: string): Upstream => {
  const [, scheme, authority, path = ''] = FORM.exec(text) ?? [];
  if (scheme === undefined || authority === undefined || !/^[!-~]+$/.test(text)) {
    throw wrong('must be `https://host[:port][/base/path]`, without user, query or fragment');
  }
  const url = parseUrl(`${scheme}://${authority}`);
  checkSpelling(authority, url);
  return { origin: url.origin, basePath: readBasePath(path), url };
};

const parseUrl = (text: string): URL => {
  try {
    return new URL(text);
  } catch {
    throw wrong('is not a URL');
  }
};

/** The URL parser reads `0x7f.1` as 127.0.0.1 and the like: what was written must be what is dialled. */
const checkSpelling = (authority: string, url: URL): void => {
  const [, host = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(authority) ?? [];
  if (host.toLowerCase() !== url.hostname) throw wrong(`must write the host as \`${url.hostname}\``);
  if (url.hostname.endsWith('.')) throw wrong('must write the host without a dot at the end');
  if (port !== undefined && !/^[1-9][0-9]{0,4}$/.test(port)) throw wrong('has a port that is not a plain number');
};

const readBasePath = (path: string): string => {
  const base = path.endsWith('/') ? path.slice(0, -1) : path;
  if (base === '') return '';
  try {
    parseTarget(base);
  } catch (cause) {
    throw wrong(`has a base path that can be read in two ways${cause instanceof Error ? `: ${cause.message}` : ''}`);
  }
  return base;
};

const wrong = (message: string): DaypassError => new DaypassError('invalid_argument', message);
