// Starts the fleets of one dimension beside each other, each on the same processor, and measures them.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Fleet } from '../kit/planes.ts';
import { cpuMicros, rssMiB, spread } from './cpu.ts';
import { LINES, startFlatFleet } from './flat-fleet.ts';
import type { Dimension } from './flat-rows.ts';
import { generate } from './generate.ts';
import type { Effort } from './measure.ts';
import { child } from './peer.ts';
import { withProps } from './props.ts';

/** One size of a dimension, running. */
export type FlatSubject = {
  readonly size: string;
  /** Loads it for so many seconds, and on until every token has been used. */
  touchAll(effort: Effort): Promise<void>;
  /** One round. Throws where a token was not found among the verified ones. */
  measure(effort: Effort): Promise<FlatRound>;
};

/** Processor time in µs a request; memory of the process. */
export type FlatRound = { readonly cpuMicros: number; readonly perSecond: number; readonly rssMiB: number };

/** All of a dimension. */
export type FlatStage = { readonly subjects: readonly FlatSubject[]; end(): Promise<void> };

/** Starts every size. */
export const setFlatStage = ({ sizes }: Dimension): Promise<FlatStage> =>
  withProps(async ({ folder, started, fleets, end }) => {
    const upstream = await child({ started }, 'upstream.ts');
    const subjects: FlatSubject[] = [];
    for (const [at, [title, size]] of sizes.entries()) {
      process.stderr.write(`starts ${title}\n`);
      const { fleet, lines } = await startFlatFleet(size, `http://127.0.0.1:${upstream.port}`);
      fleets.push(fleet);
      const file = join(folder, `${at}.tokens`);
      await writeFile(file, `${lines.join('\n')}\n`, { mode: 0o600 });
      subjects.push(subjectOf(title, fleet, file));
    }
    await spread(
      fleets.map((fleet) => fleet.data.pid()),
      [process.pid, upstream.pid],
    );
    return { subjects, end };
  });

function subjectOf(size: string, fleet: Fleet, tokens: string): FlatSubject {
  let from = 0;
  const pid = fleet.data.pid();
  const load = async ({ seconds, connections }: Effort) => {
    const result = await generate(size, {
      url: fleet.dataUrl,
      tokens,
      from,
      body: undefined,
      seconds,
      connections,
      rate: 0,
    });
    from += result.requests;
    return result;
  };
  return {
    size,
    async touchAll(effort) {
      await load(effort);
      // A little of what was sent last is not answered: it is not counted.
      while (from < LINES) await load({ ...effort, seconds: 2 });
    },
    async measure(effort) {
      const missesBefore = await misses(fleet);
      const before = (await cpuMicros(pid)) ?? Number.NaN;
      const result = await load(effort);
      const used = ((await cpuMicros(pid)) ?? Number.NaN) - before;
      const missed = (await misses(fleet)) - missesBefore;
      if (missed > 0) throw new Error(`${size}: ${missed} of ${result.requests} tokens had to be verified again`);
      return {
        cpuMicros: used / result.requests,
        perSecond: result.requests / result.seconds,
        rssMiB: (await rssMiB(pid)) ?? Number.NaN,
      };
    },
  };
}

async function misses({ adminUrl }: Fleet): Promise<number> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  return Number(/^daypass_token_lookups_total\{result="miss"\} (\d+)$/m.exec(text)?.[1] ?? 0);
}
