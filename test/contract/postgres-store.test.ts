// What only PostgreSQL can do to a store: a connection that dies, another control plane, a schema that moves on underneath.
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Kysely } from 'kysely';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Notices, Store } from '../../control-plane/store/interface.ts';
import { migrations } from '../../control-plane/store/migrations/all.ts';
import { openStore } from '../../control-plane/store/open.ts';
import { TIMES } from '../../control-plane/store/postgres-connection.ts';
import { WRITER_LOCK } from '../../control-plane/store/postgres-grouping.ts';
import { openPostgresStore } from '../../control-plane/store/postgres-store.ts';
import { parsePostgresUrl, readTarget } from '../../control-plane/store/postgres-url.ts';
import { until } from '../kit/deadline.ts';
import { type PostgresServer, startPostgres } from '../kit/postgres.ts';
import { caller, event, NOW, outcome, record, service, snapshot, token } from './rows.ts';

let server: PostgresServer;
let url: string;
let name: string;
const opened: Store[] = [];
beforeAll(async () => {
  server = await startPostgres();
});
afterAll(() => server.remove());
beforeEach(async () => {
  url = await server.database();
  name = new URL(url).pathname.slice(1);
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()));
});

const open = async (at = url): Promise<Store> => {
  const store = await openStore({ url: at });
  opened.push(store);
  return store;
};
const within = (ms: number, probe: () => boolean | Promise<boolean>) => until('it came to pass', probe, ms);
const unavailable = { code: 'database_unavailable' };

/** What a store is told, as topics with the chains. */
const hear = (notices: Notices) => {
  const heard: string[] = [];
  notices.on((topic, chain) => heard.push(chain === undefined ? topic : `${topic} ${Object.values(chain).join(' ')}`));
  return heard;
};
const ALL = ['snapshots', 'reports', 'nodes', 'keys', 'audit'];

