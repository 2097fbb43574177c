// The snapshot agent against a SnapshotService of the test's own: what it serves, refuses, reports and keeps.
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, createClient, createRouterTransport } from '@connectrpc/connect';
import type { ErrorCode } from '@daypass/core/errors';
import { generateSigningKey } from '@daypass/core/key';
import { encodeEntry } from '@daypass/core/snapshot';
import {
  type ReportRequest,
  type Snapshot,
  SnapshotSchema,
  SnapshotService,
  type WatchRequest,
} from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { expect, onTestFinished, test } from 'vitest';
import { type ActiveSnapshot, activate } from '../../../data-plane/active.ts';
import { createSnapshotAgent } from '../../../data-plane/snapshot/agent.ts';
import { createSnapshotFeed } from '../../../data-plane/snapshot/feed.ts';
import { openSnapshotStore, type SnapshotStore } from '../../../data-plane/snapshot/store.ts';
import { DEFAULT_TIMING, type Timing } from '../../../data-plane/snapshot/watch.ts';
import { until } from '../../kit/deadline.ts';
import { freshFolder, memoryLog } from '../audit/records.ts';
import { after, type Change, createFleet, digestOf, FLEET, POOL, sharedMessage } from './fleet.ts';

const fleet = await createFleet();
const stranger = await generateSigningKey();
const TIMING: Timing = { ...DEFAULT_TIMING, firstRetryMs: 5, longestRetryMs: 20 };

type Sent = Snapshot | 'heartbeat' | 'end' | 'error';

