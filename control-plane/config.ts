// The control plane's settings: the environment once, into frozen data, or all problems at once.
import { resolve } from 'node:path';
import { parseRanges } from '@daypass/core/address';
import { controlPaths } from '@daypass/core/home';
import { isLoopback, type Listen, listenOrigin } from '@daypass/core/listen';
import { isLogLevel, type LogLevel } from './log.ts';
import { type Environment, readSettings, type Settings } from './settings.ts';

/** PEM files. */
export type TlsFiles = { readonly certPath: string; readonly keyPath: string };

export type ControlPlaneConfig = {
  /** Absolute. */
  readonly home: string;
  readonly listen: Listen;
  readonly tls: TlsFiles | undefined;
  readonly databaseUrl: string;
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

const readDatabaseUrl = (settings: Settings, home: string): string => {
  const url = settings.text('DAYPASS_DATABASE_URL') ?? `sqlite:${controlPaths(home).database}`;
  if (!/^sqlite:./.test(url) || url === 'sqlite::memory:') {
    settings.problem('DAYPASS_DATABASE_URL', 'must be `sqlite:` and the path of a file');
  }
  return url;
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
