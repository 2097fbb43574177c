// What a node that takes deltas is sent, over the wire: what changed since what it has, and the whole where that is better.
import { createHash } from 'node:crypto';
import { create, fromBinary, toBinary, toJsonString } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { controlPaths } from '@daypass/core/home';
import { compareEntries, type Entry, merkleRoot, parseManifest } from '@daypass/core/snapshot';
import {
  type Snapshot,
  type SnapshotDelta,
  SnapshotSchema,
  SnapshotService,
  type SnapshotServiceGetResponse,
  SnapshotServiceGetResponseSchema,
  type WatchResponse,
  WatchResponseSchema,
} from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { expect, test } from 'vitest';
import { createNodeFeed } from '../../control-plane/domain/node-feed.ts';
import type { Published } from '../../control-plane/domain/published.ts';
import { createWholeSnapshots } from '../../control-plane/domain/whole-snapshots.ts';
import { toSnapshot } from '../../control-plane/rpc/snapshot-words.ts';
import { openConnection } from '../../control-plane/store/sqlite-connection.ts';
import { service } from '../contract/rows.ts';
import { asNode, makeHome, type Running, startControl, until } from './fixture.ts';
import { openReplica, readHome } from './replica.ts';

const upstream = 'https://api.example.com';
const NOW = { seconds: 0n };
const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** A node's state, changed by what it is sent; throws where that does not fit. */
const createState = () => {
  const entries = new Map<string, Entry>();
  const keyOf = ({ kind, name }: Pick<Entry, 'kind' | 'name'>): string => `${kind} ${name}`;
  let has = { version: 0n, digest: '' };
  const kinds: string[] = [];
  const finish = (manifest: Uint8Array): void => {
    const { root, version } = parseManifest(manifest);
    expect(merkleRoot([...entries.values()], sha256)).toBe(root);
    has = { version: BigInt(version), digest: createHash('sha256').update(manifest).digest('hex') };
  };
  const takeWhole = (snapshot: Snapshot): void => {
    entries.clear();
    for (const entry of snapshot.entries) entries.set(keyOf(entry), entry);
    finish(snapshot.manifest);
  };
  const takeDelta = (delta: SnapshotDelta): void => {
    expect({ version: delta.baseVersion, digest: delta.baseDigest }).toEqual(has);
    expect(delta.changed).toEqual(delta.changed.toSorted(compareEntries));
    expect(delta.removed).toEqual(delta.removed.toSorted(compareEntries));
    for (const entry of delta.changed) {
      expect(entries.get(keyOf(entry))?.content).not.toEqual(entry.content);
      entries.set(keyOf(entry), entry);
    }
    for (const name of delta.removed) expect(entries.delete(keyOf(name))).toBe(true);
    finish(delta.manifest);
  };
  return {
    kinds,
    has: () => ({ ...has, acceptsDelta: true }),
    names: (kind: string) =>
      [...entries.values()]
        .filter((entry) => entry.kind === kind)
        .map(({ name }) => name)
        .sort(),
    take: ({ snapshot, delta }: { snapshot?: Snapshot | undefined; delta?: SnapshotDelta | undefined }): void => {
      kinds.push(snapshot !== undefined ? 'whole' : delta !== undefined ? 'delta' : 'nothing');
      if (snapshot !== undefined) takeWhole(snapshot);
      if (delta !== undefined) takeDelta(delta);
    },
  };
};
type State = ReturnType<typeof createState>;

const follow = (control: Running, state: State, node = 'node-1') => {
  const stop = new AbortController();
  const events: WatchResponse['event'][] = [];
  const done = (async () => {
    try {
      const { snapshots } = control.asNode(node);
      for await (const { event } of snapshots.watch(state.has(), { signal: stop.signal })) {
        events.push(event);
        if (event.case === 'snapshot') state.take({ snapshot: event.value });
        if (event.case === 'delta') state.take({ delta: event.value });
      }
    } catch (error) {
      if (!stop.signal.aborted) throw error;
    }
  })();
  return { events, stop: () => stop.abort(), done };
};

