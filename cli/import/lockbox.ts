// Reads the configuration file of lockbox: services with their credentials, timeouts and audiences.
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { JsonObject, JsonValue } from '@daypass/core/json';
import { isObject } from './json-shape.ts';
import { readCredential } from './lockbox-credential.ts';
import {
  createFindings,
  type Findings,
  isServiceName,
  type Plan,
  type PlannedService,
  readUpstreamUrl,
} from './plan.ts';

/** What the user may say beside the file. */
export type LockboxOptions = { readonly insecureUpstream: boolean };

const KNOWN = new Set([
  ...['base_url', 'credential', 'requires_service_token', 'valid_audiences'],
  ...['connect_timeout', 'read_timeout', 'allow_redirects'],
]);

// What theirs takes where a timeout is not given, in seconds; and the most that ours takes.
const CONNECT = { key: 'connect_timeout', otherwise: 5, most: 300 } as const;
const READ = { key: 'read_timeout', otherwise: 30, most: 3600 } as const;

/** The plan for a parsed file. */
export const planLockbox = (config: JsonValue, options: LockboxOptions): Plan => {
  const findings = createFindings();
  const { notes, problems } = findings;
  const entries = isObject(config) ? config.services : undefined;
  if (!isObject(config) || !isObject(entries)) {
    findings.problem(isObject(config) ? 'services' : '$', 'must be an object');
    return { services: [], notes, problems };
  }
  noteTheRest(config, findings);
  const names = new Map<string, string>();
  const services: PlannedService[] = [];
  for (const [oldName, value] of Object.entries(entries)) {
    const name = readName(oldName, names, findings);
    const service = readService(value, `services.${oldName}`, name ?? 'unnamed', options, findings);
    if (name !== undefined && service !== undefined) services.push(service);
  }
  if (services.length > 0)
    findings.changed('$', 'tokens that lockbox signed are not taken: mint new ones, with the old audience as --client');
  return { services: problems.length > 0 ? [] : services, notes, problems };
};

const noteTheRest = (config: JsonObject, findings: Findings): void => {
  for (const [key, value] of Object.entries(config)) {
    if (key === 'services') continue;
    if (key !== 'audit_log') findings.notImported(key, 'lockbox has no such key');
    else if (value !== null) findings.notImported(key, auditText(value, findings));
  }
};

const auditText = (value: JsonValue, findings: Findings): string => {
  const rootDir = isObject(value) ? value.root_dir : undefined;
  if (!isObject(value) || typeof rootDir !== 'string' || (value.type ?? 'local_dir') !== 'local_dir') {
    findings.problem('audit_log', 'must have the type local_dir and a root_dir');
    return '';
  }
  return `every request is audited anyway; "daypass audit tail --dir ${rootDir}" writes files in the same folders, without secrets`;
};

const readName = (oldName: string, names: Map<string, string>, findings: Findings): string | undefined => {
  const path = `services.${oldName}`;
  const name = oldName.toLowerCase().replaceAll('_', '-');
  if (!isServiceName(name))
    return findings.problem(
      path,
      'cannot be made a service name: lower-case letters, digits and inner hyphens, at most 63',
    );
  const other = names.get(name);
  if (other !== undefined) return findings.problem(path, `would have the same name as services.${other}: ${name}`);
  names.set(name, oldName);
  if (name !== oldName) findings.changed(path, `is now called ${name}: /s/${oldName}/ becomes /s/${name}/`);
  return name;
};

