// The one writer: transactions that come at the same time run one after another inside one transaction of the database, and share its fsync.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DaypassError } from '@daypass/core/errors';
import type { CompiledQuery, DatabaseConnection } from 'kysely';
import type { Connection } from './connection.ts';
import type { TransactOptions } from './interface.ts';
import {
  createLaterWrites,
  type InsertLater,
  type LaterTable,
  type LaterValue,
  type LaterWrites,
} from './later-writes.ts';
import { lend, writes } from './lease.ts';
import type { Pool } from './pool.ts';
import { createReadMemory, type ReadMemory } from './read-memory.ts';

/** A group takes in nobody after so many members. */
const MEMBERS_MAX = 64;
/** So many urgent ones in a row, then one of the others. */
const URGENT_MAX = 16;
const DEFAULT_GROUP_MS = 10;
const DEFAULT_WAITING_MAX = 2000;
const DEFAULT_WAIT_MS = 15_000;

/** How a database runs a group: the few statements in which databases differ. */
export type Grouping<One extends Connection> = {
  /**
   * Begins a transaction that holds the write lock, with a savepoint `member`. Answers what is another value when anybody
   * else has written since this writer's last group.
   */
  begin(connection: One): Promise<unknown>;
  /** Commits what was done since `begin`; `wrote` are the texts of the writing statements. */
  commit(connection: One, wrote: ReadonlySet<string>): Promise<unknown>;
  readonly insertLater: InsertLater;
  /** Throws what it would say of rows by themselves: who adds them fails, and not all that share the commit. */
  readonly checkLater?: AddLater;
};

export type WriterOptions<One extends Connection> = {
  /** Of a single connection. */
  readonly pool: Pool<One>;
  readonly grouping: Grouping<One>;
  /** How long a transaction waits for its turn, and how many may. */
  readonly waitMs?: number;
  readonly waitingMax?: number;
  /** A group takes in nobody after so long: who came first waits for its commit. */
  readonly groupMs?: number;
};

/** Adds rows that are written when they are first asked for, or with the commit; one that is refused then fails the group. */
export type AddLater = (table: LaterTable, rows: readonly (readonly LaterValue[])[]) => void;

/** What is done in a transaction, over its connection, with what the writer remembers. */
export type MemberWork<T> = (connection: DatabaseConnection, memory: ReadMemory, add: AddLater) => Promise<T>;

/** Runs transactions in the order in which they come, urgent ones first. */
export type Writer = {
  /**
   * Runs `work` in a savepoint of its own, and answers when all that was written before its end is on disk. It is rolled
   * back alone when it throws; where the commit or a row that was added for later fails, or the database fails under a
   * member, all of its group fail with that error, since each may have seen what the others wrote.
   */
  transact<T>(work: MemberWork<T>, options?: TransactOptions): Promise<T>;
  /** Turns newcomers and who waits away. */
  close(): void;
};

/** A transaction in the queue. */
type Member = {
  readonly work: MemberWork<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
};

const unavailable = (message: string): DaypassError => new DaypassError('database_unavailable', message);

/** Makes the writer. */
export const createWriter = <One extends Connection>(options: WriterOptions<One>): Writer => {
  const { pool, grouping, waitMs = DEFAULT_WAIT_MS, waitingMax = DEFAULT_WAITING_MAX } = options;
  const { groupMs = DEFAULT_GROUP_MS } = options;
  const memory = createReadMemory();
  const urgent = new Set<Member>();
  const others = new Set<Member>();
  let inRow = 0;
  let closed = false;
  let running = false;

  const next = (): Member | undefined => {
    const isTurnOfOthers = urgent.size === 0 || (inRow >= URGENT_MAX && others.size > 0);
    inRow = isTurnOfOthers ? 0 : inRow + 1;
    const waiting = isTurnOfOthers ? others : urgent;
    const [member] = waiting;
    if (member === undefined) return undefined;
    clearTimeout(member.timer);
    waiting.delete(member);
    return member;
  };

  const refuseAll = (error: unknown): void => {
    for (let member = next(); member !== undefined; member = next()) member.reject(error);
  };

  const runAll = async (): Promise<void> => {
    running = true;
    while (urgent.size + others.size > 0) {
      try {
        const connection = await pool.acquire();
        await runGroup(connection, { grouping, memory, next, groupMs }).finally(() => pool.release(connection));
      } catch (error) {
        // No group could be begun; the next one to come tries again.
        refuseAll(error);
      }
    }
    running = false;
  };

  return {
    transact: <T>(work: MemberWork<T>, options?: TransactOptions): Promise<T> => {
      const waiting = options?.urgent === true ? urgent : others;
      if (closed) return Promise.reject(unavailable('The database is closed'));
      if (waiting.size >= waitingMax) return Promise.reject(unavailable('The database is too busy'));
      return new Promise<T>((resolve, reject) => {
        const refuse = (): void => {
          waiting.delete(member);
          reject(unavailable('The database is too busy'));
        };
        const timer = setTimeout(refuse, waitMs);
        const member: Member = { work, resolve: (value) => resolve(value as T), reject, timer };
        waiting.add(member);
        if (!running) void runAll();
      });
    },
    close: () => {
      closed = true;
      refuseAll(unavailable('The database is closed'));
    },
  };
};

