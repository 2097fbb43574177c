// What a pool's snapshot holds: everything that its nodes need, of which only what changed is read and hashed anew.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { deflateSync } from 'node:zlib';
import { encodeBase64url } from '@daypass/core/base64url';
import { LARGEST_TTL_SECONDS, STATUS_CHUNK_BITS } from '@daypass/core/service';
import {
  changeTree,
  compareEntries,
  EMPTY_TREE,
  type Entry,
  type EntryChange,
  encodeEntry,
  entryBytes,
  type MerkleTree,
  placeOf,
} from '@daypass/core/snapshot';
import { setBit } from '@daypass/core/status';
import type { Aggregates, CutOffRow, RevokedRow, ServiceRow } from '../store/interface.ts';
import { standingCutOffs } from './cut-off.ts';
import { sha256 } from './digest.ts';
import { keyEntry, livingKeys } from './key-states.ts';
import { servicesOf } from './pool-services.ts';
import type { WrittenServices } from './written-services.ts';

/**
 * What tokens are revoked stays in snapshots for so long after their end: nodes forgive 5 s, and the clock of a control
 * plane may be a minute ahead of theirs, or of that of another, whose tokens it would let come alive again.
 */
export const REVOKED_AFTER_END_MS = 70_000;

/** How many entries, and the bytes that they count for. */
export type Size = { readonly entries: number; readonly bytes: number };

/** All entries of a pool. */
export type Content = {
  readonly tree: MerkleTree;
  readonly all: Size;
  /** Services with their credentials and named scopes. */
  readonly services: Size;
};

/** A content, and how it differs from the one that it was made of. */
export type Made = { readonly content: Content; readonly changes: readonly EntryChange[] };

/** Makes contents in a transaction. */
export type Contents = {
  /** Reads everything anew, whatever the old content says. */
  read(tx: Aggregates, pool: string, old: Content): Promise<Made>;
  /** Reads the services that were written since the old content. */
  change(tx: Aggregates, pool: string, old: Content, written: WrittenServices): Promise<Made>;
};

type Deps = {
  /** Milliseconds. */
  readonly now: () => number;
};

const NONE: Size = { entries: 0, bytes: 0 };
/** No entries. */
export const NOTHING: Content = { tree: EMPTY_TREE, all: NONE, services: NONE };

/** Makes the reader. */
export const createContents = (deps: Deps): Contents => {
  const statusEntries = createStatusEntries();
  const rest = async (
    tx: Aggregates,
    pool: string,
    hasService: (name: string) => boolean,
  ): Promise<readonly Entry[]> => {
    const cutOffs = await tx.cutOffs.all(deps.now() - LARGEST_TTL_SECONDS * 1000 - REVOKED_AFTER_END_MS);
    const revoked = await tx.tokens.revoked(deps.now() - REVOKED_AFTER_END_MS);
    return [
      ...livingKeys(await tx.keys.all()).map((row) => encodeEntry('key', row.kid, keyEntry(row))),
      ...statusEntries(revoked),
      encodeEntry('pool', pool, { nodes: (await tx.nodes.ofPool(pool)).length }),
      ...cutOffEntries(cutOffs, hasService),
    ];
  };
  const finish = async (tx: Aggregates, pool: string, old: Content, changes: Changes): Promise<Made> => {
    const { entries } = old.tree;
    const hasService = (name: string): boolean => changes.has('service', name) ?? isThere(entries, 'service', name);
    const others = await rest(tx, pool, hasService);
    for (const kind of ['cutoff', 'key', 'pool', 'status']) changes.drop(rangeOf(entries, kind, '', '\uffff'));
    changes.put(others);
    return changeContent(old, changes.list());
  };
  return {
    read: async (tx, pool, old) => {
      const changes = createChanges();
      changes.drop(old.tree.entries);
      let count = 0;
      for await (const row of servicesOf(tx, pool)) {
        changes.put(serviceEntries(row));
        count += 1;
        if (count % ROWS_A_TURN === 0) await nextTurn();
      }
      return finish(tx, pool, old, changes);
    },
    change: async (tx, pool, old, written) => {
      const changes = createChanges();
      for (const name of written) {
        changes.drop(entriesOf(old.tree.entries, name));
        const row = await tx.services.get(name);
        if (row?.config.pool === pool) changes.put(serviceEntries(row));
      }
      return finish(tx, pool, old, changes);
    },
  };
};

const ROWS_A_TURN = 200;

const createChanges = () => {
  const changes = new Map<string, EntryChange>();
  const keyOf = (kind: string, name: string): string => `${kind} ${name}`;
  return {
    drop: (entries: readonly Entry[]): void => {
      for (const { kind, name } of entries) changes.set(keyOf(kind, name), { kind, name, content: undefined });
    },
    put: (entries: readonly Entry[]): void => {
      for (const entry of entries) changes.set(keyOf(entry.kind, entry.name), entry);
    },
    /** Undefined where nothing was said of it. */
    has: (kind: string, name: string): boolean | undefined => {
      const change = changes.get(keyOf(kind, name));
      return change && change.content !== undefined;
    },
    list: (): readonly EntryChange[] => [...changes.values()],
  };
};
type Changes = ReturnType<typeof createChanges>;

