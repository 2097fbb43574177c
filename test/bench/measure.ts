// Rounds of load in turn, and the median of each figure.
import { ask } from './ask.ts';
import { cpuMicros, rssMiB } from './cpu.ts';
import { generate, type Load, type Result } from './generate.ts';
import type { Subject } from './subject.ts';

/** Figures of one variant; processor time in µs a request, latencies in µs. */
export type Full = {
  readonly perSecond: number;
  readonly cpuMicros: number;
  /** The same until nothing is left to do of what was asked: for Daypass, until its audit is uploaded. */
  readonly wholeMicros: number;
  /** Share of a processor. */
  readonly busy: number;
  readonly rssMiB: number;
};
/** `discarded`: the share of answers that do not count, since the load's own process stood still meanwhile. */
export type Paced = { readonly p50: number; readonly p99: number; readonly discarded: number };

export type Effort = { readonly seconds: number; readonly connections: number; readonly ownLoad?: boolean };

/** Warms a subject up. */
export const warmUp = async (subject: Subject, effort: Effort): Promise<void> => void (await load(subject, effort));

/** As many requests as go. */
export async function measureFull(subject: Subject, effort: Effort): Promise<Full> {
  await subject.settled?.();
  const before = await cpuMicros(subject.pid);
  const result = await load(subject, effort);
  const after = await cpuMicros(subject.pid);
  // What is left to do would be done beside the next one's round.
  await subject.settled?.();
  const settled = await cpuMicros(subject.pid);
  const used = before === undefined || after === undefined ? Number.NaN : after - before;
  return {
    perSecond: result.requests / result.seconds,
    cpuMicros: used / result.requests,
    wholeMicros: before === undefined || settled === undefined ? Number.NaN : (settled - before) / result.requests,
    busy: used / (result.seconds * 1e6),
    rssMiB: (await rssMiB(subject.pid)) ?? Number.NaN,
  };
}

/** A fixed rate; 0: one connection, a request as soon as the last is answered. */
export async function measurePaced(control: number, subject: Subject, effort: Effort, rate: number): Promise<Paced> {
  await subject.settled?.();
  const asked = { ...(await loadOf(subject, effort)), rate };
  const { requests, failed, discarded = 0, p50, p99 } = await ask(control, 'paced', asked);
  if (failed > 0 || requests === 0)
    throw new Error(`${subject.variant}: ${failed} requests were not answered with 200, ${requests} count`);
  return { p50: p50 * 1000, p99: p99 * 1000, discarded: discarded / (requests + discarded) };
}

/** The median of each figure. */
export function middle<T extends Readonly<Record<string, number>>>(rounds: readonly T[]): T {
  const [first] = rounds;
  if (first === undefined) throw new Error('nothing was measured');
  const median = (name: string) =>
    rounds.map((one) => one[name] ?? Number.NaN).sort((a, b) => a - b)[Math.floor(rounds.length / 2)];
  return Object.fromEntries(Object.keys(first).map((name) => [name, median(name)])) as T;
}

async function load(subject: Subject, effort: Effort): Promise<Result> {
  return generate(subject.variant, await loadOf(subject, effort), effort.ownLoad);
}

async function loadOf({ url, body, tokens }: Subject, { seconds, connections }: Effort): Promise<Load> {
  return { url, body, tokens: await tokens(seconds), seconds, connections, rate: 0 };
}
