// A node with several control planes, over real sockets: one that dies, refuses, freezes or goes away is left for the next.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { clientsOver, createTransport } from '@daypass/sdk/client';
import { AuditService } from '@daypass/sdk/gen/daypass/v1/audit_pb';
import { type Snapshot, SnapshotService } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { expect, onTestFinished, test } from 'vitest';
import { createControlPlanes } from '../../data-plane/control-planes.ts';
import { patientFetch } from '../../data-plane/patient-fetch.ts';
import { createSnapshotAgent } from '../../data-plane/snapshot/agent.ts';
import { createSnapshotFeed } from '../../data-plane/snapshot/feed.ts';
import { openSnapshotStore } from '../../data-plane/snapshot/store.ts';
import { streamTransport } from '../../data-plane/snapshot/stream-transport.ts';
import { until, within } from '../kit/deadline.ts';
import { freshFolder, memoryLog } from './audit/records.ts';
import { after, createFleet, FLEET, POOL } from './snapshot/fleet.ts';

const fleet = await createFleet();

/** What all control planes of a test share, as they share a database. */
function sharedState() {
  const changed = new Set<() => void>();
  let newest: Snapshot | undefined;
  return {
    newest: () => newest,
    publish(snapshot: Snapshot) {
      newest = snapshot;
      for (const wake of changed) wake();
    },
    changed,
  };
}

type Mode = 'sound' | 'frozen' | 'unavailable' | 'unauthenticated' | 'refuses';

/** A control plane on a port of its own that can die, come back at the same port, and misbehave. */
async function controlPlane(state = sharedState()) {
  const calls: string[] = [];
  const tokens: string[] = [];
  const mode: { now: Mode } = { now: 'sound' };
  let watches = 0;
  const note = (name: string, header: Headers): void => {
    calls.push(name);
    tokens.push(header.get('authorization') ?? '');
  };
  const behave = async (name: string, header: Headers, signal: AbortSignal): Promise<void> => {
    note(name, header);
    if (mode.now === 'unavailable') throw new ConnectError('away', Code.Unavailable);
    if (mode.now === 'unauthenticated') throw new ConnectError('who?', Code.Unauthenticated);
    if (mode.now === 'refuses') throw new ConnectError('no', Code.PermissionDenied);
    if (mode.now === 'frozen') await aborted(signal);
  };
  async function* watch(header: Headers, signal: AbortSignal) {
    await behave('watch', header, signal);
    let sent: Snapshot | undefined;
    watches += 1;
    try {
      while (!signal.aborted) {
        const change = Promise.withResolvers<void>();
        state.changed.add(change.resolve);
        const newest = state.newest();
        if (mode.now === 'frozen') await aborted(signal);
        if (newest !== undefined && newest !== sent) {
          sent = newest;
          yield { event: { case: 'snapshot' as const, value: newest } };
        } else yield { event: { case: 'heartbeat' as const, value: { version: 1n } } };
        await Promise.race([change.promise, aborted(signal), heartbeat()]);
        state.changed.delete(change.resolve);
      }
    } finally {
      watches -= 1;
    }
  }
  const handler = connectNodeAdapter({
    routes: ({ service }) => {
      service(SnapshotService, {
        watch: (_request, { requestHeader, signal }) => watch(requestHeader, signal),
        async get(_request, { requestHeader, signal }) {
          await behave('get', requestHeader, signal);
          return {};
        },
        async report(_request, { requestHeader, signal }) {
          await behave('report', requestHeader, signal);
          return {};
        },
      });
      service(AuditService, {
        async ingest(_request, { requestHeader, signal }) {
          await behave('ingest', requestHeader, signal);
          return { storedSeq: 1n };
        },
      });
    },
  });
  let server: Server;
  let port = 0;
  const start = async () => {
    server = createServer(handler);
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
  };
  const kill = async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    server.closeAllConnections();
    await closed;
  };
  await start();
  onTestFinished(kill);
  return { url: `http://127.0.0.1:${port}`, calls, tokens, mode, watching: () => watches, start, kill };
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** A beat, well within the silence that the tests bear. */
const heartbeat = (): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, 50).unref();
  });

type Plane = Awaited<ReturnType<typeof controlPlane>>;

