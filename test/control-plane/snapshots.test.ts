// Snapshots: what a node is sent, how soon, and how a change waits for it.
import { createHash } from 'node:crypto';
import { inflateSync } from 'node:zlib';
import { Code, ConnectError } from '@connectrpc/connect';
import { parseManifest, type SignedSnapshot, type VerifiedSnapshot, verifySnapshot } from '@daypass/core/snapshot';
import { getBit } from '@daypass/core/status';
import { readToken, readUnverifiedClaims } from '@daypass/core/token';
import type { Snapshot, WatchResponse } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { expect, test } from 'vitest';
import { createWatches } from '../../control-plane/domain/watches.ts';
import type { NodeRow } from '../../control-plane/store/interface.ts';
import { errorOf, type Home, type Running, sealFor, startControl, until } from './fixture.ts';

const upstream = 'https://api.example.com';
const ID = '0123456789abcdef0123456789abcdef';
const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();
const NOW = { seconds: 0n };

/** A snapshot as a node verifies it. */
const verified = (home: Home, snapshot: Snapshot | undefined, pool = 'default'): Promise<VerifiedSnapshot> => {
  if (snapshot?.key === undefined) throw new Error('no snapshot');
  const { manifest, signature, key, entries } = snapshot;
  const signed: SignedSnapshot = { manifest, signature, key, entries };
  const trust = { root: home.root.publicJwk, fleet: home.fleet, pool, floor: 0, now: Date.now() / 1000, sha256 };
  return verifySnapshot(signed, trust);
};