const addServices = async (control: Running, count: number, name = 's'): Promise<void> => {
  for (let i = 0; i < count; i += 1) {
    await control.admin.services.create({ service: { name: `${name}-${i}`, upstream }, wait: NOW });
  }
};
const newest = async (control: Running): Promise<bigint> => {
  const { snapshot } = await control.asNode('node-1').snapshots.get({});
  return BigInt(parseManifest(snapshot?.manifest ?? new Uint8Array()).version);
};

test('a node is led to each new version by what changed, and holds at each what was signed', async () => {
  await using control = await startControl();
  await addServices(control, 6);
  const state = createState();
  const node = follow(control, state);
  await until(() => state.kinds.length === 1);
  const { services, tokens } = control.admin;
  const changes = [
    () => services.create({ service: { name: 'b', upstream }, wait: NOW }),
    () =>
      services.update({
        service: { name: 's-1', maxTtl: { seconds: 60n } },
        updateMask: { paths: ['max_ttl'] },
        wait: NOW,
      }),
    () => services.setScope({ service: 's-2', scope: 'x', rules: { rules: ['GET /a'] }, wait: NOW }),
    () => tokens.revoke({ target: { case: 'cutOff', value: { service: 's-2' } }, wait: NOW }),
    () => services.delete({ name: 's-2', wait: NOW }),
  ];
  for (const change of changes) {
    await change();
    const version = await newest(control);
    await until(() => state.has().version === version);
  }
  expect(state.kinds).toEqual(['whole', 'delta', 'delta', 'delta', 'delta', 'delta']);
  expect(state.names('service')).toEqual(['b', 's-0', 's-1', 's-3', 's-4', 's-5']);
  expect(state.names('scope')).toEqual([]);
  node.stop();
  await node.done;
});

test('a node that comes back is led on from what it has, by one delta however many versions it missed', async () => {
  await using control = await startControl();
  await addServices(control, 8);
  const state = createState();
  const { snapshots } = control.asNode('node-1');
  state.take(await snapshots.get(state.has()));
  for (const name of ['a', 'b', 'c']) await control.admin.services.create({ service: { name, upstream }, wait: NOW });
  await control.admin.services.delete({ name: 'b', wait: NOW });
  state.take(await snapshots.get(state.has()));
  expect(state.names('service').slice(0, 3)).toEqual(['a', 'c', 's-0']);
  state.take(await snapshots.get(state.has()));
  expect(state.kinds).toEqual(['whole', 'delta', 'nothing']);
});

test('one service among many travels in less than 2 KiB', async () => {
  await using control = await startControl();
  await addServices(control, 20);
  const state = createState();
  const node = follow(control, state);
  await until(() => state.kinds.length === 1);
  await control.admin.services.create({ service: { name: 'one-more', upstream }, wait: NOW });
  await until(() => state.kinds.length === 2);
  const event = node.events.find(({ case: kind }) => kind === 'delta');
  const bytes = toBinary(WatchResponseSchema, create(WatchResponseSchema, { event: event ?? { case: undefined } }));
  expect(bytes.length).toBeGreaterThan(500);
  expect(bytes.length).toBeLessThan(2048);
  node.stop();
  await node.done;
});

test.each<[string, (has: { version: bigint; digest: string }) => object]>([
  ['takes no deltas', (has) => ({ ...has, acceptsDelta: false })],
  ['has another past', (has) => ({ ...has, digest: 'f'.repeat(64), acceptsDelta: true })],
  ['has a version that is not known', (has) => ({ ...has, version: 0n, digest: 'f'.repeat(64), acceptsDelta: true })],
  ['has nothing', () => ({ acceptsDelta: true })],
])('a node that %s is sent the whole', async (_, claim) => {
  await using control = await startControl();
  await addServices(control, 8);
  const state = createState();
  state.take(await control.asNode('node-1').snapshots.get({}));
  await control.admin.services.create({ service: { name: 'a', upstream }, wait: NOW });
  const answer = await control.asNode('node-1').snapshots.get(claim(state.has()));
  expect([answer.snapshot === undefined, answer.delta]).toEqual([false, undefined]);
});