/** A node's way to control planes, the first of them first. */
function wayTo(planes: readonly Pick<Plane, 'url'>[], silenceMs = 1_000) {
  const { log, lines } = memoryLog();
  let assertions = 0;
  const fetch = patientFetch(globalThis.fetch, silenceMs);
  const authorization = () => {
    assertions += 1;
    return `Bearer ${assertions}`;
  };
  const connect = (baseUrl: string): Transport => {
    const calls = createTransport({ baseUrl, authorization, fetch });
    return streamTransport(calls, {
      baseUrl,
      authorization: async () => authorization(),
      fetch,
      bytesMax: 1024 * 1024,
    });
  };
  const origins = planes.map(({ url }) => url);
  // Near 1, nothing is shuffled.
  const transport = createControlPlanes({ origins, connect, random: () => 0.999, log });
  return { clients: clientsOver(transport), transport, lines };
}

async function nodeAt({ clients, transport }: ReturnType<typeof wayTo>) {
  const agent = createSnapshotAgent({
    ...{ node: 'node-1', fleet: FLEET, pool: POOL, root: fleet.root, software: '0.1.0' },
    client: clients.snapshots,
    feed: createSnapshotFeed(transport),
    store: await openSnapshotStore(freshFolder()),
    now: Date.now,
    random: Math.random,
    log: memoryLog().log,
    install: (_handover, keep) => keep(),
  });
  onTestFinished(agent.stop);
  await agent.load();
  agent.start();
  return agent;
}

test('one of two is killed, again and again: the next change is active, reported and uploaded in under a second', async () => {
  const state = sharedState();
  const [first, second] = [await controlPlane(state), await controlPlane(state)];
  const planes = [first, second];
  const way = wayTo(planes);
  const { clients } = way;
  let newest = await fleet.snapshot(1);
  state.publish(newest);
  const agent = await nodeAt(way);
  await until('the first is active', () => agent.current()?.version === 1);
  const took: number[] = [];
  for (let round = 2; round <= 5; round += 1) {
    const dying = await until('one is watched', () => planes.find(({ watching }) => watching() > 0));
    const other = dying === first ? second : first;
    newest = await fleet.snapshot(round, after(newest));
    const before = other.calls.length;
    const began = performance.now();
    await dying.kill();
    state.publish(newest);
    await until(`version ${round} is active`, () => agent.current()?.version === round);
    await clients.audit.ingest({ node: 'node-1', firstSeq: 1n });
    await until('it is reported', () => other.calls.slice(before).includes('report'));
    took.push(performance.now() - began);
    expect(other.calls.slice(before)).toContain('ingest');
    await dying.start();
  }
  // On a machine that does much else one may take longer.
  expect(Math.min(...took)).toBeLessThan(1_000);
});

test.each([
  'unavailable',
  'unauthenticated',
  'refused connection',
] as const)('a call that meets %s is made again at the next at once, with another assertion, and nobody goes back', async (what) => {
  const [first, second] = [await controlPlane(), await controlPlane()];
  if (what !== 'refused connection') first.mode.now = what;
  else await first.kill();
  const { clients } = wayTo([first, second]);
  await clients.audit.ingest({ node: 'node-1', firstSeq: 1n });
  expect(second.calls).toEqual(['ingest']);
  expect(second.tokens).toEqual(['Bearer 2']);
  if (what !== 'refused connection') first.mode.now = 'sound';
  else await first.start();
  await clients.snapshots.report({ node: 'node-1' });
  expect(second.calls).toEqual(['ingest', 'report']);
});

test('an answer that is about the call itself is taken as it is, and the next is not asked', async () => {
  const [first, second] = [await controlPlane(), await controlPlane()];
  first.mode.now = 'refuses';
  const { clients } = wayTo([first, second]);
  const call = clients.snapshots.report({ node: 'node-1' });
  await expect(call).rejects.toMatchObject({ code: Code.PermissionDenied });
  expect([first.calls, second.calls]).toEqual([['report'], []]);
});

