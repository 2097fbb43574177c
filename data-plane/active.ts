// An activated snapshot: everything that is computed once for each snapshot, so that a request only looks up.
import { setImmediate } from 'node:timers/promises';
import { inflateSync } from 'node:zlib';
import { DaypassError } from '@daypass/core/errors';
import { type CompiledRules, compileRules } from '@daypass/core/rule-match';
import { parseRules } from '@daypass/core/rule-parse';
import { type CutOffEntry, type KeyEntry, STATUS_CHUNK_BITS } from '@daypass/core/service';
import type { VerifiedSnapshot } from '@daypass/core/snapshot';
import { getBit } from '@daypass/core/status';
import { importVerificationKey, type StatusPosition, type VerificationKey } from '@daypass/core/token';
import { type ActiveService, type FieldRules, prepareService } from './active-service.ts';

/** A snapshot as requests see it. Immutable: a request keeps the one it began with, until a later revokes its token. */
export type ActiveSnapshot = {
  readonly version: number;
  /** Hex sha256 of the manifest. */
  readonly digest: string;
  /** The end of the lease, in seconds since the epoch. */
  readonly expiresAt: number;
  readonly fleet: string;
  readonly pool: string;
  readonly services: ReadonlyMap<string, ActiveService>;
  /** Named scopes by `SERVICE/NAME`, for the next snapshot, which often has the same. */
  readonly scopes: ReadonlyMap<string, NamedScope>;
  readonly defaultService: ActiveService | undefined;
  /** Nodes of the pool; undefined: it was not said. */
  readonly poolNodes: number | undefined;
  /** Keys that verify tokens, by `kid`. */
  readonly keys: ReadonlyMap<string, VerificationKey>;
  /** What each key is, by `kid`: equal texts are equal keys. */
  readonly keyPrints: ReadonlyMap<string, string>;
  readonly isRevoked: (position: StatusPosition) => boolean;
  readonly isCutOff: (token: CutOffSubject) => boolean;
};

/** What a cut-off may name of a token. `credentialId` is that of the credential it would use. */
export type CutOffSubject = {
  readonly service: string;
  readonly client_id: string;
  readonly sub: string;
  readonly caller: string;
  readonly iat: number;
  readonly credentialId: string | undefined;
};

/** A named scope: its rules as the snapshot has them, and made ready. */
export type NamedScope = { readonly texts: readonly string[]; readonly rules: CompiledRules };

/**
 * Computes what requests need of a verified snapshot, taking what is the same from the `previous` one. It lets go of
 * the event loop on its way. Throws `snapshot_inconsistent` naming the entry.
 */
export async function activate(verified: VerifiedSnapshot, previous?: ActiveSnapshot): Promise<ActiveSnapshot> {
  const { manifest, pool } = verified;
  if (pool !== undefined && pool.name !== manifest.pool)
    throw inconsistent(`The entry pool/${pool.name} is of another pool`);
  const scopes = await compileScopes(verified, previous);
  const byService = groupScopes(scopes);
  const services = new Map<string, ActiveService>();
  const fieldRules = new Map<string, FieldRules>();
  for (const config of verified.services.values()) {
    if (services.size % SERVICES_AT_ONCE === SERVICES_AT_ONCE - 1) await setImmediate();
    if (config.pool !== manifest.pool) throw inconsistent(`The service ${config.name} is of another pool`);
    const credential = verified.credentials.get(config.name);
    services.set(config.name, prepareService(config, credential, byService.get(config.name) ?? NO_SCOPES, fieldRules));
  }
  return Object.freeze({
    version: manifest.version,
    digest: verified.digest,
    expiresAt: manifest.expires_at,
    fleet: manifest.fleet,
    pool: manifest.pool,
    services,
    scopes,
    defaultService: findDefault(services),
    poolNodes: pool?.nodes,
    keys: await importKeys(verified.keys),
    keyPrints: new Map([...verified.keys].map(([kid, entry]) => [kid, JSON.stringify(entry)])),
    isRevoked: revocation(verified.status),
    isCutOff: cutOffs(verified.cutoffs),
  });
}

type Scopes = ReadonlyMap<string, CompiledRules>;
const NO_SCOPES: Scopes = new Map();

