// Reads a `postgres:` URL: which server, as whom, and how the server has to prove who it is.
import { readFile } from 'node:fs/promises';
import type { ConnectionOptions } from 'node:tls';
import { DaypassError } from '@daypass/core/errors';
import { isLoopback } from '@daypass/core/listen';
import { Secret } from '@daypass/core/secret';

/** A server, and a database of it. */
type Place = {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: Secret | undefined;
  readonly database: string;
};
/** What a URL says. */
export type PostgresUrl = Place & {
  /** Undefined: nothing is encrypted. */
  readonly tls: { readonly verify: 'nothing' | 'ca' | 'full'; readonly files: TlsFiles } | undefined;
};
/** Where to connect. */
export type PostgresTarget = Place & { readonly ssl: ConnectionOptions | false };

/** Paths of PEM files. */
type TlsFiles = Readonly<Partial<Record<'ca' | 'cert' | 'key', string>>>;

const MODES: Readonly<Record<string, 'nothing' | 'ca' | 'full' | undefined>> = {
  disable: undefined,
  require: 'nothing',
  'verify-ca': 'ca',
  'verify-full': 'full',
};
const FILES = { sslrootcert: 'ca', sslcert: 'cert', sslkey: 'key' } as const;
const WANTED = 'must be `postgres://USER:PASSWORD@HOST:PORT/DATABASE`';

/** Whether a URL is meant for PostgreSQL. */
export const isPostgresUrl = (url: string): boolean => /^postgres(?:ql)?:/.test(url);

/**
 * Reads a URL; pure. Without `sslmode` the server's certificate and name are verified, but for a server on this machine.
 * @throws {DaypassError} `config_invalid`, which repeats nothing of the URL
 */
export const parsePostgresUrl = (text: string): PostgresUrl => {
  if (!URL.canParse(text) || !isPostgresUrl(text)) throw problem(WANTED);
  const url = new URL(text);
  const host = decode(url.hostname).replace(/^\[|\]$/g, '');
  const user = decode(url.username);
  const database = decode(url.pathname.slice(1));
  if (host === '' || user === '' || database === '' || database.includes('/') || url.hash !== '') throw problem(WANTED);
  const password = url.password === '' ? undefined : new Secret(decode(url.password));
  return { host, port: Number(url.port || 5432), user, password, database, tls: readTls(url.searchParams, host) };
};

/** Reads the files that a URL names. Throws `config_invalid`. */
export const readTarget = async ({ tls, ...place }: PostgresUrl): Promise<PostgresTarget> => {
  if (tls === undefined) return { ...place, ssl: false };
  const read = async ([option, path]: [string, string]) => [option, await readPem(path)] as const;
  const pems = Object.fromEntries(await Promise.all(Object.entries(tls.files).map(read)));
  return { ...place, ssl: { ...pems, ...VERIFICATION[tls.verify] } };
};

const VERIFICATION: Readonly<Record<'nothing' | 'ca' | 'full', ConnectionOptions>> = {
  nothing: { rejectUnauthorized: false },
  // Signed by one that is trusted, for whichever host.
  ca: { rejectUnauthorized: true, checkServerIdentity: () => undefined },
  full: { rejectUnauthorized: true },
};

const readTls = (parameters: URLSearchParams, host: string): PostgresUrl['tls'] => {
  const files: Partial<Record<'ca' | 'cert' | 'key', string>> = {};
  for (const [name, value] of parameters) {
    if (isFile(name)) files[FILES[name]] = value;
    else if (name !== 'sslmode') {
      throw problem(`has a parameter that is not one of sslmode, ${Object.keys(FILES).join(', ')}`);
    }
  }
  const mode = parameters.get('sslmode') ?? (isLoopback(host) ? 'disable' : 'verify-full');
  if (!Object.hasOwn(MODES, mode)) throw problem(`has an sslmode that is not one of ${Object.keys(MODES).join(', ')}`);
  const verify = MODES[mode];
  if (verify !== undefined) return { verify, files };
  if (Object.keys(files).length > 0) throw problem('names TLS files, and turns TLS off');
  return undefined;
};

const isFile = (name: string): name is keyof typeof FILES => Object.hasOwn(FILES, name);

const readPem = async (path: string): Promise<string> => {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'unknown';
    throw new DaypassError('config_invalid', `DAYPASS_DATABASE_URL names ${path}, which cannot be read (${why})`, {
      field: 'DAYPASS_DATABASE_URL',
      cause,
    });
  }
};

const decode = (text: string): string => {
  try {
    return decodeURIComponent(text);
  } catch {
    throw problem('is badly percent-encoded');
  }
};

const problem = (message: string): DaypassError =>
  new DaypassError('config_invalid', `DAYPASS_DATABASE_URL ${message}`, { field: 'DAYPASS_DATABASE_URL' });
