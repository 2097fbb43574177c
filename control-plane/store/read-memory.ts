// What the one writer remembers of rows that every change looks at and few changes write, so that it need not ask again.
import type { Aggregates, AuditRecordRow, CutOffRow, RevokedRow, ServiceRow } from './interface.ts';

/** Rows by what was asked; of one writer, whose transactions run one after another. */
export type ReadMemory = {
  /** Forgets all when the database is not the one that was seen last: another process has written. */
  see(version: unknown): void;
  /** The same object for as long as nobody but this writer has written, and nothing that was written was rolled back. */
  epoch(): object;
  /** Rises with everything that is written. */
  generation(): number;
  /** Forgets one question, or all: something was written, or rolled back. */
  forget(key?: string): void;
  /** What is remembered, or else what `read` says. */
  of<T>(key: string, read: () => Promise<T>, weigh?: (value: T) => number): Promise<T>;
  /** Puts what was just written in the place of what was read. */
  replace<T>(key: string, change: (known: T) => T): void;
};

const ENTRIES_MAX = 500;
/** In characters of rules. */
const WEIGHT_MAX = 1_000_000;

/** One each, and dear to read again. */
const LISTS: ReadonlySet<string> = new Set(['cut-offs', 'revoked', 'keys']);

/** Makes an empty memory. */
export const createReadMemory = (): ReadMemory => {
  const known = new Map<string, unknown>();
  let seen: unknown;
  let epoch = {};
  let weight = 0;
  /** What was asked for before the last change is not remembered. */
  let generation = 0;
  const forget = (key?: string): void => {
    generation += 1;
    if (key !== undefined) {
      known.delete(key);
      return;
    }
    epoch = {};
    weight = 0;
    known.clear();
  };
  const makeRoom = (): void => {
    if (known.size < ENTRIES_MAX && weight < WEIGHT_MAX) return;
    weight = 0;
    for (const key of known.keys()) if (!LISTS.has(key)) known.delete(key);
  };
  return {
    see: (version) => {
      if (version !== seen) forget();
      seen = version;
    },
    epoch: () => epoch,
    generation: () => generation,
    forget,
    of: async <T>(key: string, read: () => Promise<T>, weigh: (value: T) => number = () => 0): Promise<T> => {
      if (known.has(key)) return known.get(key) as T;
      const asked = generation;
      const value = await read();
      if (asked !== generation) return value;
      makeRoom();
      weight += weigh(value);
      known.set(key, value);
      return value;
    },
    replace: <T>(key: string, change: (old: T) => T) => {
      generation += 1;
      if (known.has(key)) known.set(key, change(known.get(key) as T));
    },
  };
};

/** The aggregates of a transaction, with what every Mint looks at remembered: caller, service, cut-offs, keys, end of a chain. */
export const rememberReads = (tx: Aggregates, memory: ReadMemory): Aggregates => {
  /** Both ends: what is asked meanwhile may have seen either state. */
  const writing =
    <Args extends readonly unknown[], T>(keyOf: (...args: Args) => string, write: (...args: Args) => Promise<T>) =>
    async (...args: Args): Promise<T> => {
      memory.forget(keyOf(...args));
      return write(...args).finally(() => memory.forget(keyOf(...args)));
    };
  const { services, callers, tokens, cutOffs, keys, audit } = tx;
  const ofService = ({ name }: Named): string => `service ${name}`;
  const ofCaller = ({ name }: Named): string => `caller ${name}`;
  const chained = (rows: readonly AuditRecordRow[]): void => {
    for (const row of rows) memory.replace(`chain ${row.node}`, (last: ChainEnd) => later(last, row));
  };
  return {
    ...tx,
    epoch: memory.epoch(),
    services: {
      ...services,
      get: (name) => memory.of(ofService({ name }), () => services.get(name), weighService),
      insert: writing(ofService, services.insert),
      replace: writing(ofService, services.replace),
      delete: writing((name) => ofService({ name }), services.delete),
    },
    callers: {
      ...callers,
      get: (name) => memory.of(ofCaller({ name }), () => callers.get(name)),
      insert: writing(ofCaller, callers.insert),
      put: writing(ofCaller, callers.put),
      delete: writing((name) => ofCaller({ name }), callers.delete),
    },
    cutOffs: {
      all: async (since) => {
        const [from, rows] = await memory.of('cut-offs', async () => [since, await cutOffs.all(since)] as const);
        if (from <= since) return rows.slice(firstAfter(rows, since));
        // Asked for more than is remembered: that is remembered from now on.
        memory.forget('cut-offs');
        return (await memory.of('cut-offs', async () => [since, await cutOffs.all(since)] as const))[1];
      },
      insert: writing((_row) => 'cut-offs', cutOffs.insert),
    },
    keys: {
      all: () => memory.of('keys', keys.all),
      put: writing((_row) => 'keys', keys.put),
    },
    tokens: {
      ...tokens,
      revoked: async (aliveAt) => {
        const [from, rows] = await memory.of('revoked', async () => [aliveAt, await tokens.revoked(aliveAt)] as const);
        if (from > aliveAt) return tokens.revoked(aliveAt);
        const alive = rows.filter(({ expiresAt }) => expiresAt > aliveAt);
        if (alive.length < rows.length) memory.replace('revoked', () => [aliveAt, alive] as const);
        return alive;
      },
      revoke: async (jti, at) => {
        const fresh = await tokens.revoke(jti, at);
        const row = fresh ? await tokens.get(jti) : undefined;
        if (row !== undefined) {
          // Not the whole row: the list holds every revoked token until it ends.
          const { statusChunk, statusIndex, expiresAt } = row;
          const one = { statusChunk, statusIndex, expiresAt };
          memory.replace('revoked', (known: Revoked) => known && ([known[0], [...known[1], one]] as const));
        }
        return fresh;
      },
    },
    audit: {
      ...audit,
      last: (node) => memory.of(`chain ${node}`, () => audit.last(node)),
      insertRecords: async (rows) => {
        await audit.insertRecords(rows);
        chained(rows);
      },
      append: async (changes) => {
        await audit.append(changes);
        chained(changes.map(({ record }) => record));
      },
    },
  };
};

/** Looked for from the end: they are in the order of their times, and mostly the newest are asked for. */
const firstAfter = (rows: readonly CutOffRow[], since: number): number =>
  rows.findLastIndex(({ entry }) => Math.round(entry.minted_before * 1000) <= since) + 1;

type Named = { readonly name: string };
type Revoked = readonly [number, readonly RevokedRow[]];
type ChainEnd = { readonly seq: number; readonly hash: string } | undefined;

const later = (last: ChainEnd, { seq, hash }: AuditRecordRow): ChainEnd =>
  last === undefined || seq > last.seq ? { seq, hash } : last;

const weighService = (row: ServiceRow | undefined): number =>
  Object.values(row?.scopes ?? {}).reduce((sum, rules) => sum + rules.reduce((all, rule) => all + rule.length, 0), 0);