// Ten thousand rules take about 100 ms, so that requests come in between one scope and the next.
async function compileScopes(
  { scopes }: VerifiedSnapshot,
  previous: ActiveSnapshot | undefined,
): Promise<ReadonlyMap<string, NamedScope>> {
  const compiled = new Map<string, NamedScope>();
  let unseen = 0;
  for (const [name, { rules: texts }] of scopes) {
    const before = previous?.scopes.get(name);
    if (before !== undefined && isSameList(before.texts, texts)) {
      compiled.set(name, before);
      continue;
    }
    unseen += texts.length;
    if (unseen > RULES_AT_ONCE) {
      await setImmediate();
      unseen = texts.length;
    }
    compiled.set(name, { texts, rules: attempt(`scope/${name}`, () => compileRules(parseRules(texts))) });
  }
  return compiled;
}

/** Compiled without a break: about 10 ms. */
const RULES_AT_ONCE = 1000;
const SERVICES_AT_ONCE = 1000;

const isSameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((text, at) => text === b[at]);

function groupScopes(scopes: ReadonlyMap<string, NamedScope>): ReadonlyMap<string, Scopes> {
  const byService = new Map<string, Map<string, CompiledRules>>();
  for (const [name, { rules }] of scopes) {
    const slash = name.indexOf('/');
    const service = name.slice(0, slash);
    byService.set(service, (byService.get(service) ?? new Map()).set(name.slice(slash + 1), rules));
  }
  return byService;
}

function findDefault(services: ReadonlyMap<string, ActiveService>): ActiveService | undefined {
  const defaults = [...services.values()].filter((service) => service.config.is_default);
  if (defaults.length > 1) throw inconsistent('There is more than one default service');
  return defaults[0];
}

async function importKeys(entries: ReadonlyMap<string, KeyEntry>): Promise<ReadonlyMap<string, VerificationKey>> {
  const keys = new Map<string, VerificationKey>();
  for (const [kid, entry] of entries) {
    const key = await importVerificationKey(entry).catch((cause: unknown) => {
      throw inconsistent(`The entry key/${kid} is not a usable key`, cause);
    });
    keys.set(kid, key);
  }
  return keys;
}

/** Bytes of a whole chunk. */
const CHUNK_BYTES = STATUS_CHUNK_BITS / 8;

// Only chunks with a revoked token are in a snapshot: that one is absent was signed as well, and says "none of these".
function revocation(compressed: ReadonlyMap<number, Uint8Array>): ActiveSnapshot['isRevoked'] {
  const chunks = new Map<number, Uint8Array>();
  for (const [chunk, bytes] of compressed) {
    const bits = attempt(`status/${chunk}`, () => inflateSync(bytes, { maxOutputLength: CHUNK_BYTES }));
    if (bits.length !== CHUNK_BYTES) throw inconsistent(`The entry status/${chunk} is not a whole chunk`);
    chunks.set(chunk, bits);
  }
  return ({ chunk, index }) => {
    const bits = chunks.get(chunk);
    return bits !== undefined && getBit(bits, index) !== false;
  };
}

function cutOffs(entries: readonly CutOffEntry[]): ActiveSnapshot['isCutOff'] {
  const byService = new Map<string, CutOffEntry[]>();
  const general: CutOffEntry[] = [];
  for (const entry of entries) {
    if (entry.service === undefined) general.push(entry);
    else byService.set(entry.service, [...(byService.get(entry.service) ?? []), entry]);
  }
  return (token) => {
    const fits = (entry: CutOffEntry) => fitsCutOff(entry, token);
    return general.some(fits) || (byService.get(token.service)?.some(fits) ?? false);
  };
}

const fitsCutOff = (entry: CutOffEntry, token: CutOffSubject): boolean =>
  token.iat <= entry.minted_before &&
  (entry.service === undefined || entry.service === token.service) &&
  (entry.client === undefined || entry.client === token.client_id) &&
  (entry.subject === undefined || entry.subject === token.sub) &&
  (entry.caller === undefined || entry.caller === token.caller) &&
  (entry.credential_id === undefined || entry.credential_id === token.credentialId);

function attempt<T>(entry: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw inconsistent(`The entry ${entry} cannot be used`, cause);
  }
}

const inconsistent = (message: string, cause?: unknown): DaypassError =>
  new DaypassError('snapshot_inconsistent', message, cause === undefined ? {} : { cause });
