// The entries of a snapshot: how each kind is written and read.
import { decodeBase64url } from './base64url.ts';
import { DaypassError } from './errors.ts';
import {
  type JsonObject,
  type JsonValue,
  parseStrictJsonBytes,
  readArray,
  readBoolean,
  readCount,
  readNumber,
  readObject,
  readString,
  readStringArray,
  readStringMap,
  refuseUnknown,
} from './json.ts';
import { isKid } from './key.ts';
import type { Entry } from './merkle.ts';
import { readPlace } from './place.ts';
import type {
  CredentialEntry,
  CutOffEntry,
  KeyEntry,
  PoolEntry,
  Rate,
  ScopeEntry,
  ServiceConfig,
  StatusEntry,
  TokenPlace,
} from './service.ts';

/** The content of each kind of entry. */
export type EntryContent = {
  readonly service: ServiceConfig;
  readonly credential: CredentialEntry;
  readonly scope: ScopeEntry;
  readonly key: KeyEntry;
  readonly status: StatusEntry;
  readonly cutoff: CutOffEntry;
  readonly pool: PoolEntry;
};

/** The parsed entries of a snapshot. */
export type Entries = {
  /** By name. */
  readonly services: ReadonlyMap<string, ServiceConfig>;
  /** By service. */
  readonly credentials: ReadonlyMap<string, CredentialEntry>;
  /** By `<service>/<scope>`. */
  readonly scopes: ReadonlyMap<string, ScopeEntry>;
  /** By `kid`. */
  readonly keys: ReadonlyMap<string, KeyEntry>;
  /** By chunk number: the zlib-compressed bit string. */
  readonly status: ReadonlyMap<number, Uint8Array>;
  readonly cutoffs: readonly CutOffEntry[];
  /** Absent where the control plane does not say. */
  readonly pool: (PoolEntry & { readonly name: string }) | undefined;
};

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** An entry of a kind, as bytes. */
export const encodeEntry = <K extends keyof EntryContent>(kind: K, name: string, content: EntryContent[K]): Entry => ({
  kind,
  name,
  content: new TextEncoder().encode(JSON.stringify(content)),
});

/**
 * Reads all entries. Throws `snapshot_malformed` naming the entry, `snapshot_feature_unknown` for an unknown kind.
 * That entries fit each other is not checked here.
 */
export function readEntries(entries: readonly Entry[]): Entries {
  const services = new Map<string, ServiceConfig>();
  const credentials = new Map<string, CredentialEntry>();
  const scopes = new Map<string, ScopeEntry>();
  const keys = new Map<string, KeyEntry>();
  const status = new Map<number, Uint8Array>();
  const cutoffs: CutOffEntry[] = [];
  let pool: Entries['pool'];
  const readers = new Map<string, (name: string, value: JsonValue) => void>([
    ['service', (name, value) => services.set(name, readService(name, value))],
    ['credential', (name, value) => credentials.set(name, readCredential(value))],
    ['scope', (name, value) => scopes.set(name, readScope(name, value))],
    ['key', (name, value) => keys.set(name, readKey(name, value))],
    ['status', (name, value) => status.set(readChunkNumber(name), readStatus(value))],
    ['cutoff', (_name, value) => cutoffs.push(readCutOff(value))],
    [
      'pool',
      (name, value) => {
        if (pool !== undefined) throw wrong('pool', 'is there twice');
        pool = { name, ...readPool(value) };
      },
    ],
  ]);
  for (const entry of entries) readEntry(entry, readers.get(entry.kind));
  return { services, credentials, scopes, keys, status, cutoffs, pool };
}

function readEntry(entry: Entry, read: ((name: string, value: JsonValue) => void) | undefined): void {
  if (read === undefined)
    throw new DaypassError('snapshot_feature_unknown', `There is no kind of entry "${entry.kind}" here`);
  try {
    read(entry.name, parseStrictJsonBytes(entry.content));
  } catch (cause) {
    const why = cause instanceof DaypassError ? cause.message : 'cannot be read';
    throw new DaypassError('snapshot_malformed', `The entry ${entry.kind}/${entry.name}: ${why}`, { cause });
  }
}

function readService(entryName: string, value: JsonValue): ServiceConfig {
  const object = readObject(value, 'service');
  refuseUnknown(object, SERVICE_MEMBERS, 'service');
  const service: ServiceConfig = {
    name: readString(object.name, 'name'),
    pool: readString(object.pool, 'pool'),
    origin: readString(object.origin, 'origin'),
    base_path: readString(object.base_path, 'base_path'),
    place: object.place === null ? null : readPlace(object.place, 'place'),
    token_in: readArray(object.token_in, 'token_in').map(readTokenPlace),
    is_default: readBoolean(object.is_default, 'is_default'),
    anonymous: readBoolean(object.anonymous, 'anonymous'),
    insecure_upstream: readBoolean(object.insecure_upstream, 'insecure_upstream'),
    max_ttl_seconds: readCount(object.max_ttl_seconds, 'max_ttl_seconds'),
    connect_timeout_ms: readCount(object.connect_timeout_ms, 'connect_timeout_ms'),
    response_timeout_ms: readCount(object.response_timeout_ms, 'response_timeout_ms'),
    clients: object.clients === null ? null : readStringArray(object.clients, 'clients'),
    drop_headers: readStringArray(object.drop_headers, 'drop_headers'),
    set_headers: readStringMap(object.set_headers, 'set_headers'),
    drop_query: readStringArray(object.drop_query, 'drop_query'),
    limits: readLimits(object.limits),
    ...(object.encoded_slashes === undefined
      ? {}
      : { encoded_slashes: readBoolean(object.encoded_slashes, 'encoded_slashes') }),
  };
  if (service.name !== entryName || !NAME.test(service.name)) throw wrong('name', 'does not fit the entry');
  checkTarget(service);
  return service;
}