test('a node whose state was published by a release that kept no entries is sent the whole', async () => {
  await using control = await startControl();
  await addServices(control, 8);
  const state = createState();
  state.take(await control.asNode('node-1').snapshots.get({}));
  await control.admin.services.create({ service: { name: 'a', upstream }, wait: NOW });
  await control.admin.services.create({ service: { name: 'b', upstream }, wait: NOW });
  const connection = await openConnection(controlPaths(control.home.path).database);
  await connection.run(`update snapshots set signature = null where version = ${state.has().version}`);
  await connection.close();
  const answer = await control.asNode('node-1').snapshots.get(state.has());
  expect([answer.snapshot === undefined, answer.delta]).toEqual([false, undefined]);
});

test('where most has changed, the whole is sent', async () => {
  await using control = await startControl();
  await addServices(control, 4);
  const state = createState();
  state.take(await control.asNode('node-1').snapshots.get({}));
  await addServices(control, 12, 't');
  state.take(await control.asNode('node-1').snapshots.get(state.has()));
  expect(state.kinds).toEqual(['whole', 'whole']);
});

test('a node that is ahead of what all control planes know is sent the newest once, and refuses it or recovers by it', async () => {
  await using control = await startControl();
  const version = (await newest(control)) + 5n;
  const has = { version, digest: 'a'.repeat(64), acceptsDelta: true };
  const { snapshots } = control.asNode('node-1');
  const answer = await snapshots.get(has);
  expect([answer.snapshot === undefined, answer.delta]).toEqual([false, undefined]);
  const state = createState();
  const stop = new AbortController();
  const seen: (string | undefined)[] = [];
  const watching = (async () => {
    for await (const { event } of snapshots.watch(has, { signal: stop.signal })) seen.push(event.case);
  })().catch(() => {});
  await until(() => seen.length === 2);
  expect(seen).toEqual(['snapshot', 'heartbeat']);
  state.take(answer);
  expect(state.has().version).toBeLessThan(version);
  stop.abort();
  await watching;
});

test('a node that is ahead of a control plane whose database does not answer is sent nothing older', async () => {
  const key = { statement: new Uint8Array(), signature: new Uint8Array() };
  const signed = { manifest: new Uint8Array(), entries: [], key, signature: new Uint8Array() };
  const times = { issuedAt: 0, expiresAt: 0 };
  const published = { pool: 'p', version: 4, digest: 'd', ...times, snapshot: signed, size: { entries: 0, bytes: 0 } };
  const failing = () => Promise.reject(new Error('the database is gone'));
  const silent = () => new Promise<never>(() => {});
  for (const learn of [failing, silent]) {
    const feed = createNodeFeed({ current: () => published, delta: failing, learn });
    expect(await feed.next({ name: 'n', pool: 'p' }, { version: 5, digest: 'e', acceptsDelta: true })).toBeUndefined();
  }
  // What is newer goes out all the same, whole where nobody can say what changed.
  for (const delta of [failing, silent]) {
    const feed = createNodeFeed({ current: () => published, delta, learn: failing });
    const event = await feed.next({ name: 'n', pool: 'p' }, { version: 3, digest: 'c', acceptsDelta: true });
    expect(event).toEqual({ kind: 'snapshot', published });
  }
});

test('a node that hops between two control planes is never sent anything older, also by the one that is behind', async () => {
  await using a = await startControl();
  await using b = await startControl({ home: a.home });
  await addServices(a, 8);
  const state = createState();
  state.take(await a.asNode('node-1').snapshots.get({}));
  await b.admin.services.create({ service: { name: 'from-b', upstream }, wait: NOW });
  // Published at b: a learns of it from the node that comes from there.
  state.take(await b.asNode('node-1').snapshots.get(state.has()));
  const answer = await a.asNode('node-1').snapshots.get(state.has());
  expect([answer.snapshot, answer.delta]).toEqual([undefined, undefined]);
  expect(await newest(a)).toBe(state.has().version);
  await a.admin.services.create({ service: { name: 'from-a', upstream }, wait: NOW });
  state.take(await a.asNode('node-1').snapshots.get(state.has()));
  const node = follow(b, state);
  await until(() => node.events.length === 1);
  expect(node.events[0]?.case).toBe('heartbeat');
  expect(state.kinds).toEqual(['whole', 'delta', 'delta']);
  expect(state.names('service').slice(0, 2)).toEqual(['from-a', 'from-b']);
  node.stop();
  await node.done;
});

