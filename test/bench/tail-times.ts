// Lays the samples of a profile into the windows of requests: what ran while they waited.
import type { Row } from './print.ts';

/** What `tail-probe.ts` writes: V8's profile, times in µs of the system's clock, and the collections of garbage. */
export type Profile = {
  readonly profile: {
    readonly nodes: readonly Node[];
    readonly startTime: number;
    readonly samples: readonly number[];
    readonly timeDeltas: readonly number[];
  };
  readonly collections: readonly { readonly micros: number }[];
};

type Node = {
  readonly id: number;
  readonly children?: readonly number[];
  readonly callFrame: { readonly functionName: string; readonly url: string };
};

/** Samples further apart: the thread did not run. */
const APART_MICROS = 400;
const SLOWEST = 0.01;

/** For each part of the program: µs in a request's window, the mean of all and of the slowest 1 %. */
export function timesOf(
  { nodes, startTime, samples, timeDeltas }: Profile['profile'],
  trace: readonly number[],
): Row[] {
  const names = namesOf(nodes);
  const windows = Array.from({ length: trace.length / 2 }, (_none, at) => ({
    from: trace[2 * at] ?? 0,
    to: trace[2 * at + 1] ?? 0,
    spent: new Map<string, number>(),
  })).sort((a, b) => a.from - b.from);
  let time = startTime;
  let first = 0;
  for (const [at, sample] of samples.entries()) {
    const before = time;
    time += timeDeltas[at] ?? 0;
    const name = time - before > APART_MICROS ? 'the thread did not run' : (names.get(sample) ?? 'unknown');
    while (first < windows.length && (windows[first]?.to ?? 0) < before) first += 1;
    for (let index = first; index < windows.length && (windows[index]?.from ?? 0) < time; index += 1) {
      const window = windows[index];
      const shared = window === undefined ? 0 : Math.min(time, window.to) - Math.max(before, window.from);
      if (window !== undefined && shared > 0) window.spent.set(name, (window.spent.get(name) ?? 0) + shared);
    }
  }
  const slowest = windows.toSorted((a, b) => b.to - b.from - (a.to - a.from)).slice(0, windows.length * SLOWEST);
  const means = (some: typeof windows) => (name: string) =>
    some.reduce((sum, { spent }) => sum + (spent.get(name) ?? 0), 0) / Math.max(1, some.length);
  const [all, slow] = [means(windows), means(slowest)];
  return [...new Set(windows.flatMap(({ spent }) => [...spent.keys()]))]
    .map((part) => ({ part, allMicros: tenths(all(part)), slowestMicros: tenths(slow(part)) }))
    .sort((a, b) => b.slowestMicros - a.slowestMicros)
    .filter(({ slowestMicros, allMicros }) => slowestMicros >= 1 || allMicros >= 1);
}

/** Each node by the innermost file of ours that it stands in, else by what runs. */
function namesOf(nodes: readonly Node[]): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const name = (node: Node, above: string): void => {
    const { functionName, url } = node.callFrame;
    const own = /\/((?:data-plane|sdk)\/.*)$/.exec(url)?.[1];
    const mine = NATIVE.get(functionName) ?? own ?? above;
    names.set(node.id, mine);
    for (const child of node.children ?? []) {
      const next = byId.get(child);
      if (next !== undefined) name(next, mine);
    }
  };
  const [root] = nodes;
  if (root !== undefined) name(root, 'node');
  return names;
}

const NATIVE = new Map([
  ['(garbage collector)', 'garbage collection'],
  ['(program)', 'native'],
  ['(idle)', 'waiting'],
]);

const tenths = (value: number): number => Number(value.toFixed(1));