const SERVICE_MEMBERS: readonly (keyof ServiceConfig)[] = [
  'name',
  'pool',
  'origin',
  'base_path',
  'place',
  'token_in',
  'is_default',
  'anonymous',
  'insecure_upstream',
  'max_ttl_seconds',
  'connect_timeout_ms',
  'response_timeout_ms',
  'clients',
  'drop_headers',
  'set_headers',
  'drop_query',
  'limits',
  'encoded_slashes',
];

function checkTarget({ origin, base_path, connect_timeout_ms, response_timeout_ms, max_ttl_seconds }: ServiceConfig) {
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  if (url?.origin !== origin || !/^https?:$/.test(url.protocol)) throw wrong('origin', 'is not an exact origin');
  if (base_path !== '' && !/^(\/[!-.0-~]+)+$/.test(base_path)) throw wrong('base_path', 'is not a path');
  if (connect_timeout_ms === 0 || response_timeout_ms === 0 || max_ttl_seconds === 0)
    throw wrong('connect_timeout_ms', 'and the other limits of time must be above 0');
}

function readTokenPlace(value: JsonValue): TokenPlace {
  const object = readObject(value, 'token_in');
  const kind = readString(object.kind, 'token_in.kind');
  refuseUnknown(object, kind === 'header' ? ['kind', 'name'] : ['kind'], 'token_in');
  if (kind === 'bearer' || kind === 'token' || kind === 'basic') return { kind };
  const name = kind === 'header' ? readString(object.name, 'token_in.name') : '';
  if (!/^[a-z0-9-]{1,64}$/.test(name)) throw wrong('token_in', 'is not a place for a token');
  return { kind: 'header', name };
}

function readLimits(value: JsonValue | undefined): ServiceConfig['limits'] {
  const object = readObject(value, 'limits');
  refuseUnknown(object, ['per_token', 'per_client', 'per_service'], 'limits');
  return {
    per_token: readRate(object.per_token, 'per_token'),
    per_client: readRate(object.per_client, 'per_client'),
    per_service: readRate(object.per_service, 'per_service'),
  };
}

function readRate(value: JsonValue | undefined, where: string): Rate | null {
  if (value === null) return null;
  const object = readObject(value, where);
  refuseUnknown(object, ['requests', 'per_seconds'], where);
  const rate = {
    requests: readCount(object.requests, 'requests'),
    per_seconds: readNumber(object.per_seconds, 'per_seconds'),
  };
  if (rate.requests === 0 || !(rate.per_seconds > 0)) throw wrong(where, 'must be above 0');
  return rate;
}

function readCredential(value: JsonValue): CredentialEntry {
  const object = readObject(value, 'credential');
  refuseUnknown(object, ['id', 'sealed'], 'credential');
  const id = readString(object.id, 'id');
  if (!/^[0-9a-f]{32}$/.test(id)) throw wrong('id', 'is not 128 bits in hex');
  return { id, sealed: readString(object.sealed, 'sealed') };
}

function readScope(name: string, value: JsonValue): ScopeEntry {
  if (!/^[a-z0-9-]{1,63}\/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(name)) throw wrong('name', 'is not <service>/<scope>');
  const object = readObject(value, 'scope');
  refuseUnknown(object, ['rules'], 'scope');
  return { rules: readStringArray(object.rules, 'rules') };
}

function readKey(name: string, value: JsonValue): KeyEntry {
  const object = readObject(value, 'key');
  refuseUnknown(object, ['kid', 'alg', 'issuer', 'jwk'], 'key');
  const kid = readString(object.kid, 'kid');
  const alg = readString(object.alg, 'alg');
  const issuer = readString(object.issuer, 'issuer');
  const jwk = readStringMap(object.jwk, 'jwk');
  if (kid !== name || !isKid(kid)) throw wrong('kid', 'does not fit the entry');
  if (alg !== 'Ed25519' && alg !== 'ES256') throw wrong('alg', 'is not an algorithm that tokens are signed with');
  if (issuer === '') throw wrong('issuer', 'is empty');
  if (jwk.d !== undefined) throw wrong('jwk', 'is a private key');
  return { kid, alg, issuer, jwk };
}

function readChunkNumber(name: string): number {
  if (!/^(0|[1-9][0-9]{0,8})$/.test(name)) throw wrong('name', 'is not a chunk number');
  return Number(name);
}

function readStatus(value: JsonValue): Uint8Array {
  const object = readObject(value, 'status');
  refuseUnknown(object, ['bits', 'lst'], 'status');
  if (object.bits !== 1) throw wrong('bits', 'must be 1');
  return decodeBase64url(readString(object.lst, 'lst'));
}

function readCutOff(value: JsonValue): CutOffEntry {
  const object = readObject(value, 'cutoff');
  const texts = ['service', 'client', 'subject', 'caller', 'credential_id'] as const;
  refuseUnknown(object, [...texts, 'minted_before'], 'cutoff');
  const fit: Partial<Record<(typeof texts)[number], string>> = {};
  for (const name of texts) if (object[name] !== undefined) fit[name] = readText(object, name);
  return { ...fit, minted_before: readNumber(object.minted_before, 'minted_before') };
}

function readPool(value: JsonValue): PoolEntry {
  const object = readObject(value, 'pool');
  refuseUnknown(object, ['nodes'], 'pool');
  return { nodes: readCount(object.nodes, 'nodes') };
}

function readText(object: JsonObject, name: string): string {
  const text = readString(object[name], name);
  if (text === '') throw wrong(name, 'is empty');
  return text;
}

const wrong = (where: string, what: string): DaypassError =>
  new DaypassError('invalid_json', `"${where}" ${what}`, { field: where });
