// How long a change and a revocation take from the call until every node of a fleet does as told, and what a change weighs on the wire.
import { toBinary } from '@bufbuild/protobuf';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { SnapshotService, WatchResponseSchema } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';
import { asNode, type Home, makeHome } from '../control-plane/fixture.ts';
import { call } from '../kit/planes.ts';
import { cpuMicros, rssMiB } from './cpu.ts';
import { at } from './fleet-activate.ts';
import { type Activations, hearActivations } from './fleet-activations.ts';
import { type Clients, startClients } from './fleet-clients.ts';
import type { Holding } from './fleet-entries.ts';
import { makeNodeHome, type NodeProcess, startControl, startNodes } from './fleet-processes.ts';
import { clock, type Said } from './fleet-traffic.ts';
import type { Props } from './props.ts';

/** The fleet, and for how long it is measured. */
export type Asked = Holding & {
  readonly nodes: number;
  readonly perProcess: number;
  readonly seconds: number;
  /** So many of the nodes serve traffic, a request each so many ms. */
  readonly serving: number;
  readonly everyMs: number;
};

/** Times in ms: until the last of all nodes. */
export type Spread = {
  readonly processes: number;
  /** Nodes that served traffic. */
  readonly serving: number;
  readonly changes: number;
  readonly changeP50Ms: number;
  readonly changeP99Ms: number;
  readonly revocations: number;
  readonly revokeP50Ms: number;
  readonly revokeP99Ms: number;
  /** Until the last stream of a revoked token was cut. */
  readonly streamP50Ms: number;
  readonly streamP99Ms: number;
  readonly deltaBytes: number;
  /** Processor time of one change at a node, and at the control plane; with their traffic and its audit. */
  readonly nodeCpuMs: number;
  readonly controlCpuMs: number;
  readonly controlRssMiB: number;
  readonly nodeRssMiB: number;
};

/** Starts a fleet, changes services and revokes tokens one after the other, each until the last node has it. */
export async function measureSpread(asked: Asked, props: Props): Promise<Spread> {
  using clients = await startClients();
  using activations = await hearActivations();
  const names = Array.from({ length: asked.nodes }, (_, i) => `node-${i + 1}`);
  const home = await makeHome(Object.fromEntries(names.map((name) => [name, 'default'])));
  try {
    const control = await startControl(props, home, asked);
    const fleet: Fleet = { asked, clients, activations, home, url: control.url, version: 0 };
    const service = { name: 'bench', upstream: clients.upstream };
    await must(fleet, 'ServiceRegistry/Create', { service, wait: '0s' });
    progress('the control plane has started');
    const processes = await startAll(props, fleet, names);
    const ports = processes.flatMap((one) => one.ports).slice(0, asked.serving);
    const first = String((await must(fleet, 'TokenService/Mint', MINTED)).token);
    const load = { nodes: ports, path: '/s/bench/x', token: first, everyMs: asked.everyMs };
    clients.tell(load);
    await clients.every(asked.serving, (said) => 'status' in said && said.status === 200);
    progress('all nodes answer');
    const used = () => Promise.all([sum(processes.map(({ pid }) => cpuMicros(pid))), sum([cpuMicros(control.pid)])]);
    const before = await used();
    const changes = await forSeconds(asked.seconds, (round) => change(fleet, round));
    const [nodeCpu = 0, controlCpu = 0] = (await used()).map((micros, i) => micros - (before[i] ?? 0));
    const made = (changes.length + WARM_UPS) * 1000;
    progress(`${changes.length} changes`);
    const tokens = await mintMany(fleet, 400);
    const streams: number[] = [];
    const revocations = await forSeconds(asked.seconds, (round) => revoke(fleet, tokens[round], streams));
    progress(`${revocations.length} revocations`);
    clients.tell({ ...load, nodes: [] });
    return {
      processes: processes.length,
      serving: asked.serving,
      changes: changes.length,
      ...{ changeP50Ms: at(changes, 0.5), changeP99Ms: at(changes, 0.99) },
      revocations: revocations.length,
      ...{ revokeP50Ms: at(revocations, 0.5), revokeP99Ms: at(revocations, 0.99) },
      ...{ streamP50Ms: at(streams.slice(WARM_UPS), 0.5), streamP99Ms: at(streams.slice(WARM_UPS), 0.99) },
      deltaBytes: await weigh(fleet),
      ...{ nodeCpuMs: nodeCpu / made / asked.nodes, controlCpuMs: controlCpu / made },
      controlRssMiB: (await rssMiB(control.pid)) ?? Number.NaN,
      nodeRssMiB: (await sum(processes.map(({ pid }) => rssMiB(pid)))) / asked.nodes,
    };
  } finally {
    await home.remove();
  }
}

const progress = (what: string): void => void process.stderr.write(`${Math.round(performance.now())} ms: ${what}\n`);

type Fleet = {
  readonly asked: Asked;
  readonly clients: Clients;
  readonly activations: Activations;
  readonly home: Home;
  readonly url: string;
  /** The newest that was published. */
  version: number;
};

const MINTED = { service: 'bench', allow: ['GET /**'], ttl: '3600s' };

