// What the one writer remembers of rows that every change looks at and few changes write, so that it need not ask again.
import type { Aggregates, AuditRecordRow, ServiceRow } from './interface.ts';

/** Rows by what was asked; of one writer, whose transactions run one after another. */
export type ReadMemory = {
  /** Forgets all when the database is not the one that was seen last: another process has written. */
  see(version: unknown): void;
  /** Forgets all: something was written, or rolled back. */
  forget(): void;
  /** What is remembered, or else what `read` says. */
  of<T>(key: string, read: () => Promise<T>, weigh?: (value: T) => number): Promise<T>;
  /** Puts what was just written in the place of what was read. */
  replace<T>(key: string, change: (known: T) => T): void;
};

const ENTRIES_MAX = 500;
/** In characters of rules. */
const WEIGHT_MAX = 1_000_000;

/** Makes an empty memory. */
export const createReadMemory = (): ReadMemory => {
  const known = new Map<string, unknown>();
  let seen: unknown;
  let weight = 0;
  /** What was asked for before the last change is not remembered. */
  let generation = 0;
  const forget = (): void => {
    generation += 1;
    weight = 0;
    known.clear();
  };
  return {
    see: (version) => {
      if (version !== seen) forget();
      seen = version;
    },
    forget,
    of: async <T>(key: string, read: () => Promise<T>, weigh: (value: T) => number = () => 0): Promise<T> => {
      if (known.has(key)) return known.get(key) as T;
      const asked = generation;
      const value = await read();
      if (asked !== generation) return value;
      if (known.size >= ENTRIES_MAX || weight >= WEIGHT_MAX) forget();
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

/** The aggregates of a transaction, with what every Mint looks at remembered: caller, service, end of a chain. */
export const rememberReads = (tx: Aggregates, memory: ReadMemory): Aggregates => {
  /** Both ends: what is asked meanwhile may have seen either state. */
  const writing =
    <Args extends readonly unknown[], T>(write: (...args: Args) => Promise<T>) =>
    async (...args: Args): Promise<T> => {
      memory.forget();
      return write(...args).finally(memory.forget);
    };
  const { services, callers, audit } = tx;
  return {
    ...tx,
    services: {
      ...services,
      get: (name) => memory.of(`service ${name}`, () => services.get(name), weighService),
      insert: writing(services.insert),
      replace: writing(services.replace),
      delete: writing(services.delete),
    },
    callers: {
      ...callers,
      get: (name) => memory.of(`caller ${name}`, () => callers.get(name)),
      insert: writing(callers.insert),
      put: writing(callers.put),
      delete: writing(callers.delete),
    },
    audit: {
      ...audit,
      last: (node) => memory.of(`chain ${node}`, () => audit.last(node)),
      insertRecords: async (rows) => {
        await audit.insertRecords(rows);
        for (const row of rows) memory.replace(`chain ${row.node}`, (last: ChainEnd) => later(last, row));
      },
    },
  };
};

type ChainEnd = { readonly seq: number; readonly hash: string } | undefined;

const later = (last: ChainEnd, { seq, hash }: AuditRecordRow): ChainEnd =>
  last === undefined || seq > last.seq ? { seq, hash } : last;

const weighService = (row: ServiceRow | undefined): number =>
  Object.values(row?.scopes ?? {}).reduce((sum, rules) => sum + rules.reduce((all, rule) => all + rule.length, 0), 0);