/** A content after changes, each kind and name once. What is answered is in order, without what changes nothing. */
export const changeContent = async (old: Content, changes: readonly EntryChange[]): Promise<Made> => {
  const tree = await changeTree(old.tree, changes, sha256, () => nextTurn());
  let { all, services } = old;
  const real: EntryChange[] = [];
  for (const [at, change] of changes.toSorted(compareEntries).entries()) {
    if (at % ENTRIES_A_TURN === ENTRIES_A_TURN - 1) await nextTurn();
    const { kind, name } = change;
    const [before, after] = [find(old.tree.entries, kind, name), find(tree.entries, kind, name)];
    if (before === after) continue;
    real.push(change);
    all = resized(all, before, after);
    if (SERVICE_KINDS.has(kind)) services = resized(services, before, after);
  }
  return { content: { tree, all, services }, changes: real };
};

const ENTRIES_A_TURN = 1000;

const SERVICE_KINDS: ReadonlySet<string> = new Set(['service', 'credential', 'scope']);

const resized = ({ entries, bytes }: Size, before: Entry | undefined, after: Entry | undefined): Size => ({
  entries: entries + (after === undefined ? 0 : 1) - (before === undefined ? 0 : 1),
  bytes: bytes + (after === undefined ? 0 : entryBytes(after)) - (before === undefined ? 0 : entryBytes(before)),
});

const find = (entries: readonly Entry[], kind: string, name: string): Entry | undefined => {
  const entry = entries[placeOf(entries, { kind, name })];
  return entry?.kind === kind && entry.name === name ? entry : undefined;
};

const isThere = (entries: readonly Entry[], kind: string, name: string): boolean =>
  find(entries, kind, name) !== undefined;

/** Those of a kind from one name up to and without another. */
const rangeOf = (entries: readonly Entry[], kind: string, from: string, to: string): readonly Entry[] =>
  entries.slice(placeOf(entries, { kind, name: from }), placeOf(entries, { kind, name: to }));

/** Those of a service; `0` is the character after `/`. */
const entriesOf = (entries: readonly Entry[], service: string): readonly Entry[] => [
  ...rangeOf(entries, 'service', service, `${service}\0`),
  ...rangeOf(entries, 'credential', service, `${service}\0`),
  ...rangeOf(entries, 'scope', `${service}/`, `${service}0`),
];

/** What a pool's snapshot holds of a service. */
export const serviceEntries = (row: ServiceRow): readonly Entry[] => {
  const entries = [encodeEntry('service', row.name, row.config)];
  if (row.sealedCredential !== undefined && row.credentialId !== undefined) {
    entries.push(encodeEntry('credential', row.name, { id: row.credentialId, sealed: row.sealedCredential }));
  }
  for (const [scope, rules] of Object.entries(row.scopes)) {
    entries.push(encodeEntry('scope', `${row.name}/${scope}`, { rules }));
  }
  return entries;
};

/**
 * Only chunks with a revoked token are there: that one is absent is signed as well, and says "none of these". A chunk that
 * is as it was is not compressed again.
 */
const createStatusEntries = () => {
  let known: ReadonlyMap<number, Chunk> = new Map();
  return (revoked: readonly RevokedRow[]): readonly Entry[] => {
    const lists = new Map<number, Uint8Array>();
    for (const { statusChunk, statusIndex } of revoked) {
      const bits = lists.get(statusChunk) ?? new Uint8Array(STATUS_CHUNK_BITS / 8);
      setBit(bits, statusIndex);
      lists.set(statusChunk, bits);
    }
    known = new Map([...lists].map(([chunk, bits]) => [chunk, statusEntry(chunk, bits, known.get(chunk))]));
    return [...known.values()].map(({ entry }) => entry);
  };
};

type Chunk = { readonly bits: Uint8Array; readonly entry: Entry };

/** As Token Status List §4.1 recommends. */
const HIGHEST = { level: 9 };

const statusEntry = (chunk: number, bits: Uint8Array, known: Chunk | undefined): Chunk => {
  if (known !== undefined && Buffer.compare(known.bits, bits) === 0) return known;
  return {
    bits,
    entry: encodeEntry('status', String(chunk), { bits: 1, lst: encodeBase64url(deflateSync(bits, HIGHEST)) }),
  };
};

/** Those of other pools' services are left out. */
const cutOffEntries = (rows: readonly CutOffRow[], hasService: (name: string) => boolean): readonly Entry[] =>
  standingCutOffs(rows)
    .filter(({ entry }) => entry.service === undefined || hasService(entry.service))
    .map((row) => encodeEntry('cutoff', row.id, row.entry));
