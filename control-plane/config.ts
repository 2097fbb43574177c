// The control plane's settings: the environment once, into frozen data, or all problems at once.
import { resolve } from 'node:path';
import { parseRanges } from '@daypass/core/address';
import { DaypassError } from '@daypass/core/errors';
import { controlPaths } from '@daypass/core/home';
import { isLoopback, type Listen, listenOrigin } from '@daypass/core/listen';
import { Secret } from '@daypass/core/secret';
import { isLogLevel, type LogLevel } from './log.ts';
import { type Environment, readSettings, type Settings } from './settings.ts';
import { isPostgresUrl, parsePostgresUrl } from './store/postgres-url.ts';

/** PEM files. */
export type TlsFiles = { readonly certPath: string; readonly keyPath: string };

export type ControlPlaneConfig = {
  /** Absolute. */
  readonly home: string;
  readonly listen: Listen;
  readonly tls: TlsFiles | undefined;
  /** It may hold a password. */
  readonly databaseUrl: Secret;
  /** To PostgreSQL. */
  readonly databaseConnections: number;
  /** `iss` of the tokens. */
  readonly issuer: string;
  readonly leaseMs: number;
  /** How long published snapshots are kept. */
  readonly historyMs: number;
  readonly allowUpstreamRanges: readonly string[];
  /** Where the planes listen: never an upstream. */
  readonly ownListeners: readonly Listen[];
  readonly logLevel: LogLevel;
};

/** Reads the settings; pure. Throws `config_invalid` with one line for each problem, naming its variable. */
export const parseConfig = (env: Environment): ControlPlaneConfig => {
  const settings = readSettings(env);
  const home = resolve(settings.text('DAYPASS_HOME') ?? '.daypass');
  const listen = settings.listen('DAYPASS_CONTROL_LISTEN', '127.0.0.1:8480');
  const tls = readTls(settings);
  if (!settings.flag('DAYPASS_INSECURE_LISTEN') && tls === undefined && !isLoopback(listen.host)) {
    const message = 'without TLS only a loopback address is listened at, unless DAYPASS_INSECURE_LISTEN=1';
    settings.problem('DAYPASS_CONTROL_LISTEN', message);
  }
  const controlUrl = settings.url('DAYPASS_CONTROL_URL') ?? listenOrigin(tls === undefined ? 'http' : 'https', listen);
  const config: ControlPlaneConfig = {
    home,
    listen: Object.freeze(listen),
    tls,
    databaseUrl: readDatabaseUrl(settings, home),
    databaseConnections: readConnections(settings),
    issuer: settings.url('DAYPASS_ISSUER') ?? controlUrl,
    leaseMs: readLease(settings),
    historyMs: settings.duration('DAYPASS_SNAPSHOT_HISTORY', '30d', '1h', '3650d'),
    allowUpstreamRanges: readRanges(settings),
    ownListeners: Object.freeze([
      listen,
      settings.listen('DAYPASS_DATA_LISTEN', '127.0.0.1:8470'),
      settings.listen('DAYPASS_DATA_ADMIN_LISTEN', '127.0.0.1:8471'),
    ]),
    logLevel: readLogLevel(settings),
  };
  settings.check();
  return Object.freeze(config);
};

const readTls = (settings: Settings): TlsFiles | undefined => {
  const certPath = settings.text('DAYPASS_CONTROL_TLS_CERT');
  const keyPath = settings.text('DAYPASS_CONTROL_TLS_KEY');
  if (certPath !== undefined && keyPath !== undefined) return Object.freeze({ certPath, keyPath });
  if (certPath !== undefined) settings.problem('DAYPASS_CONTROL_TLS_KEY', 'is needed beside DAYPASS_CONTROL_TLS_CERT');
  if (keyPath !== undefined) settings.problem('DAYPASS_CONTROL_TLS_CERT', 'is needed beside DAYPASS_CONTROL_TLS_KEY');
  return undefined;
};

const readDatabaseUrl = (settings: Settings, home: string): Secret => {
  const name = 'DAYPASS_DATABASE_URL';
  const url = settings.text(name) ?? `sqlite:${controlPaths(home).database}`;
  if (isPostgresUrl(url)) {
    try {
      parsePostgresUrl(url);
    } catch (error) {
      if (!(error instanceof DaypassError)) throw error;
      settings.problem(name, error.message.replace(`${name} `, ''));
    }
  } else if (!/^sqlite:./.test(url) || url === 'sqlite::memory:') {
    settings.problem(
      name,
      'must be `sqlite:` and the path of a file, or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`',
    );
  }
  return new Secret(url);
};

/** One writes, one listens, and the others read. */
const readConnections = (settings: Settings): number => {
  const text = settings.text('DAYPASS_DATABASE_CONNECTIONS') ?? '10';
  const count = /^\d{1,3}$/.test(text) ? Number(text) : Number.NaN;
  if (count >= 3 && count <= 100) return count;
  settings.problem('DAYPASS_DATABASE_CONNECTIONS', 'must be a number from 3 to 100');
  return 10;
};

/** Manifests count in whole seconds. */
const readLease = (settings: Settings): number => {
  const ms = settings.duration('DAYPASS_LEASE', '1h', '1m', '24h');
  if (ms % 1000 !== 0) settings.problem('DAYPASS_LEASE', 'must be whole seconds');
  return ms;
};

const readRanges = (settings: Settings): readonly string[] => {
  const name = 'DAYPASS_ALLOW_UPSTREAM_RANGES';
  const ranges = (settings.text(name) ?? '').split(/[\s,]+/).filter((range) => range !== '');
  for (const problem of parseRanges(ranges).problems) settings.problem(name, problem);
  return Object.freeze(ranges);
};

const readLogLevel = (settings: Settings): LogLevel => {
  const level = settings.text('DAYPASS_LOG_LEVEL') ?? 'info';
  if (isLogLevel(level)) return level;
  settings.problem('DAYPASS_LOG_LEVEL', `${JSON.stringify(level)} is not debug, info, warn or error`);
  return 'info';
};
