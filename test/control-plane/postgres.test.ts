// Two control planes on one PostgreSQL: what one does holds at the other, at once, and neither does anything twice.
import { createHash } from 'node:crypto';
import { type AuditRecord, batchStatement, encodeRecord, GENESIS } from '@daypass/core/audit';
import { AUDIT_LABEL, signBytes } from '@daypass/core/key';
import { signNodeAssertion } from '@daypass/core/node-auth';
import { parseManifest } from '@daypass/core/snapshot';
import { readToken, readUnverifiedClaims } from '@daypass/core/token';
import { AuditKind } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { CallerService } from '@daypass/sdk/gen/daypass/v1/caller_pb';
import { type Snapshot, SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type PostgresServer, startPostgres } from '../kit/postgres.ts';
import { errorOf, type Home, makeHome, type Running, startControl, until } from './fixture.ts';

const upstream = 'https://api.example.com';
const NOW = { seconds: 0n };

let server: PostgresServer;
let home: Home;
let url: string;
let database: string;
let a: Running;
let b: Running;
beforeAll(async () => {
  server = await startPostgres();
  home = await makeHome();
  url = await server.database();
  database = new URL(url).pathname.slice(1);
  const env = { DAYPASS_DATABASE_URL: url };
  // Started at once: they make the schema and the first snapshots together.
  [a, b] = await Promise.all([startControl({ home, env }), startControl({ home, env })]);
});
afterAll(async () => {
  await Promise.all([a?.[Symbol.asyncDispose](), b?.[Symbol.asyncDispose]()]);
  await home?.remove();
  await server?.remove();
});

const numbers = (count: number) => Array.from({ length: count }, (_, index) => index);
const create = (control: Running, name: string) =>
  control.admin.services.create({ service: { name, upstream }, wait: NOW });

const reportOf = (node: string, { manifest }: Snapshot) => {
  const { version, expires_at } = parseManifest(manifest);
  const digest = createHash('sha256').update(manifest).digest('hex');
  return { node, version: BigInt(version), digest, leaseExpiresAt: { seconds: BigInt(expires_at) }, software: 'test' };
};

