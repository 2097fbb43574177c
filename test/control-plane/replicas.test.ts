// Several control planes on one database: one chain of versions, the same bytes from each, at the cost of what changed.
import { join } from 'node:path';
import { compareEntries, type Entry, type EntryChange, merkleRoot, parseManifest } from '@daypass/core/snapshot';
import fc from 'fast-check';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sha256 } from '../../control-plane/domain/digest.ts';
import { createHistory } from '../../control-plane/domain/history.ts';
import type { ControlHome } from '../../control-plane/home.ts';
import type { Aggregates, SnapshotRow, Store } from '../../control-plane/store/interface.ts';
import { openConnection } from '../../control-plane/store/sqlite-connection.ts';
import { service, token } from '../contract/rows.ts';
import { type PostgresServer, startPostgres } from '../kit/postgres.ts';
import { type Home, makeHome } from './fixture.ts';
import { openReplica, POOL, type Replica, readHome } from './replica.ts';

/** A new, empty database, and a way to it past the store. */
type Database = {
  readonly url: string;
  run(sql: string): Promise<unknown>;
  /** A literal. */
  bytes(text: string): string;
};

const sqlite = async (folder: string): Promise<Database> => {
  const file = join(folder, 'test.db');
  const run = async (sql: string): Promise<void> => {
    const connection = await openConnection(file);
    await connection.run(sql);
    await connection.close();
  };
  return { url: `sqlite:${file}`, run, bytes: (text) => `cast('${text}' as blob)` };
};

let server: Promise<PostgresServer> | undefined;
afterAll(async () => (await server)?.remove());

const postgres = async (): Promise<Database> => {
  server ??= startPostgres();
  const { database, ask } = await server;
  const url = await database();
  const name = new URL(url).pathname.slice(1);
  return { url, run: (sql) => ask(sql, name), bytes: (text) => `convert_to('${text}', 'UTF8')` };
};

const bare = (name: string, round = 0) =>
  service(name, { credentialId: undefined, sealedCredential: undefined, scopes: {}, description: `${round}` });
const put =
  (name: string, round: number) =>
  async (tx: Aggregates): Promise<void> => {
    const row = bare(name);
    const changed = { ...row, config: { ...row.config, max_ttl_seconds: 1000 + round } };
    if ((await tx.services.get(name)) === undefined) await tx.services.insert(changed);
    else await tx.services.replace(changed);
  };
const drop = (name: string) => (tx: Aggregates) => tx.services.delete(name);
const seed = (replica: Replica, count: number) =>
  replica.change(async (tx) => {
    for (let i = 0; i < count; i += 1) await tx.services.insert(bare(`s-${i}`));
  });

const entriesAt = (store: Store, version: number): Promise<readonly Entry[]> =>
  store.read.snapshots.entriesAt(POOL, version, { after: undefined, limit: 10_000 });
const rowAt = async (store: Store, version: number): Promise<SnapshotRow> => {
  const row = await store.read.snapshots.at(POOL, version);
  if (row === undefined) throw new Error(`there is no version ${version}`);
  return row;
};
const keyOf = ({ kind, name }: Pick<Entry, 'kind' | 'name'>): string => `${kind} ${name}`;
const applied = (entries: readonly Entry[], changes: readonly EntryChange[]): readonly Entry[] => {
  const held = new Map<string, Entry>(entries.map((entry) => [keyOf(entry), entry]));
  for (const { kind, name, content } of changes) {
    if (content === undefined) held.delete(keyOf({ kind, name }));
    else held.set(keyOf({ kind, name }), { kind, name, content });
  }
  return [...held.values()].sort(compareEntries);
};