test('a large delta and a large whole come in one piece each', async () => {
  const home = await makeHome();
  try {
    const replica = await openReplica(await readHome(home), `sqlite:${controlPaths(home.path).database}`);
    const names = Array.from({ length: 3000 }, (_, i) => `s-${String(i).padStart(4, '0')}`);
    const first = await replica.change(async (tx) => {
      for (const name of names) await tx.services.insert(row(name));
    });
    await replica.change(async (tx) => {
      for (const name of names.slice(0, 700)) await tx.services.delete(name);
      for (const name of names.slice(700, 1400)) await tx.services.replace(row(name, 'new'));
    });
    await replica.store.close();
    await using control = await startControl({ home });
    const { snapshots } = control.asNode('node-1');
    const [old, state] = [createState(), createState()];
    old.take({ snapshot: await wholeOf(first) });
    old.take(await snapshots.get(old.has()));
    state.take(await snapshots.get({}));
    expect([old.kinds, state.kinds]).toEqual([['whole', 'delta'], ['whole']]);
    expect(old.has()).toEqual(state.has());
    expect(state.names('service')).toHaveLength(2300);
  } finally {
    await home.remove();
  }
});

const row = (name: string, sealedCredential = 'old') => service(name, { credentialId: ID, sealedCredential });
const ID = '0123456789abcdef0123456789abcdef';
const wholeOf = async (published: Published): Promise<Snapshot> =>
  fromBinary(SnapshotSchema, toBinary(SnapshotSchema, create(SnapshotSchema, toSnapshot(published))));

test('JSON says the same as the binary form', async () => {
  await using control = await startControl();
  await addServices(control, 8);
  const clientOf = (useBinaryFormat: boolean) => {
    const interceptors = [asNode(control.home, 'node-1')];
    return createClient(
      SnapshotService,
      createConnectTransport({ baseUrl: control.url, httpVersion: '1.1', useBinaryFormat, interceptors }),
    );
  };
  const textOf = (answer: SnapshotServiceGetResponse) => toJsonString(SnapshotServiceGetResponseSchema, answer);
  const [binary, json] = [clientOf(true), clientOf(false)];
  const state = createState();
  const whole = await json.get({});
  expect(textOf(whole)).toEqual(textOf(await binary.get({})));
  state.take(whole);
  await control.admin.services.create({ service: { name: 'a', upstream }, wait: NOW });
  const delta = await json.get(state.has());
  expect(textOf(delta)).toEqual(textOf(await binary.get(state.has())));
  const stop = new AbortController();
  const first = async (client: typeof json, has: object) => {
    for await (const message of client.watch(has, { signal: stop.signal }))
      return toJsonString(WatchResponseSchema, message);
    return undefined;
  };
  for (const has of [{}, state.has()]) expect(await first(json, has)).toEqual(await first(binary, has));
  state.take(delta);
  expect(state.kinds).toEqual(['whole', 'delta']);
});

const MIB = 1024 * 1024;

test('whole snapshots on their way are bounded, by node and in all, and who was turned away is called', () => {
  let freed = 0;
  const wholes = createWholeSnapshots(() => {
    freed += 1;
  }, 60_000);
  const [first, second] = [wholes.enter('a', MIB), wholes.enter('a', MIB)];
  expect([first, second]).not.toContain(undefined);
  expect(wholes.enter('a', MIB)).toBeUndefined();
  expect(() => wholes.pass('a', MIB)).toThrow(expect.objectContaining({ code: 'overloaded' }));
  // Small ones are not counted.
  for (let i = 0; i < 3; i += 1) expect(wholes.enter('a', 1000)).toBeDefined();
  first?.[Symbol.dispose]();
  expect(freed).toBe(1);
  second?.[Symbol.dispose]();
  expect(freed).toBe(1);
  // One goes, however large it is; the next one waits.
  const large = wholes.enter('b', 1024 * MIB);
  expect(large).toBeDefined();
  expect(wholes.enter('c', MIB)).toBeUndefined();
  large?.[Symbol.dispose]();
  expect(freed).toBe(2);
  expect(wholes.enter('c', MIB)).toBeDefined();
  expect(() => wholes.pass('d', MIB)).not.toThrow();
});