const readService = (
  value: JsonValue,
  path: string,
  name: string,
  options: LockboxOptions,
  findings: Findings,
): PlannedService | undefined => {
  if (!isObject(value)) return findings.problem(path, 'must be an object');
  for (const key of Object.keys(value))
    if (!KNOWN.has(key)) findings.notImported(`${path}.${key}`, 'lockbox has no such key');
  const upstream = readBaseUrl(value.base_url, `${path}.base_url`, findings);
  const credential = readCredential(value.credential ?? null, `${path}.credential`, findings);
  const anonymous = readOpenness(value.requires_service_token, credential !== undefined, path, findings);
  const audiences = readAudiences(value.valid_audiences ?? null, `${path}.valid_audiences`, findings);
  const connectTimeout = readTimeout(value, CONNECT, path, findings);
  const responseTimeout = readTimeout(value, READ, path, findings);
  noteRedirects(value.allow_redirects, `${path}.allow_redirects`, findings);
  if (upstream === undefined) return undefined;
  const fields = {
    ...{ name, upstream, anonymous, insecureUpstream: options.insecureUpstream },
    ...{ connectTimeout: durationFromMs(connectTimeout), responseTimeout: durationFromMs(responseTimeout) },
    ...(audiences === undefined ? {} : { clients: { labels: [...audiences] } }),
  };
  return { fields, place: credential?.place, secret: credential?.secret };
};

/** Without a scheme it is https; `host:port` is a host and a port. */
const readBaseUrl = (value: JsonValue | undefined, path: string, findings: Findings): string | undefined => {
  if (typeof value !== 'string' || value === '') return findings.problem(path, 'must be a URL');
  const text = value.replace(/(?<!\/)\/+$/, '');
  if (text.includes('://')) return readUpstreamUrl(text, path, findings);
  findings.changed(path, `has no scheme: https://${text} is taken`);
  return readUpstreamUrl(`https://${text}`, path, findings);
};

/** Open to everybody only where the file says so in so many words, and nothing secret would be given away. */
const readOpenness = (
  value: JsonValue | undefined,
  hasCredential: boolean,
  path: string,
  findings: Findings,
): boolean => {
  const where = `${path}.requires_service_token`;
  switch (value) {
    case undefined:
    case true:
      return false;
    case null:
      findings.changed(
        where,
        'is null, which lockbox takes as open to everybody; here a token is needed. `daypass service update NAME --anonymous` opens it',
      );
      return false;
    case false:
      if (!hasCredential) return true;
      findings.changed(
        where,
        'is false and there is a credential: lockbox lends it to everybody; here a token is needed',
      );
      return false;
    default:
      findings.problem(where, 'must be true, false or null');
      return false;
  }
};

const readAudiences = (value: JsonValue, path: string, findings: Findings): readonly string[] | undefined => {
  if (value === null) return undefined;
  const labels: readonly JsonValue[] | undefined = Array.isArray(value) ? value : undefined;
  if (labels === undefined) return findings.problem(path, 'must be a list of texts, or null');
  for (const [index, label] of labels.entries())
    if (typeof label !== 'string' || !/^[!-~]{1,128}$/.test(label))
      findings.problem(`${path}[${index}]`, 'cannot be a client label: 1 to 128 visible characters without blanks');
  return labels.filter((label) => typeof label === 'string');
};

type Timeout = { readonly key: string; readonly otherwise: number; readonly most: number };

/** Milliseconds. */
const readTimeout = (
  service: JsonObject,
  { key, otherwise, most }: Timeout,
  path: string,
  findings: Findings,
): number => {
  const value = service[key];
  const where = `${path}.${key}`;
  if (value === undefined) return otherwise * 1000;
  if (value === null) {
    findings.changed(where, `is null, no limit; here it is the longest there is, ${most} s`);
    return most * 1000;
  }
  if (typeof value !== 'number' || value <= 0) {
    findings.problem(where, 'must be a number of seconds above 0, or null');
    return 0;
  }
  if (value > most) findings.changed(where, `is ${value} s; here it is the longest there is, ${most} s`);
  return Math.max(1, Math.round(Math.min(value, most) * 1000));
};

const noteRedirects = (value: JsonValue | undefined, path: string, findings: Findings): void => {
  if (value === undefined) return;
  if (typeof value !== 'boolean') findings.problem(path, 'must be true or false');
  else if (value) findings.notImported(path, 'the proxy never follows a redirect, it hands it to the client');
  else findings.changed(path, 'needs no setting: the proxy never follows a redirect');
};