describe.each([
  ['SQLite', sqlite],
  ['PostgreSQL', postgres],
] as const)('on %s', (_name, connect) => {
  let folder: Home;
  let home: ControlHome;
  let database: Database;
  let open: (options?: { now?: () => number; leaseMs?: number }) => Promise<Replica>;
  let opened: Store[];
  beforeEach(async () => {
    folder = await makeHome();
    home = await readHome(folder);
    database = await connect(folder.path);
    opened = [];
    open = async (options) => {
      const replica = await openReplica(home, database.url, options);
      opened.push(replica.store);
      return replica;
    };
  });
  afterEach(async () => {
    for (const store of opened) await store.close();
    await folder.remove();
  });

  test('what one has published the other serves byte by byte, without reading services', async () => {
    const [a, b] = [await open(), await open()];
    await a.publisher.start();
    await b.publisher.start();
    expect(b.newest().snapshot).toEqual(a.newest().snapshot);
    await seed(a, 5);
    await a.change(put('s-1', 1));
    await b.publisher.learn();
    expect(b.newest()).toMatchObject({ version: a.newest().version, digest: a.newest().digest });
    expect(b.newest().snapshot).toEqual(a.newest().snapshot);
    expect(b.newest().size).toEqual(a.newest().size);
    // Nothing of what came before is held on to.
    expect(Object.keys(b.newest().step?.from ?? {})).toEqual(['version', 'digest']);
    expect(b.servicesRead()).toBe(0);
  });

  test('a change at a replica that is behind follows what the other has published, and reads what changed alone', async () => {
    const [a, b] = [await open(), await open()];
    await a.publisher.start();
    await b.publisher.start();
    await seed(a, 300);
    await a.change(put('s-7', 1));
    a.servicesRead();
    const published = await b.change(put('s-8', 1));
    expect(b.servicesRead()).toBe(0);
    expect(parseManifest(published.snapshot.manifest).previous).toBe(a.newest().digest);
    expect(published.version).toBe(a.newest().version + 1);
    const held = published.snapshot.entries.filter(({ kind }) => kind === 'service');
    expect(held).toHaveLength(300);
    await a.publisher.learn();
    expect(a.newest().snapshot).toEqual(published.snapshot);
    expect(a.servicesRead()).toBe(0);
  });

  test('changes at two replicas at once take turns: no version is given twice, and each holds those before', async () => {
    const [a, b] = [await open(), await open()];
    await a.publisher.start();
    await b.publisher.start();
    const first = a.newest().version;
    const made = await Promise.all(
      Array.from({ length: 24 }, (_, i) => (i % 2 === 0 ? a : b).change(put(`s-${i}`, i))),
    );
    const versions = made.map(({ version }) => version).sort((x, y) => x - y);
    expect(versions).toEqual(Array.from({ length: 24 }, (_, i) => first + 1 + i));
    await a.publisher.learn();
    await b.publisher.learn();
    expect(a.newest().snapshot).toEqual(b.newest().snapshot);
    expect(a.newest().snapshot.entries.filter(({ kind }) => kind === 'service')).toHaveLength(24);
    for (const version of versions.slice(1)) {
      expect(parseManifest((await rowAt(a.store, version)).manifest).previous).toBe(
        (await rowAt(a.store, version - 1)).digest,
      );
    }
  });

  test('over random changes at either of two, each version holds what it was signed for, and any two are joined by what differs', async () => {
    const [a, b] = [await open(), await open()];
    await a.publisher.start();
    await b.publisher.start();
    const step = fc.record({
      at: fc.constantFrom(a, b),
      act: fc.constantFrom(put, put, drop),
      name: fc.constantFrom('a', 'b', 'c', 'd'),
      round: fc.nat(3),
      learns: fc.boolean(),
      fails: fc.constantFrom(false, false, false, true),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
        const first = (await a.store.read.snapshots.latest(POOL))?.version ?? 0;
        for (const { at, act, name, round, learns, fails } of steps) {
          const work = at.change(async (tx) => {
            await act(name, round)(tx);
            if (fails) throw new Error('stop');
          });
          await work.catch((error: Error) => expect(error.message).toBe('stop'));
          if (learns) await (at === a ? b : a).publisher.learn();
        }
        const last = (await a.store.read.snapshots.latest(POOL))?.version ?? 0;
        const held = new Map<number, readonly Entry[]>();
        for (let version = first; version <= last; version += 1) {
          const entries = await entriesAt(a.store, version);
          held.set(version, entries);
          expect(merkleRoot(entries, sha256)).toBe(parseManifest((await rowAt(a.store, version)).manifest).root);
        }
        for (const [from, before] of held) {
          for (const [to, after] of held) {
            expect(applied(before, await a.store.read.snapshots.changesBetween(POOL, from, to))).toEqual(after);
          }
          const delta = await a.publisher.delta(POOL, await rowAt(a.store, from));
          if (delta === undefined) continue;
          const { changed, removed } = delta;
          const changes = [...changed, ...removed.map((name) => ({ ...name, content: undefined }))];
          expect(applied(before, changes)).toEqual(delta.to.snapshot.entries);
        }
      }),
      { numRuns: 12 },
    );
  }, 30_000);

  test('a restart takes up the stored entries: neither services nor versions are made anew', async () => {
    const a = await open();
    await a.publisher.start();
    await seed(a, 300);
    await a.change(drop('s-3'));
    const again = await open();
    await again.publisher.start();
    expect(again.newest().snapshot).toEqual(a.newest().snapshot);
    expect(again.servicesRead()).toBe(0);
    const from = await rowAt(a.store, a.newest().version - 1);
    expect((await again.publisher.delta(POOL, from))?.removed).toEqual([{ kind: 'service', name: 's-3' }]);
  });

  test.each<[string, (bytes: Database['bytes']) => string]>([
    ['that are lost', () => `delete from snapshot_entries`],
    ['that are damaged', (bytes) => `update snapshot_entries set content = ${bytes('{}')} where name = 's-1'`],
    ['that are too many', () => `update snapshot_entries set to_version = null where name = 's-2'`],
    [
      'whose signature is not known',
      () => `update snapshots set signature = null, key_statement = null, key_signature = null`,
    ],
    ['whose signature is wrong', (bytes) => `update snapshots set signature = ${bytes('x')}`],
  ])('stored entries %s are written anew from the services', async (_, text) => {
    const a = await open();
    await a.publisher.start();
    await seed(a, 3);
    await a.change(put('s-1', 1));
    await a.change(drop('s-2'));
    const before = a.newest();
    await database.run(text(database.bytes));
    const b = await open();
    await b.publisher.start();
    expect(b.newest().version).toBe(before.version + 1);
    expect(b.newest().snapshot.entries).toEqual(before.snapshot.entries);
    expect(await entriesAt(b.store, before.version + 1)).toEqual(before.snapshot.entries);
    const c = await open();
    await c.publisher.start();
    expect(c.newest().snapshot).toEqual(b.newest().snapshot);
  });

  test('a release that keeps no entries may publish beside this one: its versions are no base, and the next change repairs', async () => {
    const [a, b] = [await open(), await open()];
    await a.publisher.start();
    await seed(a, 6);
    const known = a.newest();
    await b.publisher.start();
    await b.change(put('new', 1));
    await database.run(`delete from snapshot_entries where from_version = ${known.version + 1}`);
    await database.run(`update snapshots set signature = null where version = ${known.version + 1}`);
    const old = await rowAt(a.store, known.version + 1);
    const published = await a.change(put('newer', 1));
    const names = published.snapshot.entries.filter(({ kind }) => kind === 'service').map(({ name }) => name);
    expect(names).toEqual(['new', 'newer', 's-0', 's-1', 's-2', 's-3', 's-4', 's-5']);
    expect(await a.publisher.delta(POOL, old)).toBeUndefined();
    expect((await a.publisher.delta(POOL, known))?.changed.map(({ name }) => name)).toEqual(['new', 'newer']);
  });

  test('a lease is renewed by one of the replicas, and the others take that up', async () => {
    let at = Date.now();
    const now = () => at;
    const [a, b] = [await open({ now }), await open({ now })];
    await a.publisher.start();
    await b.publisher.start();
    const { version } = a.newest();
    await Promise.all([a.publisher.renew(), b.publisher.renew()]);
    expect(a.newest().version).toBe(version);
    at += 1_300_000;
    await Promise.all([a.publisher.renew(), b.publisher.renew()]);
    await Promise.all([a.publisher.learn(), b.publisher.learn()]);
    expect([a.newest().version, b.newest().version]).toEqual([version + 1, version + 1]);
    expect(a.newest().snapshot).toEqual(b.newest().snapshot);
  });

  test('a control plane whose clock is ahead does not let a revoked token come alive again', async () => {
    const at = Date.now();
    const right = await open({ now: () => at });
    const ahead = await open({ now: () => at + 60_000 });
    await right.publisher.start();
    const hasRevoked = (replica: Replica): boolean =>
      replica.newest().snapshot.entries.some(({ kind }) => kind === 'status');
    await right.change(async (tx) => {
      // Nodes take it for 5 s longer than it lives.
      await tx.tokens.insert(token('revoked', { expiresAt: at - 4000 }));
      await tx.tokens.revoke('revoked', at);
    });
    expect(hasRevoked(right)).toBe(true);
    await ahead.publisher.start();
    await ahead.change(put('other', 1));
    expect(hasRevoked(ahead)).toBe(true);
    const later = await open({ now: () => at + 130_000 });
    await later.publisher.start();
    await later.change(put('other', 2));
    expect(hasRevoked(later)).toBe(false);
  });

  test('what is older than the history goes, but for the newest hundred, and a node that has it is sent the whole', async () => {
    let at = Date.now();
    const a = await open({ now: () => at, leaseMs: 86_400_000 });
    await a.publisher.start();
    await seed(a, 4);
    const first = a.newest();
    for (let i = 0; i < 60; i += 1) await a.change(put('s-1', i));
    at += 7_200_000;
    for (let i = 0; i < 50; i += 1) await a.change(put('s-1', 100 + i));
    const { version } = a.newest();
    const history = createHistory({ store: a.store, pools: () => [POOL], historyMs: 3_600_000, now: () => at });
    expect(await a.publisher.delta(POOL, first)).toBeDefined();
    await history.prune();
    const kept = await a.store.read.snapshots.list(POOL, { after: undefined, limit: 1000 });
    expect(kept.map((row) => row.version)).toEqual(Array.from({ length: 100 }, (_, i) => version - i));
    const oldest = await rowAt(a.store, version - 99);
    expect(merkleRoot(await entriesAt(a.store, oldest.version), sha256)).toBe(parseManifest(oldest.manifest).root);
    const b = await open({ now: () => at, leaseMs: 86_400_000 });
    await b.publisher.start();
    expect(b.newest().snapshot).toEqual(a.newest().snapshot);
    expect(await b.publisher.delta(POOL, first)).toBeUndefined();
    expect((await b.publisher.delta(POOL, oldest))?.changed).toHaveLength(1);
  });

  test('a stored snapshot that no node would take is not taken up', async () => {
    let at = Date.now();
    const now = () => at;
    const [a, b] = [await open({ now }), await open({ now })];
    await a.publisher.start();
    await b.publisher.start();
    const { version } = b.newest();
    await a.change(put('a', 1));
    await database.run(`update snapshots set signature = ${database.bytes('x')} where version = ${version + 1}`);
    await expect(b.publisher.learn()).rejects.toMatchObject({ code: 'failed_precondition' });
    expect(b.newest().version).toBe(version);
    // It is no reason to let the lease end.
    at += 1_300_000;
    await expect(b.publisher.renew()).rejects.toMatchObject({ code: 'failed_precondition' });
    expect(b.newest().version).toBe(version + 2);
    expect(b.newest().snapshot.entries.map(({ name }) => name)).toContain('a');
  });
});