async function must(fleet: Fleet, method: string, message: unknown): Promise<Record<string, unknown>> {
  const { url, home } = fleet;
  const { status, body } = await call(url, method, message, { authorization: `Bearer ${home.adminKey}` });
  if (status !== 200) throw new Error(`${method} answered ${status}: ${JSON.stringify(body)}`);
  const { version } = (body.rollout ?? {}) as { readonly version?: string };
  fleet.version = Math.max(fleet.version, Number(version ?? 0));
  return body;
}

/** Several to a process, two processes at a time: they start on the processors of one machine. */
async function startAll(props: Props, { asked, home, url, activations }: Fleet, names: readonly string[]) {
  const started: NodeProcess[] = [];
  const groups = Array.from({ length: Math.ceil(names.length / asked.perProcess) }, (_, i) =>
    names.slice(i * asked.perProcess, (i + 1) * asked.perProcess),
  );
  const lane = async (): Promise<void> => {
    for (let group = groups.shift(); group !== undefined; group = groups.shift()) {
      const homes = await Promise.all(group.map((name) => makeNodeHome(props.folder, home, name)));
      const first = names.indexOf(group[0] ?? '');
      const { port } = activations;
      started.push(await startNodes(props, { controlUrl: url, workers: 1, port, first, homes }));
    }
  };
  await Promise.all([lane(), lane()]);
  return started;
}

/** The first ones warm up what is run for the first time. */
const WARM_UPS = 20;

async function forSeconds(seconds: number, work: (round: number) => Promise<number>): Promise<readonly number[]> {
  const times: number[] = [];
  for (let round = 0; round < WARM_UPS; round += 1) await work(round);
  const end = clock() + seconds * 1000;
  for (let round = WARM_UPS; clock() < end && round < 400; round += 1) times.push(await work(round));
  return times;
}

async function change(fleet: Fleet, round: number): Promise<number> {
  const { asked, clients, activations, version } = fleet;
  const name = `s-${String((round * 7919) % asked.services).padStart(6, '0')}`;
  const request = { service: { name, maxTtl: `${3600 + round}s` }, updateMask: 'maxTtl' };
  const live = activations.every(asked.nodes, version);
  const served = clients.every(asked.serving, (said) => 'version' in said && said.version > version);
  const called = clock();
  const times = await Promise.all([live, served, must(fleet, 'ServiceRegistry/Update', request)]);
  return Math.max(...times[0], ...times[1]) - called;
}

/** Until the last node has activated it, and each that serves has refused the token that it is asked with; adds the last cut. */
async function revoke(fleet: Fleet, victim: Minted | undefined, streams: number[]): Promise<number> {
  if (victim === undefined) throw new Error('there are no tokens left');
  const { asked, clients, activations, version } = fleet;
  const { token, jti } = victim;
  const serving = (fits: (said: Said) => boolean) =>
    clients.every(asked.serving, (said) => 'token' in said && said.token === token && fits(said));
  const answered = (status: number) => serving((said) => 'status' in said && said.status === status);
  const streaming = (stream: 'begun' | 'cut') => serving((said) => 'stream' in said && said.stream === stream);
  const warm = Promise.all([answered(200), streaming('begun')]);
  clients.tell({ use: token, streams: true });
  await warm;
  const [refused, cut, live] = [answered(401), streaming('cut'), activations.every(asked.nodes, version)];
  const called = clock();
  const [last, lastCut, all] = await Promise.all([refused, cut, live, must(fleet, 'TokenService/Revoke', { jti })]);
  streams.push(Math.max(...lastCut) - called);
  return Math.max(...last, ...all) - called;
}

type Minted = { readonly token: string; readonly jti: string };

async function mintMany(fleet: Fleet, count: number): Promise<readonly Minted[]> {
  const minted: Minted[] = [];
  const { service, ...spec } = MINTED;
  while (minted.length < count) {
    const tokens = Array.from({ length: 100 }, () => spec);
    minted.push(...((await must(fleet, 'TokenService/MintBatch', { service, tokens })).tokens as Minted[]));
  }
  return minted;
}

/** The bytes of the stream's message for a change of one service, as any node gets it. */
async function weigh(fleet: Fleet): Promise<number> {
  const transport = createConnectTransport({
    baseUrl: fleet.url,
    httpVersion: '1.1',
    interceptors: [asNode(fleet.home, 'node-1')],
  });
  const node = createClient(SnapshotService, transport);
  const ended = new AbortController();
  let events = 0;
  try {
    for await (const message of node.watch({ acceptsDelta: true }, { signal: ended.signal, timeoutMs: 0 })) {
      if (message.event.case === 'heartbeat') continue;
      events += 1;
      if (events === 2) return toBinary(WatchResponseSchema, message).length + 5;
      const service = { name: 's-000001', maxTtl: '7200s' };
      await must(fleet, 'ServiceRegistry/Update', { service, updateMask: 'maxTtl', wait: '0s' });
    }
  } finally {
    ended.abort();
  }
  return Number.NaN;
}

const sum = async (values: readonly Promise<number | undefined>[]): Promise<number> =>
  (await Promise.all(values)).reduce<number>((total, value) => total + (value ?? Number.NaN), 0);
