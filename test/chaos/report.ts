// What the chaos test says in the end: what was killed, what was asked, and how long it took.
import type { Aftermath } from './aftermath.ts';
import type { Played } from './play.ts';

type Told = Played & { readonly aftermath: Aftermath };

/** Text for people, a fact a line. */
export function reportText({
  seconds,
  seed,
  counts,
  changes,
  disruptions,
  members,
  retried,
  looks,
  aftermath,
}: Told): string {
  const kills = countBy(disruptions.map(({ members: who, how }) => `${who} ${how}`));
  const lines = [
    `${seconds} s with seed ${seed}: no promise was broken`,
    `killed or held: ${disruptions.length} times: ${listed(kills)}`,
    ...members.map(({ name, restarts }) => `  ${name}: ready again ${restarts.length} times, in ${times(restarts)}`),
    `requests: ${counts.requests} (${counts.forwarded} forwarded, ${counts.refused} refused as they had to be, ${counts.cut} cut by a revocation), in ${times(counts.latencies)}`,
    `  tries that a node's own death cost: ${listed(counts.deaths)}`,
    `  served by another node: ${counts.failovers.length}, in ${times(counts.failovers)}`,
    ...[...changes.times].map(
      ([method, { ms, missing }]) =>
        `${method}: ${ms.length} acknowledged, in ${times(ms)}; nodes missing from receipts: ${missing}`,
    ),
    `  tries that another control plane, or a later one, mended: ${listed(retried)}`,
    `versions: looked at ${looks.nodes} times at the nodes and ${looks.reports} times in their reports; none went back, none was two`,
    `in the end: version ${aftermath.version}, ${aftermath.services} services, ${aftermath.tokens} tokens and ${aftermath.decisions} audited decisions as acknowledged`,
  ];
  return `${lines.join('\n')}\n`;
}

const countBy = (names: readonly string[]): ReadonlyMap<string, number> =>
  names.reduce((counts, name) => counts.set(name, (counts.get(name) ?? 0) + 1), new Map<string, number>());

const listed = (counts: ReadonlyMap<string, number>): string =>
  counts.size === 0 ? 'none' : [...counts].map(([name, count]) => `${name} ${count}`).join(', ');

/** p50, p99 and the longest. */
function times(ms: readonly number[]): string {
  if (ms.length === 0) return 'no time';
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
  return `${at(0.5)} ms p50, ${at(0.99)} ms p99, ${at(1)} ms at most`;
}
