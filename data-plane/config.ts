// The data plane's settings: the environment once, into frozen data, or all problems at once.
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { parseRanges } from '@daypass/core/address';
import { isLoopback, type Listen, listenOrigin } from '@daypass/core/listen';
import { DEFAULT_LIMITS } from './limits.ts';
import { isLogLevel, type LogLevel } from './log.ts';
import type { NonceRule } from './proof.ts';
import { type Environment, readSettings, type Settings } from './settings.ts';

const MIB = 1024 * 1024;

/** PEM files. */
export type TlsFiles = { readonly certPath: string; readonly keyPath: string };

export type DataPlaneConfig = {
  /** Absolute. */
  readonly home: string;
  readonly listen: Listen;
  readonly adminListen: Listen;
  readonly tls: TlsFiles | undefined;
  /** Origin that clients know the proxy by; undefined: the address that it listens at, which then is a loopback one. */
  readonly publicUrl: string | undefined;
  /** Origins of the control planes: at least one. */
  readonly controlUrls: readonly string[];
  readonly allowUpstreamRanges: readonly string[];
  readonly auditSpoolBytes: number;
  /** `strict`: a decision is durable before the first byte of its request goes upstream. */
  readonly audit: AuditRule;
  /** Threads that serve. */
  readonly workers: number;
  readonly maxInFlight: number;
  readonly serverTiming: boolean;
  /** When DPoP proofs must hold a nonce of this node. */
  readonly dpopNonce: NonceRule;
  readonly logLevel: LogLevel;
};

/** When decisions are on the disk: before the answer ends, or durable before the request goes on. */
export type AuditRule = 'default' | 'strict';

/** Reads the settings; pure. Throws `config_invalid` with one line for each problem, naming its variable. */
export function parseConfig(env: Environment): DataPlaneConfig {
  const settings = readSettings(env);
  const listen = settings.listen('DAYPASS_DATA_LISTEN', '127.0.0.1:8470');
  const adminListen = settings.listen('DAYPASS_DATA_ADMIN_LISTEN', '127.0.0.1:8471');
  const tls = readTls(settings);
  checkListeners(settings, listen, adminListen, tls);
  const config: DataPlaneConfig = {
    home: resolve(settings.text('DAYPASS_HOME') ?? '.daypass'),
    listen: Object.freeze(listen),
    adminListen: Object.freeze(adminListen),
    tls,
    publicUrl: readPublicUrl(settings, listen),
    controlUrls: Object.freeze(readControlUrls(settings)),
    allowUpstreamRanges: readRanges(settings),
    auditSpoolBytes: settings.bytes('DAYPASS_AUDIT_SPOOL_BYTES', 1024 * MIB, MIB),
    audit: readAuditRule(settings),
    workers: settings.count('DAYPASS_WORKERS', defaultWorkers(), 1, canSharePorts ? WORKERS_MAX : 1),
    maxInFlight: settings.count('DAYPASS_MAX_IN_FLIGHT', DEFAULT_LIMITS.maxInFlight, 1, 65_536),
    serverTiming: settings.flag('DAYPASS_SERVER_TIMING'),
    dpopNonce: readNonceRule(settings),
    logLevel: readLogLevel(settings),
  };
  settings.check();
  return Object.freeze(config);
}

function readTls(settings: Settings): TlsFiles | undefined {
  const certPath = settings.text('DAYPASS_DATA_TLS_CERT');
  const keyPath = settings.text('DAYPASS_DATA_TLS_KEY');
  if (certPath !== undefined && keyPath !== undefined) return Object.freeze({ certPath, keyPath });
  if (certPath !== undefined) settings.problem('DAYPASS_DATA_TLS_KEY', 'is needed beside DAYPASS_DATA_TLS_CERT');
  if (keyPath !== undefined) settings.problem('DAYPASS_DATA_TLS_CERT', 'is needed beside DAYPASS_DATA_TLS_KEY');
  return undefined;
}

function checkListeners(settings: Settings, listen: Listen, adminListen: Listen, tls: TlsFiles | undefined): void {
  const insecure = settings.flag('DAYPASS_INSECURE_LISTEN');
  const only = 'without TLS only a loopback address is listened at, unless DAYPASS_INSECURE_LISTEN=1';
  if (!insecure && tls === undefined && !isLoopback(listen.host)) settings.problem('DAYPASS_DATA_LISTEN', only);
  if (!insecure && !isLoopback(adminListen.host)) settings.problem('DAYPASS_DATA_ADMIN_LISTEN', only);
  if (listen.port !== 0 && listen.port === adminListen.port && listen.host === adminListen.host)
    settings.problem('DAYPASS_DATA_ADMIN_LISTEN', 'is the same as DAYPASS_DATA_LISTEN');
}

function readPublicUrl(settings: Settings, listen: Listen): string | undefined {
  const given = settings.origin('DAYPASS_DATA_PUBLIC_URL')?.origin;
  if (settings.text('DAYPASS_DATA_PUBLIC_URL') === undefined && !isLoopback(listen.host))
    settings.problem('DAYPASS_DATA_PUBLIC_URL', 'is needed where DAYPASS_DATA_LISTEN is not a loopback address');
  return given;
}

/** By default where a control plane with the same environment listens. */
function readControlUrls(settings: Settings): readonly string[] {
  const given = settings.origins('DAYPASS_CONTROL_URL');
  if (given.length > 0) return given;
  const scheme = settings.text('DAYPASS_CONTROL_TLS_CERT') === undefined ? 'http' : 'https';
  return [listenOrigin(scheme, settings.listen('DAYPASS_CONTROL_LISTEN', '127.0.0.1:8480'))];
}

function readRanges(settings: Settings): readonly string[] {
  const name = 'DAYPASS_ALLOW_UPSTREAM_RANGES';
  const ranges =
    settings
      .text(name)
      ?.split(/[\s,]+/)
      .filter((range) => range !== '') ?? [];
  for (const problem of parseRanges(ranges).problems) settings.problem(name, problem);
  return Object.freeze(ranges);
}

function readNonceRule(settings: Settings): NonceRule {
  const rule = settings.text('DAYPASS_DPOP_NONCE') ?? 'auto';
  if (rule === 'auto' || rule === 'always') return rule;
  settings.problem('DAYPASS_DPOP_NONCE', `${JSON.stringify(rule)} is not auto or always`);
  return 'always';
}

function readAuditRule(settings: Settings): AuditRule {
  const rule = settings.text('DAYPASS_AUDIT') ?? 'default';
  if (rule === 'default' || rule === 'strict') return rule;
  settings.problem('DAYPASS_AUDIT', `${JSON.stringify(rule)} is not default or strict`);
  return 'strict';
}

const WORKERS_MAX = 64;

/** Systems that spread connections over several listeners at one port (SO_REUSEPORT). */
export const canSharePorts: boolean = ['linux', 'freebsd', 'dragonfly', 'sunos', 'aix'].includes(process.platform);

const defaultWorkers = (): number => (canSharePorts ? Math.min(WORKERS_MAX, availableParallelism()) : 1);

function readLogLevel(settings: Settings): LogLevel {
  const level = settings.text('DAYPASS_LOG_LEVEL') ?? 'info';
  if (isLogLevel(level)) return level;
  settings.problem('DAYPASS_LOG_LEVEL', `${JSON.stringify(level)} is not debug, info, warn or error`);
  return 'info';
}
