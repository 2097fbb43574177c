// Deltas on a node: what they lead to, what is refused of them, and what is on disk after each.
import { appendFileSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect';
import type { ErrorCode } from '@daypass/core/errors';
import { encodeEntry } from '@daypass/core/snapshot';
import {
  type ReportRequest,
  type SnapshotDelta,
  SnapshotDeltaSchema,
  type SnapshotEntry,
  SnapshotSchema,
  SnapshotService,
} from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { expect, onTestFinished, test } from 'vitest';
import { type ActiveSnapshot, activate } from '../../../data-plane/active.ts';
import { createSnapshotAgent } from '../../../data-plane/snapshot/agent.ts';
import { nameAt } from '../../../data-plane/snapshot/entry-table.ts';
import { createSnapshotFeed } from '../../../data-plane/snapshot/feed.ts';
import { createHaste } from '../../../data-plane/snapshot/pace.ts';
import { gather, sha256, verifyStep, verifyWhole } from '../../../data-plane/snapshot/standing.ts';
import { openSnapshotStore, type SnapshotStore } from '../../../data-plane/snapshot/store.ts';
import { DEFAULT_TIMING, type Timing } from '../../../data-plane/snapshot/watch.ts';
import { until } from '../../kit/deadline.ts';
import { freshFolder, memoryLog } from '../audit/records.ts';
import { type Chain, createChain, gone, serviceEntry } from './chain.ts';
import { createFleet, FLEET, POOL, sharedMessage } from './fleet.ts';

const fleet = await createFleet();
const TIMING: Timing = { ...DEFAULT_TIMING, firstRetryMs: 5, longestRetryMs: 20, pollMs: 10, refusedMs: 50 };
const entries = ['a', 'b', 'c'].map((name) => serviceEntry(name));

/** A control plane that sends wholes to those it knows nothing of, and then what is pushed; streams may be cut. */
function controlPlane(chain: Chain) {
  const asked: { readonly version: bigint; readonly acceptsDelta: boolean; readonly by: 'watch' | 'get' }[] = [];
  const reports: ReportRequest[] = [];
  const pushes = new Set<(delta: SnapshotDelta) => void>();
  const state = { cutsStreams: false, answersGet: true };
  async function* stream(digest: string, signal: AbortSignal) {
    if (state.cutsStreams) throw new ConnectError('cut', Code.Unavailable);
    const queue: SnapshotDelta[] = [];
    let wake = (): void => {};
    const push = (delta: SnapshotDelta): void => {
      queue.push(delta);
      wake();
    };
    pushes.add(push);
    signal.addEventListener('abort', () => wake());
    yield digest === chain.digest()
      ? ({ event: { case: 'heartbeat', value: { version: 1n } } } as const)
      : ({ event: { case: 'snapshot', value: chain.whole() } } as const);
    while (!signal.aborted && !state.cutsStreams) {
      const delta = queue.shift();
      if (delta !== undefined) yield { event: { case: 'delta', value: delta } } as const;
      else await new Promise<void>((resolve) => (wake = resolve));
    }
    pushes.delete(push);
    if (state.cutsStreams) throw new ConnectError('cut', Code.Unavailable);
  }
  const transport = createRouterTransport(({ service }) => {
    service(SnapshotService, {
      watch({ version, digest, acceptsDelta }, { signal }) {
        asked.push({ version, acceptsDelta, by: 'watch' });
        return stream(digest, signal);
      },
      get({ version, digest, acceptsDelta }) {
        asked.push({ version, acceptsDelta, by: 'get' });
        if (!state.answersGet) throw new ConnectError('away', Code.Unavailable);
        return digest === chain.digest() ? {} : { snapshot: chain.whole() };
      },
      report(request) {
        reports.push(request);
        return {};
      },
    });
  });
  return {
    asked,
    reports,
    state,
    transport,
    push: (delta: SnapshotDelta) => {
      for (const push of pushes) push(delta);
    },
    cut(): void {
      state.cutsStreams = true;
      for (const push of pushes) push(create(SnapshotDeltaSchema, {}));
    },
  };
}

type Setup = {
  readonly folder?: string;
  readonly wrapStore?: (store: SnapshotStore) => SnapshotStore;
  readonly timing?: Partial<Timing>;
};

async function nodeOf(chain: Chain, { folder = freshFolder(), wrapStore = (store) => store, timing }: Setup = {}) {
  const control = controlPlane(chain);
  const { log, lines } = memoryLog();
  const store = wrapStore(await openSnapshotStore(folder));
  const served: { now: ActiveSnapshot | undefined; steps: number } = { now: undefined, steps: 0 };
  const agent = createSnapshotAgent({
    ...{ node: 'node-1', fleet: FLEET, pool: POOL, root: fleet.root, software: '0.1.0', now: Date.now, log, store },
    feed: createSnapshotFeed(control.transport),
    client: createClient(SnapshotService, control.transport),
    random: () => 0.5,
    timing: { ...TIMING, ...timing },
    async install(handover, keep) {
      const lead = handover.lead(served.now?.digest);
      const next = await activate(lead, served.now);
      await keep();
      served.now = next;
      served.steps += Number('delta' in lead);
    },
  });
  onTestFinished(agent.stop);
  await agent.load();
  const at = (version: number) =>
    until(`version ${version} is served`, () => agent.state().version === version && served.now?.version === version);
  return { agent, control, folder, lines, store, served, at };
}

async function started(setup: Setup = {}) {
  const chain = await createChain(fleet, entries);
  const node = await nodeOf(chain, setup);
  node.agent.start();
  await node.at(1);
  return { ...node, chain };
}

test('a delta is served, kept in the journal and acknowledged; the next start takes it from there', async () => {
  const { chain, control, folder, served, at, agent } = await started();
  const base = readFileSync(join(folder, 'last-known-good.bin'));
  control.push(await chain.next([serviceEntry('a', { anonymous: true }), serviceEntry('d'), gone(serviceEntry('b'))]));
  await at(2);
  control.push(await chain.next([encodeEntry('scope', 'd/x', { rules: ['GET /x'] })]));
  await at(3);
  expect(served.steps).toBe(2);
  const names = ['a', 'b', 'c', 'd'].map((name) => served.now?.services.get(name)?.config.anonymous);
  expect(names).toEqual([true, undefined, false, false]);
  expect(served.now?.services.get('d')?.scopes.size).toBe(1);
  expect(readFileSync(join(folder, 'last-known-good.bin')).equals(base)).toBe(true);
  await until('it is acknowledged', () => control.reports.at(-1)?.version === 3n);
  expect(control.reports.at(-1)?.digest).toBe(chain.digest());
  expect(control.asked).toEqual([{ version: 0n, acceptsDelta: true, by: 'watch' }]);
  await agent.stop();
  const again = await nodeOf(chain, { folder });
  await again.at(3);
  expect(again.served.now?.digest).toBe(chain.digest());
  expect(again.served.now?.services.get('a')?.config.anonymous).toBe(true);
  expect([again.served.now?.services.has('b'), again.served.now?.services.has('d')]).toEqual([false, true]);
});

/** In an entry they would be kept, and written on, with what was signed. */
function unsigned(entry: SnapshotEntry | undefined): void {
  if (entry !== undefined) entry.$unknown = [{ no: 9, wireType: 2, data: Buffer.alloc(9, 8) }];
}

const spoiled: readonly [string, ErrorCode, (delta: SnapshotDelta) => void][] = [
  ['from another snapshot', 'snapshot_base_unknown', (delta) => (delta.baseDigest = 'ab'.repeat(32))],
  ['with a change left out', 'snapshot_root_mismatch', (delta) => delta.changed.pop()],
  ['with another signature', 'snapshot_signature_invalid', (delta) => (delta.signature = new Uint8Array(64))],
  ['without its key', 'snapshot_malformed', (delta) => delete delta.key],
  ['with bytes that nobody signed', 'snapshot_malformed', ({ changed }) => unsigned(changed[0])],
];
test.each(spoiled)('a delta %s is refused as %s, and a whole snapshot is asked for', async (_name, code, spoil) => {
  const { chain, control, served, at } = await started();
  const delta = await chain.next([serviceEntry('a', { anonymous: true }), serviceEntry('d')]);
  spoil(delta);
  control.push(delta);
  await at(2);
  const refusal = await until('it is reported', () => control.reports.find(({ nackCode }) => nackCode !== ''));
  expect(refusal).toMatchObject({ nackCode: code, version: 1n, refusedVersion: 2n });
  expect(control.asked.map(({ acceptsDelta }) => acceptsDelta)).toContain(false);
  expect(served.now?.services.get('a')?.config.anonymous).toBe(true);
  await until('deltas are asked for again', () => control.asked.at(-1)?.acceptsDelta === true);
  await until('the refusal is over', () => control.reports.at(-1)?.nackCode === '');
  control.push(await chain.next([serviceEntry('e')]));
  await at(3);
});

test('a delta that cannot be served is refused, what was served goes on, and the next whole one heals it', async () => {
  const { chain, control, served, at } = await started({ timing: { refusedMs: 20 } });
  control.push(await chain.next([serviceEntry('a', { set_headers: { 'Content-Length': '1' } })]));
  await until('it is refused', () => control.reports.some(({ nackCode }) => nackCode === 'snapshot_inconsistent'));
  expect(served.now?.version).toBe(1);
  await chain.next([serviceEntry('a', { anonymous: true })]);
  await at(3);
  expect(served.now?.services.get('a')?.config.anonymous).toBe(true);
});

/** A home with a base and two deltas. */
async function storedHome() {
  const { chain, control, folder, at, agent } = await started();
  const ends = [0];
  for (const version of [2, 3]) {
    control.push(await chain.next([serviceEntry('a', { base_path: `/v${version}` })]));
    await at(version);
    await until('it is acknowledged', () => control.reports.at(-1)?.version === BigInt(version));
    ends.push(statSync(join(folder, 'journal.bin')).size);
  }
  await agent.stop();
  return { chain, folder, journal: join(folder, 'journal.bin'), ends };
}

test('a torn end of the journal is no delta, and what comes next is kept behind the last whole one', async () => {
  const { chain, folder, journal } = await storedHome();
  appendFileSync(journal, Buffer.concat([Buffer.from([0, 0, 4, 0]), Buffer.alloc(500, 7)]));
  const node = await nodeOf(chain, { folder });
  await node.at(3);
  node.agent.start();
  await until('the stream is open', () => node.agent.state().connected);
  node.control.push(await chain.next([serviceEntry('f')]));
  await node.at(4);
  await node.agent.stop();
  const { agent } = await nodeOf(chain, { folder });
  expect(agent.current()?.digest).toBe(chain.digest());
});

test('a journal that was rolled back, or changed, is refused by the floor', async () => {
  const { chain, folder, journal, ends } = await storedHome();
  const whole = readFileSync(journal);
  truncateSync(journal, ends[1] ?? 0);
  expect((await nodeOf(chain, { folder })).agent.current()).toBeUndefined();
  const other = await storedHome();
  whole[(ends[1] ?? 0) + 60] = 0xff;
  writeFileSync(other.journal, whole);
  expect((await nodeOf(other.chain, { folder: other.folder })).agent.current()).toBeUndefined();
});

test('a journal of deltas that were left behind by a newer snapshot leads nowhere', async () => {
  const { chain, folder, journal } = await storedHome();
  const old = readFileSync(journal);
  const store = await openSnapshotStore(folder);
  await store.save(toBinary(SnapshotSchema, chain.whole()), { version: 3, digest: chain.digest() });
  writeFileSync(journal, old);
  const { agent } = await nodeOf(chain, { folder });
  expect(agent.current()?.digest).toBe(chain.digest());
});

test('when much has changed, all is written into one message, and what comes meanwhile is kept', async () => {
  const { chain, control, folder, served, at, agent } = await started();
  const before = statSync(join(folder, 'last-known-good.bin')).size;
  for (let version = 2; version <= 12; version += 1) {
    control.push(await chain.next([serviceEntry('large', {}, 150_000 + version), serviceEntry(`s${version}`)]));
    await at(version);
  }
  await until('it was rewritten', () => statSync(join(folder, 'last-known-good.bin')).size > before + 150_000);
  await until('the journal is short', () => statSync(join(folder, 'journal.bin')).size < 1_000_000);
  expect(Array.from({ length: 11 }, (_, at) => served.now?.services.has(`s${at + 2}`))).not.toContain(false);
  control.push(await chain.next([serviceEntry('last')]));
  await at(13);
  await until('it is acknowledged', () => control.reports.at(-1)?.version === 13n);
  await agent.stop();
  fromBinary(SnapshotSchema, readFileSync(join(folder, 'last-known-good.bin')));
  const again = await nodeOf(chain, { folder });
  await again.at(13);
  expect(again.served.now?.digest).toBe(chain.digest());
  expect([again.served.now?.services.has('s2'), again.served.now?.services.has('last')]).toEqual([true, true]);
});

test('after a write has failed nothing is appended behind the gap: all is written anew', async () => {
  let failing = false;
  const wrapStore = (store: SnapshotStore): SnapshotStore => ({
    ...store,
    isBroken: () => failing || store.isBroken(),
    append: (...delta) => (failing ? Promise.reject(new Error('ENOSPC')) : store.append(...delta)),
    async save(...whole) {
      await store.save(...whole);
      failing = false;
    },
  });
  const { chain, control, folder, served, at, agent } = await started({ wrapStore });
  failing = true;
  control.push(await chain.next([serviceEntry('a', { anonymous: true })]));
  await at(2);
  expect(served.now?.services.get('a')?.config.anonymous).toBe(true);
  await until('it was written anew', () => !failing);
  await agent.stop();
  const again = await nodeOf(chain, { folder });
  await again.at(2);
  expect(again.served.now?.services.get('a')?.config.anonymous).toBe(true);
});

test('where streams are cut the node asks again and again, says so, and goes back to a stream that lives', async () => {
  const { chain, control, at, agent, lines } = await started({ timing: { pollingMs: 60, longestPollingMs: 60 } });
  control.cut();
  await until('it asks', () => agent.state().polling);
  await chain.next([serviceEntry('d')]);
  await at(2);
  await until('it is acknowledged', () => control.reports.at(-1)?.version === 2n);
  expect(lines.some(({ message }) => String(message).startsWith('streams of snapshots are cut'))).toBe(true);
  control.state.cutsStreams = false;
  await until('it watches again', () => agent.state().connected && !agent.state().polling);
  const count = control.asked.length;
  control.push(await chain.next([serviceEntry('e')]));
  await at(3);
  expect(control.asked).toHaveLength(count);
});

test('a control plane that is away is not asked as if only its streams were cut', async () => {
  const { control, agent } = await started();
  control.state.answersGet = false;
  control.cut();
  await until('it has tried', () => control.asked.filter(({ by }) => by === 'get').length > 3);
  expect(agent.state()).toMatchObject({ polling: false, connected: false, version: 1 });
});

test.each([
  1,
  2 ** 21 - 1,
  2 ** 22 + 1,
  2 ** 40 + 1,
])('after %d messages entries are found as after the first', async (first) => {
  const chain = await createChain(fleet, entries);
  let number = first - 1;
  const next = () => (number += 1);
  const trust = () => ({ root: fleet.root, fleet: FLEET, pool: POOL, floor: 0, now: Date.now() / 1000, sha256 });
  const base = (await verifyWhole(sharedMessage(chain.whole()), trust, next, createHaste(), undefined)).take();
  const changes = [serviceEntry('a', { anonymous: true }), serviceEntry('d'), gone(serviceEntry('b'))];
  const delta = Buffer.from(toBinary(SnapshotDeltaSchema, await chain.next(changes)));
  const active = { version: 1, digest: base.whole.head.digest };
  const { table, whole } = (await verifyStep(delta, () => ({ ...trust(), active }), next, base)).take();
  const names = [...table.order.keys()].map((index) => nameAt(table, index).name);
  expect(names).toEqual(['a', 'c', 'd']);
  const { services } = await activate(whole);
  expect(names.map((name) => services.get(name)?.config.anonymous)).toEqual([true, false, false]);
  const gathered = (await gather({ table, whole, signed: base.signed }, next, createHaste())).take();
  expect([...gathered.table.order.keys()].map((index) => nameAt(gathered.table, index).name)).toEqual(names);
});