test('where none answers each is asked once, and the last error is what is thrown', async () => {
  const planes = [await controlPlane(), await controlPlane(), await controlPlane()];
  for (const { mode } of planes) mode.now = 'unavailable';
  const { clients } = wayTo(planes);
  await expect(clients.snapshots.report({ node: 'node-1' })).rejects.toMatchObject({ code: Code.Unavailable });
  expect(planes.map(({ calls }) => calls.length)).toEqual([1, 1, 1]);
  for (const { mode } of planes) mode.now = 'sound';
  await expect(clients.snapshots.report({ node: 'node-1' })).resolves.toBeDefined();
});

test('one that freezes in the middle of its stream is left within the silence that is borne, by calls under way too', async () => {
  const state = sharedState();
  const [first, second] = [await controlPlane(state), await controlPlane(state)];
  const way = wayTo([first, second], 700);
  const { clients } = way;
  let newest = await fleet.snapshot(1);
  state.publish(newest);
  const agent = await nodeAt(way);
  await until('the first is active', () => agent.current()?.version === 1);
  await until('it is reported', () => first.calls.includes('report'));
  first.mode.now = 'frozen';
  const began = performance.now();
  const upload = clients.audit.ingest({ node: 'node-1', firstSeq: 1n });
  newest = await fleet.snapshot(2, after(newest));
  state.publish(newest);
  await until('version 2 is active', () => agent.current()?.version === 2);
  expect(performance.now() - began).toBeGreaterThan(500);
  await within('the upload is answered', upload);
  expect(first.calls).toContain('ingest');
  expect(second.calls).toContain('ingest');
});

test('one whose stream is given up, since nothing good comes of it, is left; one whose stream just ends is not', async () => {
  const [first, second] = [await controlPlane(), await controlPlane()];
  const { clients } = wayTo([first, second]);
  const watchUntil = async (reason?: Error): Promise<void> => {
    const stop = new AbortController();
    for await (const _ of clients.snapshots.watch({}, { signal: stop.signal })) stop.abort(reason);
  };
  await expect(watchUntil()).rejects.toThrow();
  await clients.snapshots.report({ node: 'node-1' });
  expect([first.calls, second.calls]).toEqual([['watch', 'report'], []]);
  await expect(watchUntil(new Error('It drips'))).rejects.toThrow();
  await clients.snapshots.report({ node: 'node-1' });
  expect(second.calls).toEqual(['report']);
});

test('one that accepts a stream and never begins to answer is left', async () => {
  const state = sharedState();
  const [first, second] = [await controlPlane(state), await controlPlane(state)];
  first.mode.now = 'frozen';
  state.publish(await fleet.snapshot(1));
  const agent = await nodeAt(wayTo([first, second], 300));
  await until('it is active', () => agent.current()?.version === 1);
  expect(first.calls).toContain('watch');
});

test('one that does not answer what is asked for where streams are cut is left, too', async () => {
  const [first, second] = [await controlPlane(), await controlPlane()];
  first.mode.now = 'frozen';
  const { clients } = wayTo([first, second], 300);
  await within('it is answered', clients.snapshots.get({}));
  expect([first.calls, second.calls]).toEqual([['get'], ['get']]);
});

test('a message that is read slowly is no silence, nor is one that comes slowly', async () => {
  const piece = new Uint8Array(1_000);
  let sent = 0;
  const slow = new ReadableStream<Uint8Array>({
    async pull(controller) {
      await heartbeat();
      sent += 1;
      if (sent > 10) controller.close();
      else controller.enqueue(piece);
    },
  });
  const fetch = patientFetch(async () => new Response(slow), 200);
  const response = await fetch('http://control.example', { headers: { 'content-type': 'application/connect+proto' } });
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes === 2_000) for (let beat = 0; beat < 6; beat += 1) await heartbeat();
  }
  expect(bytes).toBe(10_000);
});

test('nodes begin at different control planes', async () => {
  const { log } = memoryLog();
  const begun = new Set<string>();
  for (const random of [0, 0.4, 0.7, 0.999]) {
    const connect = (origin: string) => {
      const refuse = () => {
        begun.add(origin);
        return Promise.reject(new ConnectError('no', Code.PermissionDenied));
      };
      return { unary: refuse, stream: refuse } as Transport;
    };
    const transport = createControlPlanes({ origins: ['a', 'b', 'c'], connect, random: () => random, log });
    await clientsOver(transport)
      .snapshots.report({})
      .catch(() => undefined);
  }
  expect(begun.size).toBeGreaterThan(1);
});
