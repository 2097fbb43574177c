// Reads settings out of environment variables, collecting every problem instead of stopping at the first.
import { DaypassError } from '@daypass/core/errors';
import { type Listen, parseListen } from '@daypass/core/listen';

/** Environment variables as a process has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

export type Settings = {
  /** The variable, or undefined when it is unset or empty. */
  text(name: string): string | undefined;
  /** `1`, `true`, `0`, `false`; unset: false. */
  flag(name: string): boolean;
  /** A whole number in a range. */
  count(name: string, fallback: number, least: number, most: number): number;
  /** `1GiB`, `512MiB`, `64KiB` or a number of bytes. */
  bytes(name: string, fallback: number, least: number): number;
  /** `host:port` or `[v6]:port`. */
  listen(name: string, fallback: string): Listen;
  /** An `http:` or `https:` origin with nothing behind it. */
  origin(name: string): URL | undefined;
  /** Such origins, comma separated, each once; empty where it is unset. */
  origins(name: string): readonly string[];
  /** Says what is wrong with a variable. */
  problem(name: string, message: string): void;
  /** Throws `config_invalid` with one line a problem, each naming its variable. */
  check(): void;
};

const ORIGINS_MAX = 16;

const UNITS: Readonly<Record<string, number>> = { '': 1, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** A reader over `env`. */
export function readSettings(env: Environment): Settings {
  const problems: string[] = [];
  const text = (name: string) => {
    const value = env[name]?.trim();
    return value === '' ? undefined : value;
  };
  const problem = (name: string, message: string) => {
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
    count: (name, fallback, least, most) =>
      parsed(name, fallback, `a whole number from ${least} to ${most}`, (value) => {
        const count = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
        return count >= least && count <= most ? count : undefined;
      }),
    bytes: (name, fallback, least) =>
      parsed(name, fallback, `a size of at least ${least} bytes such as 1GiB or 512MiB`, (value) => {
        const bytes = parseBytes(value);
        return bytes !== undefined && bytes >= least ? bytes : undefined;
      }),
    listen: (name, fallback) =>
      parsed(name, parseListen(fallback), 'an address and port such as 127.0.0.1:8470 or [::1]:8470', parseListen) ?? {
        host: '',
        port: 0,
      },
    origin: (name) => parsed(name, undefined, 'a URL such as https://daypass.example.com', parseOrigin),
    origins(name) {
      const given = (text(name) ?? '').split(',').filter((one) => one !== '');
      if (given.length > ORIGINS_MAX) problem(name, `names more than ${ORIGINS_MAX} URLs`);
      const origins = given.map((one) => {
        const origin = parseOrigin(one.trim())?.origin;
        if (origin === undefined)
          problem(name, `${JSON.stringify(one.slice(0, 200))} is not a URL such as https://daypass.example.com`);
        return origin ?? '';
      });
      return [...new Set(origins)];
    },
    check() {
      if (problems.length > 0) throw new DaypassError('config_invalid', problems.join('\n'));
    },
  };
}

function parseFlag(value: string): boolean | undefined {
  if (value === '1' || value === 'true') return true;
  return value === '0' || value === 'false' ? false : undefined;
}

function parseBytes(value: string): number | undefined {
  const [, digits = '', unit = ''] = /^(\d{1,15})\s?([KMGT]iB|B)?$/.exec(value) ?? [];
  const bytes = Number(digits) * (UNITS[unit] ?? Number.NaN);
  return digits !== '' && Number.isSafeInteger(bytes) ? bytes : undefined;
}

function parseOrigin(value: string): URL | undefined {
  if (!URL.canParse(value)) return undefined;
  const url = new URL(value);
  const isPlain =
    url.username === '' && url.password === '' && url.pathname === '/' && url.search === '' && url.hash === '';
  return isPlain && (url.protocol === 'http:' || url.protocol === 'https:') ? url : undefined;
}