type Group<One extends Connection> = {
  readonly grouping: Grouping<One>;
  readonly memory: ReadMemory;
  readonly next: () => Member | undefined;
  readonly groupMs: number;
};

/** The loop gets its turn after so long: a group that asks the database nothing would hold it for all of its members. */
const TURN_MS = 4;
/** Fails where the database has rolled all of the group back by itself: what came after would be no part of it. */
const SAVE = 'release member; savepoint member';

/** Runs members until there are no more or the group is full; answers them once it is committed. */
const runGroup = async <One extends Connection>(connection: One, group: Group<One>): Promise<void> => {
  const { grouping, memory, next, groupMs } = group;
  memory.see(await begin(connection, grouping));
  const fullAt = performance.now() + groupMs;
  const later = createLaterWrites(grouping.insertLater);
  const wrote = new Set<string>();
  const members: Member[] = [];
  const answers: (() => void)[] = [];
  let turnEnds = performance.now() + TURN_MS;
  try {
    for (let member = next(); member !== undefined; member = next()) {
      members.push(member);
      answers.push(await runMember({ connection, memory, later, wrote, checkLater: grouping.checkLater }, member));
      if (members.length >= MEMBERS_MAX || performance.now() >= fullAt) break;
      if (performance.now() < turnEnds) continue;
      await nextTurn();
      turnEnds = performance.now() + TURN_MS;
    }
    await writeLater(connection, later, later.count());
    await grouping.commit(connection, wrote);
  } catch (error) {
    memory.forget();
    // A failed write may have rolled back already; then there is nothing left to roll back.
    await connection.exec('rollback').catch(() => {});
    for (const member of members) member.reject(error);
    return;
  }
  for (const answer of answers) answer();
};

const begin = async <One extends Connection>(connection: One, grouping: Grouping<One>): Promise<unknown> => {
  try {
    return await grouping.begin(connection);
  } catch (error) {
    await connection.exec('rollback').catch(() => {});
    throw error;
  }
};

const writeLater = async (connection: Connection, later: LaterWrites, count: number): Promise<void> => {
  if (count === 0) return;
  await connection.exec(SAVE);
  await later.write(connection, count);
};

type Turn = {
  readonly connection: Connection;
  readonly memory: ReadMemory;
  readonly later: LaterWrites;
  readonly wrote: Set<string>;
  readonly checkLater: AddLater | undefined;
};

/** Runs one member; how to answer it once the group is on disk. A refusal waits, too: it may rest on what others wrote. */
const runMember = async (
  { connection, memory, later, wrote, checkLater }: Turn,
  member: Member,
): Promise<() => void> => {
  const others = later.count();
  const seen = memory.generation();
  let saved = false;
  let lost: Failed | undefined;
  /** A row of its own was refused: it fails, whatever it makes of that. */
  let refused: Failed | undefined;
  // A member that only adds rows needs no savepoint: its rows are dropped again before any is written.
  const save = async (): Promise<void> => {
    try {
      await writeLater(connection, later, others);
      await connection.exec(SAVE);
      saved = true;
    } catch (error) {
      // These were rows of others: without them the group is not what they were told.
      lost = { ok: false, error };
      throw error;
    }
  };
  const lease = lend(connection, async (query: CompiledQuery) => {
    if (lost !== undefined) throw lost.error;
    const isWrite = writes(query);
    if (!saved && (isWrite || later.count() > 0)) await save();
    if (isWrite) wrote.add(query.sql);
    await later.write(connection, later.count()).catch((error: unknown) => {
      refused ??= { ok: false, error };
      throw error;
    });
  });
  const add: AddLater = (table, rows) => {
    if (lease.ended()) throw new DaypassError('internal', 'The transaction has ended');
    checkLater?.(table, rows);
    later.add(table, rows);
  };
  const done = await settled(member.work(lease.connection, memory, add));
  await lease.settled();
  if (lost !== undefined) throw lost.error;
  // A transaction that the database ended by itself takes no more statements: each would be one of its own.
  const broken = lease.broken();
  if (broken !== undefined) throw broken;
  // Where one refused statement spoils a transaction, its member fails, whatever it makes of that.
  if (connection.aborted()) refused ??= { ok: false, error: lease.refused() };
  const outcome = refused ?? done;
  // No savepoint is its own to go back to.
  if (connection.aborted() && !saved) throw lease.refused();
  if (outcome.ok) return () => member.resolve(outcome.value);
  if (saved || memory.generation() !== seen) memory.forget();
  later.dropFrom(saved ? 0 : others);
  if (saved) await connection.exec('rollback to member');
  return () => member.reject(outcome.error);
};

type Failed = { readonly ok: false; readonly error: unknown };
type Outcome = { readonly ok: true; readonly value: unknown } | Failed;

const settled = (work: Promise<unknown>): Promise<Outcome> =>
  work.then(
    (value) => ({ ok: true, value }),
    (error: unknown) => ({ ok: false, error }),
  );
