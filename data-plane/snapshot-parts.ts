// What a snapshot holds beside services: made ready before it is activated, since it decides on every request.
import { setImmediate } from 'node:timers/promises';
import { inflateSync } from 'node:zlib';
import { DaypassError } from '@daypass/core/errors';
import { type CompiledRules, compileRules } from '@daypass/core/rule-match';
import { parseRules } from '@daypass/core/rule-parse';
import { type CutOffEntry, type KeyEntry, STATUS_CHUNK_BITS } from '@daypass/core/service';
import type { Entry, EntryChange } from '@daypass/core/snapshot';
import { serviceOfScope } from '@daypass/core/snapshot-consistency';
import { type Entries, readEntries } from '@daypass/core/snapshot-entry';
import { getBit } from '@daypass/core/status';
import { importVerificationKey, type StatusPosition, type VerificationKey } from '@daypass/core/token';

/** The kinds of entries that are made ready. */
export const PART_KINDS: readonly string[] = ['cutoff', 'key', 'pool', 'scope', 'status'];

/** All of a snapshot but its services. Immutable; of the next one it shares what is the same. */
export type Parts = {
  /** Keys that verify tokens, by `kid`. */
  readonly keys: ReadonlyMap<string, VerificationKey>;
  /** What each key is, by `kid`: equal texts are equal keys. */
  readonly keyPrints: ReadonlyMap<string, string>;
  /** Named scopes by `SERVICE/NAME`. */
  readonly scopes: ReadonlyMap<string, NamedScope>;
  /** Named scopes of each service that has any, by their names there; one that is the same is the same object. */
  readonly scopesOf: ReadonlyMap<string, ReadonlyMap<string, CompiledRules>>;
  /** Revoked tokens, by chunk. */
  readonly status: ReadonlyMap<number, Uint8Array>;
  /** By the name of the entry. */
  readonly cutoffs: ReadonlyMap<string, CutOffEntry>;
  /** Nodes of the pool; undefined: it was not said. */
  readonly poolNodes: number | undefined;
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

/** Those of a snapshot without entries. */
export const NO_PARTS: Parts = {
  keys: new Map(),
  keyPrints: new Map(),
  scopes: new Map(),
  scopesOf: new Map(),
  status: new Map(),
  cutoffs: new Map(),
  poolNodes: undefined,
  isRevoked: () => false,
  isCutOff: () => false,
};

/**
 * The parts after changes of entries of these kinds; `known` are those of any other snapshot, of which named scopes that
 * are the same need not be made ready again. Lets go of the event loop on its way. Throws `snapshot_inconsistent` naming
 * the entry.
 */
export async function changeParts(
  before: Parts,
  changes: readonly EntryChange[],
  known: Parts = before,
): Promise<Parts> {
  if (changes.length === 0) return before;
  const of = (kind: string): readonly EntryChange[] => changes.filter((change) => change.kind === kind);
  const pools = readEntries(present(of('pool')));
  const scopes = await changeScopes(before, of('scope'), known);
  return {
    ...before,
    ...(await changeKeys(before, of('key'))),
    ...scopes,
    ...changeStatus(before, of('status')),
    ...changeCutOffs(before, of('cutoff')),
    poolNodes: of('pool').length === 0 ? before.poolNodes : pools.pool?.nodes,
  };
}

const present = (changes: readonly EntryChange[]): readonly Entry[] =>
  changes.flatMap(({ kind, name, content }) => (content === undefined ? [] : [{ kind, name, content }]));

/** A map without what changed, to which the new is added. */
function without<K, V>(map: ReadonlyMap<K, V>, names: Iterable<K>): Map<K, V> {
  const copy = new Map(map);
  for (const name of names) copy.delete(name);
  return copy;
}

const namesOf = (changes: readonly EntryChange[]): readonly string[] => changes.map(({ name }) => name);

async function changeKeys(before: Parts, changes: readonly EntryChange[]): Promise<Partial<Parts>> {
  if (changes.length === 0) return {};
  const keys = without(before.keys, namesOf(changes));
  const keyPrints = without(before.keyPrints, namesOf(changes));
  for (const [kid, entry] of readEntries(present(changes)).keys) {
    keys.set(kid, await importKey(kid, entry));
    keyPrints.set(kid, JSON.stringify(entry));
  }
  return { keys, keyPrints };
}

const importKey = (kid: string, entry: KeyEntry): Promise<VerificationKey> =>
  importVerificationKey(entry).catch((cause: unknown) => {
    throw inconsistent(`The entry key/${kid} is not a usable key`, cause);
  });

// Ten thousand rules take about 100 ms, so that requests come in between one scope and the next.
async function changeScopes(before: Parts, changes: readonly EntryChange[], known: Parts): Promise<Partial<Parts>> {
  if (changes.length === 0) return {};
  const scopes = without(before.scopes, namesOf(changes));
  let unseen = 0;
  for (const entry of present(changes)) {
    const { name } = entry;
    const texts = readEntries([entry]).scopes.get(name)?.rules ?? [];
    const same = known.scopes.get(name);
    if (same !== undefined && isSameList(same.texts, texts)) {
      scopes.set(name, same);
      continue;
    }
    unseen += texts.length;
    if (unseen > RULES_AT_ONCE) {
      await setImmediate();
      unseen = texts.length;
    }
    scopes.set(name, { texts, rules: attempt(`scope/${name}`, () => compileRules(parseRules(texts))) });
  }
  return { scopes, scopesOf: regroup(before, scopes, new Set(namesOf(changes).map(serviceOfScope))) };
}

/** Compiled without a break: about 10 ms. */
const RULES_AT_ONCE = 1000;

const isSameList = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((text, at) => text === b[at]);

function regroup(before: Parts, scopes: Parts['scopes'], services: ReadonlySet<string>): Parts['scopesOf'] {
  const groups = new Map<string, Map<string, CompiledRules>>();
  for (const [name, { rules }] of scopes) {
    const service = serviceOfScope(name);
    if (!services.has(service)) continue;
    const own = groups.get(service) ?? new Map<string, CompiledRules>();
    groups.set(service, own.set(name.slice(service.length + 1), rules));
  }
  return new Map([...without(before.scopesOf, services), ...groups]);
}

/** Bytes of a whole chunk. */
const CHUNK_BYTES = STATUS_CHUNK_BITS / 8;

// Only chunks with a revoked token are in a snapshot: that one is absent was signed as well, and says "none of these".
function changeStatus(before: Parts, changes: readonly EntryChange[]): Partial<Parts> {
  if (changes.length === 0) return {};
  const status = without(before.status, namesOf(changes).map(Number));
  for (const [chunk, bytes] of readEntries(present(changes)).status) status.set(chunk, inflateChunk(chunk, bytes));
  return {
    status,
    isRevoked: ({ chunk, index }) => {
      const bits = status.get(chunk);
      return bits !== undefined && getBit(bits, index) !== false;
    },
  };
}

function inflateChunk(chunk: number, compressed: Uint8Array): Uint8Array {
  const bits = attempt(`status/${chunk}`, () => inflateSync(compressed, { maxOutputLength: CHUNK_BYTES }));
  if (bits.length !== CHUNK_BYTES) throw inconsistent(`The entry status/${chunk} is not a whole chunk`);
  return bits;
}

function changeCutOffs(before: Parts, changes: readonly EntryChange[]): Partial<Parts> {
  if (changes.length === 0) return {};
  const cutoffs = without(before.cutoffs, namesOf(changes));
  for (const entry of present(changes)) {
    const [cutoff]: Entries['cutoffs'] = readEntries([entry]).cutoffs;
    if (cutoff !== undefined) cutoffs.set(entry.name, cutoff);
  }
  return { cutoffs, isCutOff: cutOffs(cutoffs.values()) };
}

function cutOffs(entries: Iterable<CutOffEntry>): Parts['isCutOff'] {
  const byService = new Map<string, CutOffEntry[]>();
  const general: CutOffEntry[] = [];
  for (const entry of entries) {
    if (entry.service === undefined) {
      general.push(entry);
      continue;
    }
    const own = byService.get(entry.service);
    if (own === undefined) byService.set(entry.service, [entry]);
    else own.push(entry);
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