/** Sends what is pushed to every stream that is open or opens; a stream that opens gets the newest snapshot first. */
function fakeControlPlane() {
  const reports: ReportRequest[] = [];
  const watches: WatchRequest[] = [];
  const state: { newest: Snapshot | undefined; open: boolean; streams: Set<(sent: Sent) => void> } = {
    newest: undefined,
    open: true,
    streams: new Set(),
  };
  async function* stream(request: WatchRequest, signal: AbortSignal) {
    const queue: Sent[] = [];
    let wake = () => {};
    const push = (sent: Sent) => {
      queue.push(sent);
      wake();
    };
    state.streams.add(push);
    signal.addEventListener('abort', () => push('end'));
    if (state.newest !== undefined && digestOf(state.newest) !== request.digest) push(state.newest);
    else push('heartbeat');
    try {
      for (;;) {
        const sent = queue.shift();
        if (sent === 'end') return;
        if (sent === 'error') throw new ConnectError('broken', Code.Unavailable);
        if (sent === 'heartbeat') yield { event: { case: 'heartbeat', value: { version: 1n } } } as const;
        else if (sent !== undefined) yield { event: { case: 'snapshot', value: sent } } as const;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      state.streams.delete(push);
    }
  }
  const transport = createRouterTransport(({ service }) => {
    service(SnapshotService, {
      watch(request, context) {
        watches.push(request);
        if (!state.open) throw new ConnectError('away', Code.Unavailable);
        return stream(request, context.signal);
      },
      report(request) {
        if (!state.open) throw new ConnectError('away', Code.Unavailable);
        reports.push(request);
        return {};
      },
    });
  });
  return {
    client: createClient(SnapshotService, transport),
    feed: createSnapshotFeed(transport),
    reports,
    watches,
    state,
    push(sent: Sent) {
      if (typeof sent !== 'string') state.newest = sent;
      for (const stream of state.streams) stream(sent);
    },
  };
}

type Setup = {
  readonly control?: ReturnType<typeof fakeControlPlane>;
  readonly folder?: string;
  readonly timing?: Partial<Timing>;
  readonly now?: () => number;
  readonly wrapStore?: (store: SnapshotStore) => SnapshotStore;
};

async function agentOf({ control = fakeControlPlane(), folder = freshFolder(), ...setup }: Setup = {}) {
  const { log, lines } = memoryLog();
  const opened = await openSnapshotStore(folder);
  const store = setup.wrapStore?.(opened) ?? opened;
  let serving: ActiveSnapshot | undefined;
  const agent = createSnapshotAgent({
    client: control.client,
    feed: control.feed,
    store,
    node: 'node-1',
    fleet: FLEET,
    pool: POOL,
    root: fleet.root,
    software: '0.1.0',
    now: setup.now ?? Date.now,
    random: () => 0.5,
    log,
    timing: { ...TIMING, ...setup.timing },
    async install(handover, keep) {
      const next = await activate(handover.lead(serving?.digest), serving);
      await keep();
      serving = next;
    },
  });
  onTestFinished(agent.stop);
  await agent.load();
  return { agent, control, folder, lines, store };
}

const serving = (agent: { current(): { version: number } | undefined }, version: number) =>
  until(`version ${version} is served`, () => agent.current()?.version === version);

test('a snapshot is activated, stored and acknowledged with its digest and lease', async () => {
  const { agent, control, folder } = await agentOf();
  const snapshot = await fleet.snapshot(3);
  control.push(snapshot);
  agent.start();
  await serving(agent, 3);
  const report = await until('it is reported', () => control.reports.at(-1));
  expect(report).toMatchObject({ node: 'node-1', version: 3n, nackCode: '', refusedVersion: 0n, software: '0.1.0' });
  expect(report.digest).toBe(digestOf(snapshot));
  expect(Number(report.leaseExpiresAt?.seconds)).toBe(agent.current()?.expiresAt);
  expect(readdirSync(folder).sort()).toEqual(['floor.json', 'journal.bin', 'last-known-good.bin']);
});

test('every new version on the stream is served at once', async () => {
  const { agent, control } = await agentOf();
  agent.start();
  await until('the stream is open', () => agent.state().connected);
  let last = await fleet.snapshot(1);
  control.push(last);
  for (const version of [2, 3, 4]) {
    last = await fleet.snapshot(version, after(last));
    control.push(last);
    await serving(agent, version);
  }
  await until('the last one is reported', () => control.reports.at(-1)?.version === 4n);
  expect(control.watches).toHaveLength(1);
});

const hour = 3_600;
const seconds = () => Math.floor(Date.now() / 1000);
test.each<[string, ErrorCode, (good: Snapshot) => Change | Promise<Snapshot>]>([
  ['signed by a stranger', 'snapshot_signature_invalid', () => ({ signer: stranger })],
  ['under a root that is not pinned', 'snapshot_signature_invalid', () => ({ root: stranger, signer: stranger })],
  ['under a key for seals', 'snapshot_signature_invalid', () => fleetSealKey()],
  ['of another fleet', 'snapshot_foreign', () => ({ manifest: { fleet: 'urn:daypass:fleet:BBBBBBBBBBBBBBBBBBBBBB' } })],
  ['of another pool', 'snapshot_foreign', () => ({ manifest: { pool: 'other' } })],
  ['expired', 'snapshot_stale', () => ({ manifest: { issued_at: seconds() - 2 * hour, expires_at: seconds() - 1 } })],
  [
    'from the future',
    'snapshot_stale',
    () => ({ manifest: { issued_at: seconds() + hour, expires_at: seconds() + 2 * hour } }),
  ],
  ['in need of an unknown feature', 'snapshot_feature_unknown', () => ({ manifest: { features: ['deltas'] } })],
  ['with other entries than were signed', 'snapshot_root_mismatch', () => ({ manifest: { root: 'ab'.repeat(32) } })],
  ['older', 'snapshot_rollback', () => ({ manifest: { version: 4 } })],
  ['of the active version with other content', 'snapshot_equivocation', () => ({ manifest: { version: 5 } })],
  ['after another past', 'snapshot_equivocation', () => ({ manifest: { previous: 'cd'.repeat(32) } })],
  ['cut', 'snapshot_signature_invalid', async (good) => cut(good)],
  ['without its key', 'snapshot_malformed', async (good) => withoutKey(await fleet.snapshot(6, after(good)))],
  ['with bytes that nobody signed', 'snapshot_malformed', async (good) => padded(await fleet.snapshot(6, after(good)))],
  [
    'with a rule that cannot be read',
    'snapshot_inconsistent',
    () => ({ entries: [encodeEntry('scope', 'github/x', { rules: ['GET'] })] }),
  ],
])('a snapshot %s is refused as %s, reported, and the active one is kept', async (_name, code, change) => {
  const { agent, control, folder, lines } = await agentOf();
  const good = await fleet.snapshot(5);
  control.push(good);
  agent.start();
  await serving(agent, 5);
  const stored = readFileSync(join(folder, 'last-known-good.bin'));
  const wanted = await change(good);
  const bad = '$typeName' in wanted ? wanted : await fleet.snapshot(6, mergeAfter(good, wanted));
  control.push(bad);
  const report = await until('the refusal is reported', () => control.reports.find(({ nackCode }) => nackCode !== ''));
  expect(report).toMatchObject({ nackCode: code, version: 5n, digest: digestOf(good) });
  expect(agent.current()?.digest).toBe(digestOf(good));
  expect(agent.state().refused?.code).toBe(code);
  expect(readFileSync(join(folder, 'last-known-good.bin')).equals(stored)).toBe(true);
  expect(lines.some((line) => line.level === 'error' && line.code === code)).toBe(true);
  const next = await fleet.snapshot(6, after(good));
  control.push(next);
  await serving(agent, 6);
  await until('the refusal is over', () => control.reports.at(-1)?.nackCode === '');
});

const mergeAfter = (good: Snapshot, change: Change): Change => ({
  ...change,
  manifest: { ...after(good).manifest, ...change.manifest },
});

async function fleetSealKey(): Promise<Snapshot> {
  const { generateSealingKey } = await import('@daypass/core/key');
  const sealing = await generateSealingKey();
  return fleet.snapshot(6, { statement: { use: 'seal', kid: sealing.kid, jwk: sealing.publicJwk } });
}

const withoutKey = ({ manifest, signature, entries }: Snapshot): Snapshot =>
  create(SnapshotSchema, { manifest, signature, entries: [...entries] });

const padded = (good: Snapshot): Snapshot => {
  for (const entry of good.entries) entry.$unknown = [{ no: 9, wireType: 2, data: Buffer.alloc(9, 8) }];
  return good;
};

const cut = (good: Snapshot): Snapshot =>
  create(SnapshotSchema, {
    manifest: good.manifest.subarray(0, -1),
    signature: good.signature,
    entries: [...good.entries],
    ...(good.key === undefined ? {} : { key: good.key }),
  });

test('a node without a snapshot refuses an unsigned one and has none still', async () => {
  const { agent, control } = await agentOf();
  control.push(await fleet.snapshot(1, { signer: stranger }));
  agent.start();
  await until('the refusal is reported', () => control.reports.at(-1)?.nackCode === 'snapshot_signature_invalid');
  expect(agent.current()).toBeUndefined();
});

test('a refused newest snapshot is asked for again after a while', async () => {
  const { agent, control } = await agentOf({ timing: { refusedMs: 20 } });
  control.push(await fleet.snapshot(1, { signer: stranger }));
  agent.start();
  await until('the refusal is reported', () => agent.state().refused !== undefined);
  const good = await fleet.snapshot(1);
  control.state.newest = good;
  await serving(agent, 1);
  expect(agent.current()?.digest).toBe(digestOf(good));
});

test('it comes back after the control plane was away, says what it has, and reports again', async () => {
  const { agent, control, lines } = await agentOf();
  const first = await fleet.snapshot(1);
  control.push(first);
  agent.start();
  await serving(agent, 1);
  await until('it is reported', () => control.reports.length > 0);
  control.state.open = false;
  control.push('error');
  await until('it tries again', () => control.watches.length > 5);
  expect(agent.current()?.version).toBe(1);
  expect(agent.state().connected).toBe(false);
  control.reports.length = 0;
  control.state.open = true;
  const report = await until('it reports again', () => control.reports.at(-1));
  expect(report.version).toBe(1n);
  expect(control.watches.at(-1)).toMatchObject({ version: 1n, digest: digestOf(first) });
  expect(lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
});

test('a stream that falls silent is taken for dead', async () => {
  const { agent, control } = await agentOf({ timing: { silenceMs: 50 } });
  control.push(await fleet.snapshot(1));
  agent.start();
  await serving(agent, 1);
  await until('it asks again', () => control.watches.length > 2);
  expect(agent.current()?.version).toBe(1);
});

test('heartbeats keep a stream alive', async () => {
  const { agent, control } = await agentOf({ timing: { silenceMs: 400 } });
  control.push(await fleet.snapshot(1));
  agent.start();
  await serving(agent, 1);
  let beats = 0;
  await until('there were many heartbeats', () => {
    control.push('heartbeat');
    return ++beats > 50;
  });
  expect(control.watches).toHaveLength(1);
});

test('the same snapshot again is acknowledged again, not refused', async () => {
  const { agent, control } = await agentOf();
  const snapshot = await fleet.snapshot(1);
  control.push(snapshot);
  agent.start();
  await until('it is reported', () => control.reports.length > 0);
  control.reports.length = 0;
  control.push(snapshot);
  const report = await until('it is reported again', () => control.reports.at(-1));
  expect(report).toMatchObject({ version: 1n, nackCode: '' });
});

test('a restarted node serves from disk before it reaches the control plane', async () => {
  const folder = freshFolder();
  const first = await agentOf({ folder });
  first.control.push(await fleet.snapshot(7));
  first.agent.start();
  await serving(first.agent, 7);
  await first.agent.stop();
  const { agent } = await agentOf({ folder });
  expect(agent.current()?.version).toBe(7);
});

async function storedHome(version = 7): Promise<{ folder: string; snapshot: Snapshot; path: string }> {
  const folder = freshFolder();
  const store = await openSnapshotStore(folder);
  const snapshot = await fleet.snapshot(version);
  await store.save(sharedMessage(snapshot), { version, digest: digestOf(snapshot) });
  return { folder, snapshot, path: store.path };
}

test.each<[string, ErrorCode, (home: Awaited<ReturnType<typeof storedHome>>) => void | Promise<void>]>([
  ['cut', 'snapshot_malformed', ({ path }) => truncateSync(path, 200)],
  ['empty', 'snapshot_malformed', ({ path }) => truncateSync(path, 0)],
  ['something else', 'snapshot_malformed', ({ path }) => writeFileSync(path, 'not a snapshot')],
  [
    'of another root',
    'snapshot_signature_invalid',
    async ({ folder }) => replaceFile(folder, await fleet.snapshot(7, { root: stranger })),
  ],
  [
    'of another fleet',
    'snapshot_foreign',
    async ({ folder }) =>
      replaceFile(folder, await fleet.snapshot(7, { manifest: { fleet: 'urn:daypass:fleet:BBBBBBBBBBBBBBBBBBBBBB' } })),
  ],
  ['an older one', 'snapshot_rollback', async ({ folder }) => replaceFile(folder, await fleet.snapshot(6))],
  [
    'another of the same version',
    'snapshot_equivocation',
    async ({ folder }) => replaceFile(folder, await fleet.snapshot(7, { manifest: { previous: 'cd'.repeat(32) } })),
  ],
])('a file that is %s is refused at start as %s, kept aside, and healed by the control plane', async (_name, code, spoil) => {
  const home = await storedHome();
  await spoil(home);
  const { agent, control, lines } = await agentOf({ folder: home.folder });
  expect(agent.current()).toBeUndefined();
  const line = lines.find(({ level }) => level === 'error');
  expect(line).toMatchObject({ file: join(home.folder, 'refused.bin'), error: { code } });
  expect(existsSync(home.path)).toBe(false);
  control.push(await fleet.snapshot(8, after(home.snapshot)));
  agent.start();
  await serving(agent, 8);
  expect(existsSync(home.path)).toBe(true);
});

function replaceFile(folder: string, snapshot: Snapshot): void {
  writeFileSync(join(folder, 'last-known-good.bin'), sharedMessage(snapshot));
}

test('a file whose lease has ended is refused and stays where it is', async () => {
  const home = await storedHome();
  const { agent } = await agentOf({ folder: home.folder, now: () => Date.now() + 2 * 3_600_000 });
  expect(agent.current()).toBeUndefined();
  expect(existsSync(home.path)).toBe(true);
});

test('after its file is gone a node takes the same version again, and nothing older or other', async () => {
  const home = await storedHome();
  truncateSync(home.path, 10);
  const { agent, control } = await agentOf({ folder: home.folder });
  control.push(await fleet.snapshot(6));
  agent.start();
  await until('the older one is refused', () => agent.state().refused?.code === 'snapshot_rollback');
  control.push(await fleet.snapshot(7, { manifest: { previous: 'cd'.repeat(32) } }));
  await until('the other one is refused', () => agent.state().refused?.code === 'snapshot_equivocation');
  control.push(home.snapshot);
  await serving(agent, 7);
  expect(agent.current()?.digest).toBe(digestOf(home.snapshot));
});

test('a disk that fails does not keep a snapshot from being served', async () => {
  const wrapStore = (store: SnapshotStore): SnapshotStore => ({
    ...store,
    save: () => Promise.reject(new Error('ENOSPC: no space left on device')),
  });
  const { agent, control, lines } = await agentOf({ wrapStore });
  control.push(await fleet.snapshot(1));
  agent.start();
  await serving(agent, 1);
  expect(lines.some(({ level }) => level === 'error')).toBe(true);
});

test('the floor is never lowered', async () => {
  const { folder } = await storedHome(9);
  const store = await openSnapshotStore(folder);
  const older = await fleet.snapshot(3);
  await store.save(sharedMessage(older), { version: 3, digest: digestOf(older) });
  expect((await openSnapshotStore(folder)).floor()?.version).toBe(9);
});

const GENERATION = { statement: { generation: 1 } } as const;
const FAR = Number.MAX_SAFE_INTEGER;

test('after a fast-forward the next generation of keys is taken, over a start again too, and the one before never', async () => {
  const { agent, control, folder } = await agentOf();
  control.push(await fleet.snapshot(FAR));
  agent.start();
  await serving(agent, FAR);
  const lockedOut = await fleet.snapshot(7);
  control.push(lockedOut);
  await until('it is refused', () => control.reports.at(-1)?.nackCode === 'snapshot_rollback');
  const recovery = await fleet.snapshot(7, GENERATION);
  control.push(recovery);
  await serving(agent, 7);
  expect(JSON.parse(readFileSync(join(folder, 'floor.json'), 'utf8'))).toMatchObject({ version: 7, generation: 1 });
  control.push(await fleet.snapshot(FAR));
  await until('the stolen key is refused', () => control.reports.at(-1)?.nackCode === 'snapshot_key_revoked');
  await agent.stop();

  const again = await agentOf({ folder });
  expect(again.agent.current()).toMatchObject({ version: 7, generation: 1 });
  again.control.push(await fleet.snapshot(8, after(recovery)));
  again.agent.start();
  await until('it is refused', () => again.control.reports.at(-1)?.nackCode === 'snapshot_key_revoked');
  const next = await fleet.snapshot(8, { ...GENERATION, ...after(recovery) });
  again.control.push(next);
  await serving(again.agent, 8);
});

test('a snapshot on disk of a generation before is refused at the start', async () => {
  const { folder } = await storedHome(9);
  writeFileSync(
    join(folder, 'floor.json'),
    JSON.stringify({ v: 1, version: 2, digest: 'ab'.repeat(32), generation: 1 }),
  );
  const { agent, lines } = await agentOf({ folder });
  expect(agent.current()).toBeUndefined();
  expect(JSON.stringify(lines)).toContain('snapshot_key_revoked');
});

test('a node that ended before it raised the floor goes on in the later generation, and takes none of the one before', async () => {
  const { folder } = await storedHome(FAR);
  const recovery = await fleet.snapshot(7, GENERATION);
  const floor = readFileSync(join(folder, 'floor.json'));
  await (await openSnapshotStore(folder)).save(sharedMessage(recovery), {
    version: 7,
    digest: digestOf(recovery),
    generation: 1,
  });
  writeFileSync(join(folder, 'floor.json'), floor);
  const { agent, control } = await agentOf({ folder });
  expect(agent.current()).toMatchObject({ version: 7, generation: 1 });
  control.push(await fleet.snapshot(FAR));
  agent.start();
  await until('it is refused', () => control.reports.at(-1)?.nackCode === 'snapshot_key_revoked');
  control.push(await fleet.snapshot(8, { ...GENERATION, ...after(recovery) }));
  await serving(agent, 8);
});

test.each([
  '',
  '{"v":1,"version":7}',
  '{"v":2,"version":7,"digest":"00"}',
  'x',
])('a floor file of %j stops the start', async (text) => {
  const { folder } = await storedHome();
  writeFileSync(join(folder, 'floor.json'), text);
  await expect(openSnapshotStore(folder)).rejects.toMatchObject({ code: 'config_invalid', field: 'floor.json' });
});
