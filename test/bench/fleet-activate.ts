// What a full snapshot costs nodes that serve: how long it takes, what it adds to their traffic, and what memory they hold after it.
import { entryBytes } from '@daypass/core/snapshot';
import { bringing, digestOf, makeHome, mint, signSnapshot } from '../attacks/snapshot-world.ts';
import { until } from '../kit/deadline.ts';
import { type FakeControl, heartbeat, startFakeControl } from '../kit/fake-control.ts';
import { rssMiB } from './cpu.ts';
import { startClients } from './fleet-clients.ts';
import { entriesFor, type Holding } from './fleet-entries.ts';
import { startNodes } from './fleet-processes.ts';
import { clock } from './fleet-traffic.ts';
import type { Props } from './props.ts';

/** What the snapshot holds, and how often it is sent. */
export type Asked = Holding & {
  readonly nodes: number;
  readonly rounds: number;
};

/** Times in ms, bytes; the worst of all nodes and rounds, but for the median. */
export type Activated = {
  readonly snapshotBytes: number;
  readonly activateMs: number;
  readonly activateP50Ms: number;
  readonly rssMiB: number;
  /** At once after the last of them, with what it has replaced. */
  readonly rssReplacedMiB: number;
  readonly rssToSnapshot: number;
  /** Of the traffic while a snapshot is activated, and before. */
  readonly p99Ms: number;
  readonly quietP99Ms: number;
  readonly addedP99Ms: number;
};

/** A node, and what it was sent last. */
type Subject = {
  readonly control: FakeControl;
  readonly pid: number;
  readonly port: number;
  sent: { readonly bytes: Uint8Array; readonly digest: string };
};

const MIB = 1024 * 1024;
/** A request each so many ms to the node that activates. */
const EVERY_MS = 4;
const QUIET_MS = 3_000;
/** Within this time a node gives back what was replaced. */
const SETTLE_MS = 4_000;
/** Workers of a node, as a machine with two cores has. */
const WORKERS = 2;

/** Sends full snapshots to nodes in processes of their own, one after the other. */
export async function measureActivation(asked: Asked, props: Props): Promise<Activated> {
  using clients = await startClients();
  const entries = await entriesFor(clients.upstream, asked);
  const snapshotBytes = entries.reduce((sum, entry) => sum + entryBytes(entry), 0);
  const nodes: Subject[] = [];
  let newest = await signSnapshot(1, { entries });
  const first = { bytes: bringing(newest), digest: digestOf(newest) };
  for (let made = 0; made < asked.nodes; made += 1) {
    const control = await startFakeControl();
    const subject = { control, pid: 0, port: 0, sent: first };
    nodes.push(subject);
    control.onWatch((stream, { digest }) =>
      stream.write(digest === subject.sent.digest ? heartbeat(1) : subject.sent.bytes),
    );
    const homes = [await makeHome(props.folder)];
    const planes = { controlUrl: control.url, workers: WORKERS, port: 9, first: made, homes };
    const { pid, ports } = await startNodes(props, planes);
    Object.assign(subject, { pid, port: ports[0] ?? 0 });
  }
  const beating = setInterval(() => {
    for (const { control } of nodes) control.send(heartbeat(1));
  }, 1_000);
  const token = await mint();
  const activations: number[] = [];
  const [quiet, busy]: [number[], number[]] = [[], []];
  for (let round = 1; round <= asked.rounds; round += 1) {
    newest = await signSnapshot(round + 1, { entries, manifest: { previous: digestOf(newest) } });
    const next = { bytes: bringing(newest), digest: digestOf(newest) };
    for (const subject of nodes) {
      const { control, port } = subject;
      clients.tell({ nodes: [port], path: '/s/api/x', token, everyMs: EVERY_MS });
      await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
      quiet.push(...(await clients.latencies()).latencies.slice(100).map(([, ms]) => ms));
      const sent = clock();
      subject.sent = next;
      control.send(next.bytes);
      const heard = () => control.heard.find(({ report }) => report.digest === next.digest);
      const { at: done } = await until('it is active', heard, 120_000);
      activations.push(done - sent);
      const { latencies, wrong } = await clients.latencies();
      if (wrong > 0) throw new Error(`${wrong} requests were answered wrongly`);
      busy.push(...latencies.filter(([at]) => at >= sent && at <= done).map(([, ms]) => ms));
    }
  }
  const largest = async () =>
    Math.max(...(await Promise.all(nodes.map(async ({ pid }) => (await rssMiB(pid)) ?? Number.NaN))));
  // The last node has only just activated: what it had before is still there.
  const rssReplacedMiB = await largest();
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  const rss = await largest();
  clearInterval(beating);
  for (const { control } of nodes) await control.close();
  const [p99Ms, quietP99Ms] = [at(busy, 0.99), at(quiet, 0.99)];
  return {
    snapshotBytes,
    activateMs: Math.max(...activations),
    activateP50Ms: at(activations, 0.5),
    rssMiB: rss,
    rssReplacedMiB,
    rssToSnapshot: (rss * MIB) / snapshotBytes,
    ...{ p99Ms, quietP99Ms, addedP99Ms: p99Ms - quietP99Ms },
  };
}

/** The value below which a share of them lies. */
export const at = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(values.length * share) - 1)] ?? Number.NaN;