/** What a node is sent, until it is stopped. */
const watch = (control: Running, node: string, has = { version: 0n, digest: '' }) => {
  const stop = new AbortController();
  const events: WatchResponse['event'][] = [];
  const done = (async () => {
    try {
      for await (const { event } of control.asNode(node).snapshots.watch(has, { signal: stop.signal }))
        events.push(event);
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
  })();
  const snapshots = () => events.flatMap((event) => (event.case === 'snapshot' ? [event.value] : []));
  return { events, snapshots, done, stop: () => stop.abort() };
};

/** A node that activates every snapshot that it is sent. */
const obedient = (control: Running, node: string) => {
  const stop = new AbortController();
  const { snapshots } = control.asNode(node);
  const done = (async () => {
    try {
      for await (const { event } of snapshots.watch({}, { signal: stop.signal })) {
        if (event.case === 'snapshot') await snapshots.report(reportOf(node, event.value));
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
  })();
  return { done, stop: () => stop.abort() };
};

const reportOf = (node: string, snapshot: Snapshot) => {
  const { version, expires_at } = parseManifest(snapshot.manifest);
  const digest = createHash('sha256').update(snapshot.manifest).digest('hex');
  return { node, version: BigInt(version), digest, leaseExpiresAt: { seconds: BigInt(expires_at) }, software: 'test' };
};

test('a snapshot verifies with the pinned root and holds all that the pool needs and nothing of another', async () => {
  await using control = await startControl();
  const { services, tokens } = control.admin;
  await services.create({
    service: {
      name: 'github',
      upstream,
      place: { kind: 1 },
      sealedCredential: await sealFor(control.home, 'github'),
      credentialId: ID,
      scopes: { triage: { rules: ['GET /issues'] } },
    },
  });
  await services.create({ service: { name: 'elsewhere', upstream, pool: 'other' } });
  const cutOff = { service: 'elsewhere' };
  await tokens.revoke({ target: { case: 'cutOff', value: cutOff } });
  await tokens.revoke({ target: { case: 'cutOff', value: { client: 'ci' } } });
  await tokens.revoke({ target: { case: 'cutOff', value: { client: 'ci' } } });
  const { token, jti } = await tokens.mint({ service: 'github', allow: ['GET /**'] });
  await tokens.revoke({ target: { case: 'jti', value: jti } });

  const { snapshot } = await control.asNode('node-1').snapshots.get({});
  const held = await verified(control.home, snapshot);
  expect([...held.services.keys()]).toEqual(['github']);
  expect(held.credentials.get('github')?.id).toBe(ID);
  expect(held.pool).toEqual({ name: 'default', nodes: 2 });
  expect(held.scopes.get('github/triage')?.rules).toEqual(['GET /issues']);
  expect([...held.keys.values()].map(({ issuer, alg }) => [issuer, alg])).toEqual([['http://issuer.test', 'Ed25519']]);
  expect(held.cutoffs.map(({ client, service }) => [client, service])).toEqual([['ci', undefined]]);
  const list = inflateSync(held.status.get(0) ?? new Uint8Array());
  const { idx } = readUnverifiedClaims(readToken(token)).status.status_list;
  expect([list.length, getBit(list, idx)]).toEqual([8192, true]);
  expect(list.reduce((bits, byte) => bits + byte.toString(2).replaceAll('0', '').length, 0)).toBe(1);

  const other = await verified(control.home, (await control.asNode('node-3').snapshots.get({})).snapshot, 'other');
  expect([...other.services.keys()]).toEqual(['elsewhere']);
  expect(other.credentials.size).toBe(0);
  expect(other.pool).toEqual({ name: 'other', nodes: 1 });
  expect(other.cutoffs.map(({ client, service }) => client ?? service).sort()).toEqual(['ci', 'elsewhere']);
});

test('a watch brings the newest at once, each change within a moment, and nothing that the node has', async () => {
  await using control = await startControl();
  const first = watch(control, 'node-1');
  await until(() => first.snapshots().length === 1);
  await control.admin.services.create({ service: { name: 'a', upstream }, wait: NOW });
  const started = performance.now();
  await until(() => first.snapshots().length === 2);
  expect(performance.now() - started).toBeLessThan(1000);
  const [before, after] = await Promise.all(first.snapshots().map((one) => verified(control.home, one)));
  expect(after?.manifest).toMatchObject({ version: (before?.manifest.version ?? 0) + 1, previous: before?.digest });

  const has = { version: BigInt(after?.manifest.version ?? 0), digest: after?.digest ?? '' };
  const second = watch(control, 'node-1', has);
  await until(() => second.events.length === 1);
  expect(second.events[0]?.case).toBe('heartbeat');
  const forked = watch(control, 'node-1', { ...has, digest: 'f'.repeat(64) });
  await until(() => forked.snapshots().length === 1);
  for (const one of [first, second, forked]) one.stop();
  await Promise.all([first.done, second.done, forked.done]);
});

test('a change of another pool is not sent', async () => {
  await using control = await startControl();
  const here = watch(control, 'node-1');
  const there = watch(control, 'node-3');
  await until(() => here.snapshots().length === 1 && there.snapshots().length === 1);
  await control.admin.services.create({ service: { name: 'a', upstream, pool: 'other' }, wait: NOW });
  await until(() => there.snapshots().length === 2);
  expect(here.snapshots()).toHaveLength(1);
  here.stop();
  there.stop();
  await Promise.all([here.done, there.done]);
});

test('a change waits for nodes with a running lease and names those that have not activated it', async () => {
  await using control = await startControl();
  const node1 = obedient(control, 'node-1');
  const { snapshot } = await control.asNode('node-2').snapshots.get({});
  if (snapshot === undefined) throw new Error('no snapshot');
  const create = (name: string, wait: { seconds: bigint; nanos?: number }) =>
    control.admin.services.create({ service: { name, upstream }, wait });

  // node-2 has reported nothing yet: it holds no lease, and nobody waits for it.
  await until(
    async () =>
      (await create(`try-${Math.random().toString(36).slice(2)}`, { seconds: 1n })).rollout?.acknowledged.length === 1,
  );
  const quick = await create('quick', { seconds: 5n });
  expect(quick.rollout).toMatchObject({ acknowledged: ['node-1'], missing: [] });

  await control.asNode('node-2').snapshots.report(reportOf('node-2', snapshot));
  const started = performance.now();
  const late = await create('late', { seconds: 0n, nanos: 3e8 });
  expect(performance.now() - started).toBeGreaterThan(290);
  expect(late.rollout?.acknowledged).toEqual(['node-1']);
  expect(late.rollout?.missing.map(({ node, version, nackCode }) => [node, version, nackCode])).toEqual([
    ['node-2', BigInt(parseManifest(snapshot.manifest).version), ''],
  ]);
  expect(late.rollout?.missing[0]?.leaseExpiresAt?.seconds).toBe(BigInt(parseManifest(snapshot.manifest).expires_at));
  node1.stop();
  await node1.done;
});

test('a node that refuses a version is named with its code and not waited for', async () => {
  await using control = await startControl();
  const { snapshots } = control.asNode('node-1');
  const { snapshot } = await snapshots.get({});
  if (snapshot === undefined) throw new Error('no snapshot');
  const report = reportOf('node-1', snapshot);
  await snapshots.report(report);
  const change = control.admin.services.create({ service: { name: 'a', upstream }, wait: { seconds: 5n } });
  const started = performance.now();
  await until(
    async () =>
      parseManifest((await snapshots.get({})).snapshot?.manifest ?? new Uint8Array()).version > report.version,
  );
  const refusal = { refusedVersion: report.version + 1n, nackCode: 'snapshot_inconsistent', nackMessage: 'why' };
  await snapshots.report({ ...report, ...refusal });
  const { rollout } = await change;
  expect(performance.now() - started).toBeLessThan(4000);
  expect(rollout?.missing.map(({ node, nackCode }) => [node, nackCode])).toEqual([['node-1', 'snapshot_inconsistent']]);
  expect(
    control.logged.some((line) => line.includes('a node refused a snapshot') && line.includes('snapshot_inconsistent')),
  ).toBe(true);
});

test('a node reports for itself alone, and in form', async () => {
  await using control = await startControl();
  const { snapshots } = control.asNode('node-1');
  const refusal = async (report: object) => {
    const error = ConnectError.from(await errorOf(snapshots.report(report)));
    return [error.code, error.metadata.get('daypass-error-field')];
  };
  expect(await refusal({ node: 'node-2' })).toEqual([Code.PermissionDenied, 'node']);
  expect(await refusal({ node: 'node-1', digest: 'x' })).toEqual([Code.InvalidArgument, 'digest']);
  expect(await refusal({ node: 'node-1', nackCode: 'A b' })).toEqual([Code.InvalidArgument, 'nack_code']);
  expect(await refusal({ node: 'node-1', version: 2n ** 60n })).toEqual([Code.InvalidArgument, 'version']);
});

test('a node has a few watches at most: one more takes the place of the oldest, whose connection may be lost', async () => {
  await using control = await startControl();
  const begin = async () => {
    const one = watch(control, 'node-1');
    await until(() => one.events.length > 0);
    return one;
  };
  const oldest = control.asNode('node-1').snapshots.watch({})[Symbol.asyncIterator]();
  await oldest.next();
  const ended = errorOf(
    (async () => {
      while ((await oldest.next()).done !== true);
    })(),
  );
  const others = [];
  for (let i = 0; i < 7; i += 1) others.push(await begin());
  const ninth = await begin();
  expect(await ended).toMatchObject({ code: Code.ResourceExhausted });
  for (const one of [...others, ninth]) one.stop();
  await Promise.all([...others, ninth].map(({ done }) => done));
});

test('where all watches are taken, a node that has one already gets in, and another does not', async () => {
  const row = (name: string): NodeRow => ({ ...({} as NodeRow), name, pool: 'default', enrolledAt: 1 });
  const watches = createWatches({ get: async (name) => row(name), ofPool: async () => [] }, 2);
  const enter = (name: string) => watches.enter({ kind: 'node', name, pool: 'default' });
  const [one, two] = [await enter('one'), await enter('two')];
  expect(await errorOf(enter('three'))).toMatchObject({ code: 'overloaded' });
  const again = await enter('one');
  expect([one, two, again].map(({ ended }) => ended.aborted)).toEqual([true, false, false]);
  one[Symbol.dispose]();
  expect(await errorOf(enter('three'))).toMatchObject({ code: 'overloaded' });
  again[Symbol.dispose]();
  expect((await enter('three')).ended.aborted).toBe(false);
});

test('a restart keeps the version, and another issuer or an old manifest makes a new one', async () => {
  let offset = 0;
  const now = () => Date.now() + offset;
  await using control = await startControl({ now });
  const { home } = control;
  await control.admin.services.create({ service: { name: 'a', upstream } });
  const versionOf = async (running: Running) => {
    const { snapshot } = await running.asNode('node-1').snapshots.get({});
    return parseManifest(snapshot?.manifest ?? new Uint8Array());
  };
  const first = await versionOf(control);
  await control.app.close();
  const restart = async (options: Parameters<typeof startControl>[0]) => {
    const running = await startControl({ home, now, ...options });
    const manifest = await versionOf(running);
    await running.app.close();
    return manifest;
  };
  expect(await restart({})).toEqual(first);
  const reissued = await restart({ env: { DAYPASS_ISSUER: 'https://other.test' } });
  expect(reissued.version).toBe(first.version + 1);
  expect((await restart({ env: { DAYPASS_LEASE: '2h', DAYPASS_ISSUER: 'https://other.test' } })).version).toBe(
    first.version + 2,
  );
  offset = 3 * 60 * 60 * 1000;
  // The node's own assertion is of the real time: ask the store by publishing on.
  await using later = await startControl({
    home,
    now,
    env: { DAYPASS_ISSUER: 'https://other.test', DAYPASS_LEASE: '2h' },
  });
  expect(later.logged.length).toBeGreaterThan(0);
  offset = 0;
  expect((await versionOf(later)).version).toBe(first.version + 3);
});

test('a snapshot is signed afresh at a third of its lease', async () => {
  await using control = await startControl({ config: { leaseMs: 3000 } });
  const node = watch(control, 'node-1');
  await until(() => node.snapshots().length >= 3);
  const manifests = node.snapshots().map(({ manifest }) => parseManifest(manifest));
  expect(manifests.every(({ issued_at, expires_at }) => expires_at - issued_at === 3)).toBe(true);
  expect(manifests.map(({ root }) => root)).toEqual(manifests.map(() => manifests[0]?.root));
  node.stop();
  await node.done;
});