/** A way to the server: what is sent goes on, or goes on and the answer is lost with the connection, or is lost itself. */
const between = async (fateOf: (text: string) => 'pass' | 'unanswered' | 'lost') => {
  const sockets = new Set<Socket>();
  const proxy: Server = createServer((near) => {
    const far = connect(server.port, '127.0.0.1');
    sockets.add(near).add(far);
    const cut = (): void => {
      near.destroy();
      far.destroy();
    };
    near.on('error', cut).on('close', cut);
    far.on('error', cut).on('close', cut);
    let answers = true;
    near.on('data', (bytes) => {
      const fate = fateOf(bytes.toString('latin1'));
      if (fate === 'unanswered') answers = false;
      if (fate !== 'lost') far.write(bytes);
    });
    far.on('data', (bytes) => {
      if (answers) near.write(bytes);
      else cut();
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const address = proxy.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  return {
    url: `postgres://postgres@127.0.0.1:${port}/${name}`,
    close: () => {
      for (const socket of sockets) socket.destroy();
      proxy.close();
    },
  };
};

test('a commit whose answer is lost is an error, never a success, and all is looked at again', async () => {
  let cutting = false;
  const way = await between((text) => (cutting && text.includes('; commit') ? 'unanswered' : 'pass'));
  const store = await open(way.url);
  const heard = hear(store.notices);
  await within(5000, () => heard.length === ALL.length);
  cutting = true;
  const lost = store.transact((tx) => tx.services.insert(service('a')));
  await expect(lost).rejects.toMatchObject({ ...unavailable, message: expect.stringContaining('not known') });
  expect(heard.slice(0, 2 * ALL.length)).toEqual([...ALL, ...ALL]);
  cutting = false;
  // It was made; nothing that was remembered says otherwise.
  await store.transact(async (tx) => expect(await tx.services.get('a')).toEqual(service('a')));
  await store.transact((tx) => tx.services.insert(service('b')));
  way.close();
});

test('a connection that dies fails the transactions that were on it, and no other', async () => {
  const store = await open();
  await store.transact((tx) => tx.callers.insert(caller('before')));
  const dead = store.transact(async (tx) => {
    await tx.services.insert(service('a'));
    await server.ask(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}' and pid <> pg_backend_pid()`,
    );
    await tx.services.insert(service('b'));
  });
  await expect(dead).rejects.toMatchObject(unavailable);
  await store.transact((tx) => tx.services.insert(service('c')));
  await within(
    5000,
    async () => (await store.read.services.list({ after: undefined, limit: 9 }).catch(() => [])).length === 1,
  );
  expect((await store.read.services.get('c'))?.name).toBe('c');
  expect(await store.read.callers.get('before')).toEqual(caller('before'));
});

test('a server that says nothing is taken for gone after a while', async () => {
  let silent = false;
  const way = await between(() => (silent ? 'lost' : 'pass'));
  const target = await readTarget(parsePostgresUrl(way.url));
  const store = await openPostgresStore({
    target,
    connectionsMax: 3,
    times: { ...TIMES, connectMs: 500, statementMs: 100, silenceMs: 300 },
  });
  opened.push(store);
  await store.read.services.get('a');
  silent = true;
  const asked = [store.read.services.get('a'), store.transact((tx) => tx.services.insert(service('a')))];
  for (const one of asked) await expect(one).rejects.toMatchObject(unavailable);
  silent = false;
  await store.transact((tx) => tx.services.insert(service('b')));
  way.close();
});

test('who cannot have the lock of all writers in time is told that the database is busy', async () => {
  const target = await readTarget(parsePostgresUrl(url));
  const store = await openPostgresStore({ target, connectionsMax: 3, times: { ...TIMES, lockMs: 100 } });
  opened.push(store);
  const holding = server.ask(`select pg_advisory_lock(${WRITER_LOCK}), pg_sleep(1)`, name);
  await within(5000, async () => {
    const [row] = await server.ask(`select count(*) as held from pg_locks where locktype = 'advisory' and granted`);
    return row?.held === '1';
  });
  const refused = store.transact((tx) => tx.services.insert(service('a')));
  await expect(refused).rejects.toMatchObject({ ...unavailable, message: 'The database is too busy' });
  await holding;
  await store.transact((tx) => tx.services.insert(service('a')));
});

test('a control plane that is frozen in a transaction does not hold up the others for ever', async () => {
  const target = await readTarget(parsePostgresUrl(url));
  const times = { ...TIMES, idleInTransactionMs: 200 };
  const frozen = await openPostgresStore({ target, connectionsMax: 3, times });
  opened.push(frozen);
  const other = await open();
  let thaw: (() => void) | undefined;
  const held = frozen.transact(async (tx) => {
    await tx.services.insert(service('a'));
    await new Promise<void>((resolve) => {
      thaw = resolve;
    });
  });
  await within(5000, () => thaw !== undefined);
  await other.transact((tx) => tx.services.insert(service('b')));
  thaw?.();
  await expect(held).rejects.toMatchObject(unavailable);
  expect(await other.read.services.get('a')).toBeUndefined();
});

test('what the writer remembers is forgotten when another control plane has written', async () => {
  const [one, other] = [await open(), await open()];
  const seen = () =>
    one.transact(async (tx) => [
      (await tx.callers.get('c'))?.etag,
      (await tx.services.get('s'))?.etag,
      (await tx.cutOffs.all(0)).length,
      (await tx.audit.last('n'))?.seq,
    ]);
  const epoch = () => one.transact(async (tx) => tx.epoch);
  await one.transact(async (tx) => {
    await tx.callers.put(caller('c', { etag: '1' }));
    await tx.services.insert(service('s', { etag: '1' }));
    await tx.audit.insertRecords([record('n', 1)]);
  });
  expect(await seen()).toEqual(['1', '1', 0, 1]);
  expect(await epoch()).toBe(await epoch());
  const before = await epoch();
  await other.transact(async (tx) => {
    await tx.callers.delete('c');
    await tx.services.replace(service('s', { etag: '3' }));
    await tx.cutOffs.insert({ id: 'x', entry: { minted_before: 1000 }, createdAt: 0 });
    await tx.audit.insertRecords([record('n', 2), record('n', 3)]);
  });
  expect(await seen()).toEqual([undefined, '3', 1, 3]);
  expect(await epoch()).not.toBe(before);
});

test('others are told what was written, by its kind, and who wrote it is not', async () => {
  const [one, other] = [await open(), await open()];
  const [own, heard] = [hear(one.notices), hear(other.notices)];
  await within(5000, () => own.length === ALL.length && heard.length === ALL.length);
  const node = { name: 'node-1', pool: 'default', jwk: '{}', enrolledAt: NOW, enrolledBy: '' };
  const said = {
    version: 1,
    digest: '',
    leaseExpiresAt: 0,
    nackVersion: 0,
    nackCode: '',
    nackMessage: '',
    software: '',
  };
  const tellings: readonly [Parameters<Store['transact']>[0], readonly string[]][] = [
    [(tx) => tx.snapshots.insert(snapshot('default', 1), []), ['snapshots']],
    [(tx) => tx.nodes.insert(node), ['nodes']],
    [(tx) => tx.nodes.report({ name: 'node-1', ...said, reportedAt: NOW }), ['reports']],
    [(tx) => tx.nodes.expel('node-1', NOW), ['nodes']],
    [
      (tx) => tx.audit.insertRecords([record('n', 4), record('n', 6), record("o'x", 1)]),
      ['audit n 4 6', "audit o'x 1 1"],
    ],
    [(tx) => tx.audit.append([{ record: record('', 1), event: { ...event('d'), kind: 'change' } }]), ['audit  1 1']],
    [(tx) => tx.services.insert(service('a')), []],
    [(tx) => tx.snapshots.insert(snapshot('default', 2), []), ['snapshots']],
  ];
  const expected = tellings.flatMap(([, topics]) => topics);
  for (const [work] of tellings) await one.transact(work);
  const told = () => heard.slice(ALL.length).filter((topic) => expected.includes(topic));
  await within(5000, () => told().length >= expected.length);
  // The look for what may have been lost tells all at once; it comes on top.
  expect(told().filter((topic, at, all) => topic.startsWith('audit ') || all.indexOf(topic) === at)).toEqual(
    expect.arrayContaining([...new Set(expected)]),
  );
  expect(own).toEqual(ALL);
});

test('after its connection was lost a store is told of everything, and it hears again', async () => {
  const [one, other] = [await open(), await open()];
  const heard = hear(other.notices);
  await within(5000, () => heard.length === ALL.length);
  const listeners = `select pg_terminate_backend(pid) from pg_stat_activity where datname = '${name}' and query like '%listen daypass%' or query like '%last_value%' and pid <> pg_backend_pid()`;
  await server.ask(listeners);
  await within(5000, () => heard.length >= 2 * ALL.length);
  const known = heard.length;
  await one.transact((tx) => tx.snapshots.insert(snapshot('default', 1), []));
  expect(await within(5000, () => heard.slice(known).includes('snapshots'))).toBe(true);
});

test.each([
  [
    'service.description',
    'description',
    (tx: Parameters<Parameters<Store['transact']>[0]>[0]) => tx.services.insert(service('a', { description: 'a\0b' })),
  ],
  [
    'token.subject',
    'subject',
    (tx: Parameters<Parameters<Store['transact']>[0]>[0]) => tx.tokens.insert(token('t', { subject: 'a\0b' })),
  ],
])('a NUL character in %s is refused by its name', async (_, field, work) => {
  const store = await open();
  await expect(store.transact(work)).rejects.toMatchObject({ code: 'invalid_argument', field });
  await expect(store.read.services.get('a\0')).rejects.toMatchObject({ code: 'invalid_argument' });
  await store.transact((tx) => tx.services.insert(service('a')));
});

test('a text that cannot be stored fails who adds it, and nobody who shares the commit', async () => {
  const store = await open();
  const mint = (jti: string, subject: string) => store.transact((tx) => tx.tokens.insert(token(jti, { subject })));
  const ends = await Promise.allSettled([mint('a', 'x'), mint('b', 'y\0'), mint('c', 'z')]);
  expect(ends.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect((await store.read.tokens.getMany(['a', 'b', 'c'])).map(({ jti }) => jti).toSorted()).toEqual(['a', 'c']);
});

test('a key is taken at one control plane only, until its time is over', async () => {
  const [one, other] = [await open(), await open()];
  expect(await one.takeOnce('k', 0, 1000)).toBe(true);
  expect(await other.takeOnce('k', 999, 2000)).toBe(false);
  expect(await other.takeOnce('k', 1001, 2000)).toBe(true);
  expect(await one.takeOnce('k', 1001, 2000)).toBe(false);
});

test('control planes that start together on an empty database take turns', async () => {
  const stores = await Promise.all(Array.from({ length: 4 }, () => open()));
  for (const [index, store] of stores.entries()) await store.transact((tx) => tx.services.insert(service(`s${index}`)));
  expect((await stores[0]?.read.services.list({ after: undefined, limit: 9 }))?.length).toBe(4);
});

test('a store goes on working while a newer release adds to the schema, and does not start on it', async () => {
  const store = await open();
  const work = async (step: number): Promise<void> => {
    await store.transact(async (tx) => {
      await tx.services.insert(service(`s${step}`));
      await tx.callers.put(caller('ci', { services: [`s${step}`] }));
      await tx.tokens.insert(token(`t${step}`, { statusIndex: step }));
      await tx.tokens.revoke(`t${step}`, NOW);
      await tx.audit.insertRecords([record('n', step)]);
      await tx.audit.insertEvents([event(`d${step}`, { seq: step })]);
      await tx.audit.complete([outcome(`d${step}`)]);
      await tx.snapshots.insert(snapshot('default', step), []);
      expect(await tx.services.get(`s${step}`)).toMatchObject(service(`s${step}`));
    });
    expect(await store.read.callers.byKeyHash('hash of ci')).toMatchObject({ services: [`s${step}`] });
    expect(await store.read.tokens.getMany([`t${step}`])).toHaveLength(1);
    expect(await store.read.audit.query({}, { after: undefined, limit: 9 })).toHaveLength(step);
    expect(await store.read.snapshots.latest('default')).toMatchObject({ version: step });
  };
  // Often enough that everything that can be prepared has been.
  for (const step of [1, 2, 3, 4, 5, 6, 7]) await work(step);
  const up = async ({ schema }: Kysely<unknown>): Promise<void> => {
    for (const table of ['services', 'callers', 'tokens', 'snapshots', 'nodes', 'audit_events', 'audit_records']) {
      await schema.alterTable(table).addColumn('later', 'text').execute();
      await schema
        .alterTable(table)
        .addColumn('counted', 'integer', (column) => column.notNull().defaultTo(0))
        .execute();
    }
    await schema.createTable('later').addColumn('id', 'text').execute();
  };
  const target = await readTarget(parsePostgresUrl(url));
  const newer = await openPostgresStore({
    target,
    connectionsMax: 3,
    migrations: { ...migrations, '9999-later': { up } },
  });
  opened.push(newer);
  for (const step of [8, 9]) await work(step);
  await newer.transact((tx) => tx.services.insert(service('newer')));
  expect(await store.read.services.get('newer')).toMatchObject(service('newer'));
  await expect(openStore({ url })).rejects.toMatchObject({ ...unavailable, message: expect.stringContaining('newer') });
});

test('a database with tables of another program is refused and left as it is', async () => {
  await server.ask('create table theirs (id int)', name);
  await expect(openStore({ url })).rejects.toMatchObject({
    ...unavailable,
    message: expect.stringContaining('not one'),
  });
  const tables = await server.ask(`select tablename from pg_tables where schemaname = 'public'`, name);
  expect(tables).toEqual([{ tablename: 'theirs' }]);
});

test('a server has to prove who it is as the URL says, and there is no way back to none', async () => {
  const at = (host: string, query: string) => `postgres://postgres@${host}:${server.port}/${name}?${query}`;
  const refused = async (host: string, query: string): Promise<void> => {
    await expect(openStore({ url: at(host, query) }), query).rejects.toMatchObject(unavailable);
  };
  await refused('localhost', 'sslmode=require');
  const ca = await server.tls();
  const encrypted = async (host: string, query: string): Promise<void> => {
    const store = await until('TLS is on', () => open(at(host, query)));
    await store.ping();
    const [row] = await server.ask(`select bool_and(ssl) as all from pg_stat_ssl join pg_stat_activity using (pid)
      where datname = '${name}' and pid <> pg_backend_pid()`);
    expect(row?.all, query).toBe(true);
    await store.close();
  };
  await encrypted('localhost', `sslmode=verify-full&sslrootcert=${ca}`);
  await encrypted('127.0.0.1', `sslmode=verify-ca&sslrootcert=${ca}`);
  await encrypted('127.0.0.1', 'sslmode=require');
  await refused('127.0.0.1', `sslmode=verify-full&sslrootcert=${ca}`);
  await refused('localhost', 'sslmode=verify-full');
  await refused('localhost', 'sslmode=verify-ca');
});

test('no error repeats the password, and each names the server', async () => {
  for (const at of ['127.0.0.1:1', `127.0.0.1:${server.port}`]) {
    const error: unknown = await openStore({ url: `postgres://nobody:canary@${at}/none` }).catch(
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ ...unavailable, message: expect.stringContaining(`postgres://${at}/none`) });
    const shown = [String(error), JSON.stringify(error), ...causes(error).map((cause) => `${cause.stack}`)].join();
    expect(shown).not.toContain('canary');
  }
});

const causes = (error: unknown): readonly Error[] => (error instanceof Error ? [error, ...causes(error.cause)] : []);
