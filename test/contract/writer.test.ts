// Transactions that come at the same time share a commit: what one of them does must not reach the others.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DaypassError } from '@daypass/core/errors';
import { CompiledQuery, type DatabaseConnection } from 'kysely';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Connection } from '../../control-plane/store/connection.ts';
import { openStore } from '../../control-plane/store/open.ts';
import type { Pool } from '../../control-plane/store/pool.ts';
import { openConnection } from '../../control-plane/store/sqlite-connection.ts';
import { makeFile } from '../../control-plane/store/sqlite-file.ts';
import { sqliteGrouping } from '../../control-plane/store/sqlite-grouping.ts';
import { createWriter, type Writer } from '../../control-plane/store/writer.ts';
import { caller, record, service } from './rows.ts';

let folder: string;
let own: Connection;
let reader: Connection;
/** Statements that the writer ran by itself. */
let control: string[];
/** Fails a statement by its text. */
let failing: string | undefined;
let pool: Pool;
let writer: Writer;

const make = (waitMs: number): Writer =>
  createWriter({ pool, grouping: sqliteGrouping(async () => {}), waitMs, waitingMax: 100, groupMs: 10_000 });

const broken = new DaypassError('database_unavailable', 'broken');

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'daypass-writer-'));
  const file = join(folder, 'a.db');
  await makeFile(file);
  own = await openConnection(file);
  reader = await openConnection(file);
  await own.all('pragma journal_mode = wal');
  await own.run('create table steps (step integer primary key)');
  control = [];
  failing = undefined;
  const noted = async (sql: string): Promise<void> => {
    control.push(sql);
    if (failing !== undefined && sql.includes(failing)) throw broken;
  };
  const watched: Connection = {
    ...own,
    all: (sql, parameters) => noted(sql).then(() => own.all(sql, parameters)),
    run: (sql, parameters) => noted(sql).then(() => own.run(sql, parameters)),
    exec: (sql) => noted(sql).then(() => own.exec(sql)),
  };
  pool = { acquire: async () => watched, release: () => {}, close: async () => {} };
  writer = make(10_000);
});
afterEach(async () => {
  await own.close();
  await reader.close();
  await rm(folder, { recursive: true, force: true });
});

const put = (connection: DatabaseConnection, step: number) =>
  connection.executeQuery(CompiledQuery.raw('insert into steps (step) values (?)', [step]));
const add = (step: number) => writer.transact((connection) => put(connection, step));
const stored = async () => (await reader.all('select step from steps order by step')).map(({ step }) => step);
const commits = () => control.filter((sql) => sql.includes('commit')).length;
const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);
const outcomes = async (work: readonly Promise<unknown>[]) =>
  (await Promise.allSettled(work)).map(({ status }) => status === 'fulfilled');

test('transactions that come together share commits, and each is answered when it is on disk', async () => {
  const seen: number[] = [];
  await Promise.all(
    numbers(40).map(async (step) => {
      await add(step);
      seen.push(step);
      expect(await stored()).toContain(step);
    }),
  );
  expect(await stored()).toEqual(numbers(40));
  expect(seen[0]).toBe(0);
  expect(commits()).toBeLessThan(40);
});

test('members run in the order in which they came, and each sees what those before it wrote', async () => {
  const counts = await Promise.all(
    numbers(20).map((step) =>
      writer.transact(async (connection) => {
        const { rows } = await connection.executeQuery(CompiledQuery.raw('select count(*) as n from steps'));
        await put(connection, step);
        return rows;
      }),
    ),
  );
  expect(counts).toEqual(numbers(20).map((n) => [{ n }]));
});

test('urgent ones go first, and of many in a row one of the others has its turn', async () => {
  const ran: string[] = [];
  const note = (name: string, urgent: boolean) => writer.transact(async () => void ran.push(name), { urgent });
  const others = numbers(3).map((at) => note(`other ${at}`, false));
  const urgent = numbers(20).map((at) => note(`urgent ${at}`, true));
  await Promise.all([...others, ...urgent]);
  const named = numbers(20).map((at) => `urgent ${at}`);
  expect(ran).toEqual([...named.slice(0, 16), 'other 0', ...named.slice(16), 'other 1', 'other 2']);
});

test('a member that throws is rolled back alone, with its own error', async () => {
  const thrown = new Error('stop');
  const work = numbers(9).map((step) =>
    writer.transact(async (connection) => {
      await put(connection, step);
      if (step % 3 === 1) throw thrown;
    }),
  );
  expect(await outcomes(work)).toEqual(numbers(9).map((step) => step % 3 !== 1));
  await expect(work[1]).rejects.toBe(thrown);
  expect(await stored()).toEqual([0, 2, 3, 5, 6, 8]);
});