/** A node that activates and reports every snapshot that a control plane sends it. */
const follow = (control: Running, node: string) => {
  const stop = new AbortController();
  const seen: { readonly version: number; readonly at: number }[] = [];
  const { snapshots } = control.asNode(node);
  const done = (async () => {
    try {
      for await (const { event } of snapshots.watch({}, { signal: stop.signal })) {
        if (event.case !== 'snapshot') continue;
        seen.push({ version: parseManifest(event.value.manifest).version, at: performance.now() });
        await snapshots.report(reportOf(node, event.value)).catch(() => {});
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
  })();
  const versions = () => seen.map(({ version }) => version);
  const end = async () => {
    stop.abort();
    await done;
  };
  return { seen, versions, done, end };
};

test('changes made at both at once give each version once, in one chain, and nodes at both see versions only rise', async () => {
  const [atA, atB] = [follow(a, 'node-1'), follow(b, 'node-2')];
  const names = numbers(30).map((index) => `s${index}`);
  const answers = await Promise.all(names.map((name, index) => create(index % 2 === 0 ? a : b, name)));
  const versions = answers.map(({ rollout }) => Number(rollout?.version));
  expect(new Set(versions).size).toBe(30);
  const newest = Math.max(...versions);
  await until(() => atA.versions().at(-1) === newest && atB.versions().at(-1) === newest);
  for (const { versions: seen } of [atA, atB]) expect(seen()).toEqual([...new Set(seen())].sort((x, y) => x - y));
  const rows = await server.ask(
    `select version, digest, manifest from snapshots where pool = 'default' order by version`,
    database,
  );
  expect(rows.map(({ version }) => Number(version))).toEqual(numbers(newest).map((index) => index + 1));
  for (const [index, row] of rows.entries()) {
    expect(parseManifest(row.manifest as Buffer).previous).toBe(index === 0 ? '' : rows[index - 1]?.digest);
  }
  const held = await Promise.all([a, b].map((one) => one.asNode('node-1').snapshots.get({})));
  expect(held[0]?.snapshot?.entries.filter(({ kind }) => kind === 'service').length).toBe(30);
  expect(held[0]?.snapshot).toEqual(held[1]?.snapshot);
  await Promise.all([atA.end(), atB.end()]);
});

test('a change at one is sent to a node at the other within moments', async () => {
  const node = follow(b, 'node-1');
  await until(() => node.seen.length === 1);
  const took: number[] = [];
  for (const index of numbers(20)) {
    const { rollout } = await create(a, `t${index}`);
    const answered = performance.now();
    await until(() => node.versions().at(-1) === Number(rollout?.version));
    took.push((node.seen.at(-1)?.at ?? Number.NaN) - answered);
  }
  took.sort((x, y) => x - y);
  process.stdout.write(
    `from the answer at one to the node at the other: median ${took[10]?.toFixed(1)} ms, longest ${took[19]?.toFixed(1)} ms\n`,
  );
  expect(took[10]).toBeLessThan(1000);
  await node.end();
});

test('a revocation at one waits for what nodes report at the other, also when it was revoked there before', async () => {
  await create(a, 'revoked');
  const nodes = [follow(b, 'node-1'), follow(a, 'node-2')];
  await until(() => nodes.every(({ seen }) => seen.length > 0));
  const { jti, token } = await b.admin.tokens.mint({ service: 'revoked', allow: ['GET /**'] });
  const started = performance.now();
  const { rollout } = await a.admin.tokens.revoke({ target: { case: 'jti', value: jti } });
  expect(rollout?.acknowledged.toSorted()).toEqual(['node-1', 'node-2']);
  expect(rollout?.missing).toEqual([]);
  expect(performance.now() - started).toBeLessThan(4000);
  const again = await b.admin.tokens.revoke({ target: { case: 'jti', value: jti } });
  expect(again.rollout?.version).toBe(rollout?.version);
  expect((await b.admin.tokens.introspect({ token })).active).toBe(false);
  for (const node of nodes) await node.end();
});

test('times with fractions of a millisecond are taken: PostgreSQL has whole ones', async () => {
  const nodes = ['node-1', 'node-2'];
  for (const node of nodes) {
    const { snapshots } = a.asNode(node);
    const { snapshot } = await snapshots.get({});
    if (snapshot === undefined) throw new Error('no snapshot');
    await snapshots.report(reportOf(node, snapshot));
  }
  const change = { name: 'fractions', upstream, maxTtl: { seconds: 60n } };
  await create(a, change.name);
  const update = { service: change, updateMask: { paths: ['max_ttl'] }, wait: NOW };
  const seen: unknown[] = [];
  const asked = { change: { case: 'update' as const, value: update }, window: { seconds: 60n, nanos: 500_000 } };
  for await (const { event } of a.admin.releases.test(asked)) seen.push(event.case);
  expect(seen).toEqual(['summary']);
  await a.admin.services.update({ ...update, canary: { count: 1, promoteAfter: { seconds: 3600n, nanos: 500_000 } } });
  const { canary } = await a.admin.releases.takeBack({ wait: NOW });
  expect(canary?.ending).toBe('taken_back');
});

test('tokens minted at both at once have each a place of their own in the status lists', async () => {
  await create(a, 'github');
  const minted = await Promise.all(
    numbers(60).map((index) => (index % 2 === 0 ? a : b).admin.tokens.mint({ service: 'github', allow: ['GET /**'] })),
  );
  const places = minted.map(({ token }) => readUnverifiedClaims(readToken(token)).status.status_list);
  expect(new Set(places.map(({ uri, idx }) => `${uri} ${idx}`)).size).toBe(60);
  const held = 'select count(distinct (status_chunk, status_index)) as places, count(*) as tokens from tokens';
  const [row] = await server.ask(held, database);
  expect(row?.places).toBe(row?.tokens);
});

test('a cut-off at one reaches a token that the other has minted with a clock that is ahead', async () => {
  const now = () => Date.now() + 3000;
  await using ahead = await startControl({ home, env: { DAYPASS_DATABASE_URL: url }, now });
  await create(a, 'cut');
  const { token } = await ahead.admin.tokens.mint({ service: 'cut', allow: ['GET /**'] });
  await a.admin.tokens.revoke({ target: { case: 'cutOff', value: { service: 'cut' } }, wait: NOW });
  expect((await a.admin.tokens.introspect({ token })).active).toBe(false);
  const after = await a.admin.tokens.mint({ service: 'cut', allow: ['GET /**'] });
  expect((await a.admin.tokens.introspect({ token: after.token })).active).toBe(true);
});

test('the audit of both is one chain', async () => {
  await Promise.all(
    numbers(24).map((index) =>
      (index % 2 === 0 ? a : b).admin.callers.create({ caller: { name: `c${index}`, services: [] } }),
    ),
  );
  const rows = await server.ask(`select seq, hash, bytes from audit_records where node = '' order by seq`, database);
  expect(rows.length).toBeGreaterThanOrEqual(24);
  let prev = '0'.repeat(64);
  for (const [index, { seq, hash, bytes }] of rows.entries()) {
    const text = (bytes as Buffer).toString('utf8');
    expect(Number(seq)).toBe(index + 1);
    expect(JSON.parse(text)).toMatchObject({ seq: index + 1, prev });
    prev = createHash('sha256').update(text).digest('hex');
    expect(hash).toBe(prev);
  }
});

test('a caller that was deleted at one is unknown at the other, and a node that was expelled loses its stream there', async () => {
  const { apiKey } = await a.admin.callers.create({ caller: { name: 'bot', services: [] } });
  const asBot = b.client(CallerService, apiKey);
  expect((await asBot.whoAmI({})).caller?.name).toBe('bot');
  await a.admin.callers.delete({ name: 'bot', wait: NOW });
  expect(await errorOf(asBot.whoAmI({}))).toMatchObject({ code: 16 });
  const node = follow(b, 'node-1');
  const ended = node.done.catch((error: unknown) => error);
  await until(() => node.seen.length === 1);
  await a.admin.nodes.expel({ name: 'node-1', wait: NOW });
  expect(await ended).toMatchObject({ code: 16 });
});

test('what a node showed to one control plane is refused by the other', async () => {
  const key = home.nodes.get('node-3');
  if (key === undefined) throw new Error('no such node');
  const show = async (jti: string) =>
    signNodeAssertion({ node: 'node-3', fleet: home.fleet, now: Date.now() / 1000, jti }, key);
  const overheard = await show('j'.repeat(32));
  await a.client(SnapshotService, overheard).get({});
  expect(await errorOf(b.client(SnapshotService, overheard).get({}))).toMatchObject({ code: 16 });
  await b.client(SnapshotService, await show('k'.repeat(32))).get({});
});

test('who follows the audit at one sees what is changed at the other', async () => {
  const stop = new AbortController();
  const seen: string[] = [];
  let ready = false;
  const tail = (async () => {
    for await (const { event } of a.admin.audit.tail({ filter: { kind: AuditKind.CHANGE } }, { signal: stop.signal })) {
      ready = true;
      if (event !== undefined) seen.push(event.path);
    }
  })().catch(() => {});
  await until(() => ready);
  await b.admin.callers.create({ caller: { name: 'there', services: [] } });
  await a.admin.callers.create({ caller: { name: 'here', services: [] } });
  await until(() => seen.length === 2);
  expect(seen.toSorted()).toEqual(['callers/here', 'callers/there']);
  stop.abort();
  await tail;
});

test('who follows the audit at one sees what nodes send to the other, completed when its outcome comes', async () => {
  const stop = new AbortController();
  const seen: string[] = [];
  let ready = false;
  const tail = (async () => {
    for await (const { event } of a.admin.audit.tail({}, { signal: stop.signal })) {
      ready = true;
      if (event !== undefined) seen.push(`${event.decisionId} ${event.path} ${event.status}`);
    }
  })().catch(() => {});
  await until(() => ready);
  const key = home.nodes.get('node-3');
  if (key === undefined) throw new Error('no such node');
  let prev = GENESIS;
  const send = async (seq: number, record: object): Promise<void> => {
    const bytes = new TextEncoder().encode(encodeRecord({ ...record, seq, prev, node: 'node-3' } as AuditRecord));
    prev = createHash('sha256').update(bytes).digest('hex');
    const signature = await signBytes(key, AUDIT_LABEL, batchStatement('node-3', seq, seq, prev));
    await b.asNode('node-3').audit.ingest({ node: 'node-3', firstSeq: BigInt(seq), records: [bytes], signature });
  };
  const texts = {
    reason: '',
    jti: 'j',
    caller: 'c',
    principal: 'p',
    client: 'l',
    service: 's',
    method: 'GET',
    rule: '',
  };
  const decided = { kind: 'decision', id: 'd1', time: Date.now(), result: 'allowed', path: '/x', credential_id: '' };
  await send(1, { ...decided, ...texts, snapshot_version: 1, count: 1, source: '' });
  await until(() => seen.length === 1);
  const bytes = { request_bytes: 1, response_bytes: 2, latency_micros: 3 };
  await send(2, {
    kind: 'outcome',
    id: 'd1',
    time: Date.now(),
    result: 'completed',
    reason: '',
    status: 200,
    ...bytes,
  });
  await until(() => seen.length === 2);
  expect(seen).toEqual(['d1 /x 0', 'd1 /x 200']);
  stop.abort();
  await tail;
});

test('while the database is gone changes fail, and afterwards both go on by themselves, each hearing of the other', async () => {
  const node = follow(b, 'node-2');
  await until(() => node.seen.length === 1);
  await server.stop('SIGKILL');
  expect(await errorOf(create(a, 'lost'))).toMatchObject({ code: 14 });
  await server.start();
  const { rollout } = await until(() => create(a, 'kept').catch(() => undefined));
  await until(() => node.versions().at(-1) === Number(rollout?.version));
  await node.end();
  await create(b, 'more');
  const known = await Promise.all(['kept', 'more'].map((name) => a.admin.services.get({ name })));
  expect(known.map(({ service }) => service?.name)).toEqual(['kept', 'more']);
  expect(await errorOf(a.admin.services.get({ name: 'lost' }))).toMatchObject({ code: 5 });
});
