// Reads settings out of environment variables, collecting every problem instead of stopping at the first.
import { DaypassError } from '@daypass/core/errors';
import { type Listen, parseListen } from '@daypass/core/listen';

/** Environment variables as a process has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A reader of variables. */
export type Settings = {
  /** The variable, or undefined when it is unset or empty. */
  text(name: string): string | undefined;
  /** `1`, `true`, `0`, `false`; unset: false. */
  flag(name: string): boolean;
  /** `host:port` or `[v6]:port`. */
  listen(name: string, fallback: string): Listen;
  /** `15m`, `90s`, `250ms`, `1h`, `30d`, in milliseconds and within bounds. */
  duration(name: string, fallback: string, least: string, most: string): number;
  /** An `http:` or `https:` URL without user, query, fragment and slash at the end. */
  url(name: string): string | undefined;
  /** Says what is wrong with a variable. */
  problem(name: string, message: string): void;
  /** Throws `config_invalid` with one line a problem, each naming its variable. */
  check(): void;
};

/** A reader over `env`. */
export const readSettings = (env: Environment): Settings => {
  const problems: string[] = [];
  const text = (name: string): string | undefined => {
    const value = env[name]?.trim();
    return value === '' ? undefined : value;
  };
  const problem = (name: string, message: string): void => {
    problems.push(`${name}: ${message}`);
  };
  const parsed = <T>(name: string, fallback: T, wanted: string, parse: (value: string) => T | undefined): T => {
    const value = text(name);
    if (value === undefined) return fallback;
    const result = parse(value);
    if (result === undefined) problem(name, `${JSON.stringify(value.slice(0, 200))} is not ${wanted}`);
    return result ?? fallback;
  };
  return {
    text,
    problem,
    flag: (name) => parsed(name, false, '1 or 0', parseFlag),
    listen: (name, fallback) =>
      parsed(name, parseListen(fallback), 'an address and port such as 127.0.0.1:8480 or [::1]:8480', parseListen) ?? {
        host: '',
        port: 0,
      },
    duration: (name, fallback, least, most) =>
      parsed(name, parseDuration(fallback) ?? 0, `a duration from ${least} to ${most} such as 15m or 90s`, (value) => {
        const ms = parseDuration(value) ?? Number.NaN;
        return ms >= (parseDuration(least) ?? 0) && ms <= (parseDuration(most) ?? 0) ? ms : undefined;
      }),
    url: (name) => parsed(name, undefined, 'a URL such as https://daypass.example.com', parseUrl),
    check: () => {
      if (problems.length > 0) throw new DaypassError('config_invalid', problems.join('\n'));
    },
  };
};

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const parseDuration = (value: string): number | undefined => {
  const [, digits, unit] = /^(\d{1,12})(ms|s|m|h|d)$/.exec(value) ?? [];
  return digits === undefined || unit === undefined ? undefined : Number(digits) * (UNIT_MS[unit] ?? Number.NaN);
};

const parseFlag = (value: string): boolean | undefined => {
  if (value === '1' || value === 'true') return true;
  return value === '0' || value === 'false' ? false : undefined;
};

const parseUrl = (value: string): string | undefined => {
  if (!URL.canParse(value) || !/^[!-~]{1,2000}$/.test(value)) return undefined;
  const url = new URL(value);
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  if (!isPlain || (url.protocol !== 'http:' && url.protocol !== 'https:')) return undefined;
  return `${url.origin}${url.pathname}`.replace(/(?<!\/)\/+$/, '');
};