test('a refused statement harms only the member that sent it', async () => {
  const work = [add(1), add(1), add(2)];
  expect(await outcomes(work)).toEqual([true, false, true]);
  expect(await stored()).toEqual([1, 2]);
});

test('what a member sends after its end is not stored, neither with it nor with the next', async () => {
  const late: Promise<unknown>[] = [];
  const failed = writer.transact(async (connection) => {
    setImmediate(() => late.push(put(connection, 1).catch(() => {})));
    late.push(put(connection, 2).catch(() => {}));
    throw new Error('stop');
  });
  const next = writer.transact(async (connection) => {
    while (late.length < 2) await new Promise(setImmediate);
    await put(connection, 3);
  });
  await expect(failed).rejects.toThrow('stop');
  await next;
  await Promise.all(late);
  expect(await stored()).toEqual([3]);
});

test('a commit that fails fails every member, refusals too, and the next group goes on', async () => {
  failing = 'commit';
  const refused = writer.transact(async () => Promise.reject(new Error('own reason')));
  const work = [add(1), refused, add(2)];
  const all = await Promise.allSettled(work);
  expect(all.map((one) => one.status === 'rejected' && one.reason)).toEqual([broken, broken, broken]);
  failing = undefined;
  await add(3);
  expect(await stored()).toEqual([3]);
});

test('a transaction that ended under a member fails its group: nothing of it is acknowledged, nothing half stored', async () => {
  const first = add(1);
  const poison = writer.transact(async (connection) => {
    await put(connection, 2);
    await own.run('rollback');
  });
  expect(await outcomes([first, poison, add(3)])).toEqual([false, false, false]);
  await add(4);
  expect(await stored()).toEqual([4]);
});

test('after the database has failed under a member it takes no more statements, whatever the member makes of it', async () => {
  failing = 'poison';
  const first = add(1);
  const poison = writer.transact(async (connection) => {
    await put(connection, 2);
    await connection.executeQuery(CompiledQuery.raw('select 1 as poison')).catch(() => {});
    await put(connection, 3).catch(() => {});
    expect(control.at(-1)).toContain('poison');
  });
  expect(await outcomes([first, poison])).toEqual([false, false]);
  await add(4);
  expect(await stored()).toEqual([4]);
});

test('who waits too long, or behind too many, is refused, also a transaction inside another', async () => {
  writer = make(200);
  const inner = writer.transact(() => add(1).then(() => 'never'));
  await expect(inner).rejects.toMatchObject({ code: 'database_unavailable' });
  await writer.transact(async () => {
    const many = numbers(101).map(add);
    await expect(many[100]).rejects.toMatchObject({ code: 'database_unavailable' });
    expect(await Promise.race([Promise.allSettled(many.slice(0, 100)), 'waiting'])).toBe('waiting');
  });
  expect(await stored()).not.toContain(100);
});

test('closing refuses who waits and who comes, and lets the running group end', async () => {
  const running = writer.transact(async (connection) => {
    writer.close();
    await put(connection, 1);
  });
  const waiting = outcomes([add(2)]);
  await running;
  expect(await waiting).toEqual([false]);
  await expect(add(3)).rejects.toMatchObject({ code: 'database_unavailable' });
  expect(await stored()).toEqual([1]);
});

const STEPS = { name: 'steps', columns: ['step'] };
const later = (step: number, then: (connection: DatabaseConnection) => Promise<unknown> = async () => {}) =>
  writer.transact(async (connection, _memory, addRows) => {
    addRows(STEPS, [[step]]);
    await then(connection);
  });
const read = async (connection: DatabaseConnection) => {
  const { rows } = await connection.executeQuery(CompiledQuery.raw('select step from steps order by step'));
  return rows;
};
const thrown = new Error('stop');

test('rows that are added for later share one statement, and are on disk before anybody is answered', async () => {
  await Promise.all(numbers(40).map((step) => later(step).then(async () => expect(await stored()).toContain(step))));
  expect(await stored()).toEqual(numbers(40));
  expect(control.filter((sql) => sql.includes('insert')).length).toBe(commits());
});

test('rows that are added for later are seen by who asks, and go with the member that throws, whoever has asked', async () => {
  const seen: unknown[] = [];
  const ask = async (connection: DatabaseConnection) => seen.push(await read(connection));
  const work = [
    later(1),
    later(2, () => Promise.reject(thrown)),
    later(3, ask),
    later(4, (connection) => ask(connection).then(() => Promise.reject(thrown))),
    later(5, (connection) => put(connection, 6)),
    later(7, (connection) => put(connection, 8).then(() => Promise.reject(thrown))),
    later(9, ask),
  ];
  expect(await outcomes(work)).toEqual([true, false, true, false, true, false, true]);
  expect(await stored()).toEqual([1, 3, 5, 6, 9]);
  expect(seen).toEqual(
    [
      [1, 3],
      [1, 3, 4],
      [1, 3, 5, 6, 9],
    ].map((steps) => steps.map((step) => ({ step }))),
  );
});

test('a row for later that is refused fails its member where it asks, and all of the group with the commit', async () => {
  await add(1);
  const alone = [later(2), later(1, read), later(3)];
  expect(await outcomes(alone)).toEqual([true, false, true]);
  const swallowed = [later(4), later(1, (connection) => read(connection).catch(() => {})), later(5)];
  expect(await outcomes(swallowed)).toEqual([true, false, true]);
  const all = [later(6), later(1), later(7)];
  expect(await outcomes(all)).toEqual([false, false, false]);
  await expect(all[0]).rejects.toMatchObject({ code: 'already_exists' });
  await later(8);
  expect(await stored()).toEqual([1, 2, 3, 4, 5, 8]);
});

test('a refused row of another member fails the group, also under a member that makes nothing of it', async () => {
  await add(1);
  const work = [later(1), later(2, (connection) => put(connection, 3).catch(() => {}))];
  expect(await outcomes(work)).toEqual([false, false]);
  expect(await stored()).toEqual([1]);
});

test('no row is stored for later once the transaction is gone or the member has ended', async () => {
  const gone = [later(1), writer.transact(() => own.run('rollback')), later(2)];
  expect(await outcomes(gone)).toEqual([false, false, false]);
  let late: (() => void) | undefined;
  await writer.transact(async (_connection, _memory, addRows) => {
    late = () => addRows(STEPS, [[3]]);
  });
  expect(late).toThrow('The transaction has ended');
  await add(4);
  expect(await stored()).toEqual([4]);
});

test.each([
  ['NUL', 'a\0b', 'a\0b'],
  ['an escaped NUL', 'a\\u0000b', 'a\\u0000b'],
  ['half of a pair', 'a\ud800b', 'a\ufffdb'],
  ['quotes and lines', `'"\\\n\u2028`, `'"\\\n\u2028`],
  ['far planes', '\u{1f680}\uffff', '\u{1f680}\uffff'],
])('a text with %s is stored for later as it is bound at once', async (_name, text, expected) => {
  await own.run('create table texts (plain text, raw blob, number integer, none text)');
  const TEXTS = { name: 'texts', columns: ['plain', 'raw', 'number', 'none'], bytes: ['raw'] };
  const row = [text, text, Number.MAX_SAFE_INTEGER, null];
  await writer.transact(async (_connection, _memory, addRows) => addRows(TEXTS, [row]));
  await own.run('insert into texts values (?, ?, ?, ?)', [text, Buffer.from(text), Number.MAX_SAFE_INTEGER, null]);
  const [first, second] = await reader.all('select *, typeof(raw) as kind from texts');
  expect(first).toEqual(second);
  expect(first?.plain).toBe(expected);
});

test('what the writer remembers is forgotten at each change: its own, one rolled back, one of another process', async () => {
  const url = `sqlite:${join(folder, 'b.db')}`;
  const [one, other] = [await openStore({ url }), await openStore({ url })];
  const seen = () =>
    one.transact(async (tx) => [
      (await tx.callers.get('c'))?.etag,
      (await tx.services.get('s'))?.etag,
      (await tx.cutOffs.all(0)).length,
      (await tx.audit.last('n'))?.seq,
    ]);
  expect(await seen()).toEqual([undefined, undefined, 0, undefined]);
  await one.transact(async (tx) => {
    await tx.callers.put(caller('c', { etag: '1' }));
    await tx.services.insert(service('s', { etag: '1' }));
    await tx.cutOffs.insert({ id: 'x', entry: { minted_before: 1000 }, createdAt: 0 });
    await tx.audit.insertRecords([record('n', 1)]);
  });
  expect(await seen()).toEqual(['1', '1', 1, 1]);
  const undone = one.transact(async (tx) => {
    await tx.callers.put(caller('c', { etag: '2' }));
    await tx.services.replace(service('s', { etag: '2' }));
    await tx.audit.insertRecords([record('n', 2)]);
    expect([(await tx.callers.get('c'))?.etag, (await tx.audit.last('n'))?.seq]).toEqual(['2', 2]);
    throw new Error('stop');
  });
  expect(await outcomes([undone])).toEqual([false]);
  expect(await seen()).toEqual(['1', '1', 1, 1]);
  await other.transact(async (tx) => {
    await tx.callers.delete('c');
    await tx.services.replace(service('s', { etag: '3' }));
    await tx.audit.insertRecords([record('n', 2), record('n', 3)]);
  });
  expect(await seen()).toEqual([undefined, '3', 1, 3]);
  await one.close();
  await other.close();
});
