// The bench's tables, and its rows as JSON.
import { cpus } from 'node:os';
import { hasWrk } from './generate.ts';
import type { Full, Paced } from './measure.ts';
import type { Subject } from './subject.ts';

/** What was measured of one variant: as many as go (not of the upstream itself), and by rate. */
export type Measured = { readonly subject: Subject; readonly full: Full | undefined; readonly paced: readonly Paced[] };

/** The run: rates in requests a second, the main one first; 0: one after the other. */
export type Settings = {
  readonly seconds: number;
  readonly rounds: number;
  readonly warmUp: number;
  readonly connections: number;
  readonly rates: readonly number[];
  readonly pinned: boolean;
};

/** An object a line. Latencies are those added to the upstream's own, at the main rate; ratio: see the table. */
export function rowsOf(
  direct: Measured,
  all: readonly Measured[],
): readonly Readonly<Record<string, string | number>>[] {
  const bare = all.find(({ subject }) => subject.variant === 'bare')?.full;
  const [own, ownSerial] = direct.paced;
  return all.flatMap(({ subject: { variant }, full, paced: [main, serial] }) =>
    full === undefined
      ? []
      : [
          {
            variant,
            requestsPerSecond: round(full.perSecond),
            cpuMicros: round(full.cpuMicros, 2),
            wholeMicros: round(full.wholeMicros, 2),
            ...(main === undefined || own === undefined
              ? {}
              : { p50Micros: round(main.p50 - own.p50, 1), p99Micros: round(main.p99 - own.p99, 1) }),
            ...(serial === undefined || ownSerial === undefined
              ? {}
              : {
                  secondP50Micros: round(serial.p50 - ownSerial.p50, 1),
                  secondP99Micros: round(serial.p99 - ownSerial.p99, 1),
                }),
            ...(bare === undefined ? {} : { ratioToPassthrough: round(bare.cpuMicros / full.cpuMicros, 3) }),
            rssMiB: round(full.rssMiB, 1),
          },
        ],
  );
}

/** For people to read. */
export function table(settings: Settings, direct: Measured, all: readonly Measured[]): string {
  const { seconds, rounds, warmUp, connections, rates, pinned } = settings;
  const where = pinned ? 'proxy on one processor, the rest on the other' : 'processes not pinned';
  const bare = all.find(({ subject }) => subject.variant === 'bare')?.full?.cpuMicros ?? Number.NaN;
  return [
    `${cpus().length} processors (${cpus()[0]?.model ?? 'unknown'}), Node ${process.version}, ${where}`,
    `${rounds} rounds of ${seconds} s in turn after ${warmUp} s of warm-up, ${connections} connections, 1 KB answers; medians`,
    `load by ${hasWrk ? 'wrk' : 'load.ts'}, latencies by the upstream's own process; uploaded: CPU µs until the audit was uploaded, after`,
    'the load, too; per core: requests per second of processor time',
    '',
    row('as many as go', 'requests/s', 'CPU µs', 'uploaded', 'CPU busy', 'per core', '÷ bare', 'MiB'),
    ...all.flatMap(({ subject, full }) =>
      full === undefined
        ? []
        : row(
            subject.title,
            full.perSecond.toFixed(0),
            full.cpuMicros.toFixed(1),
            full.wholeMicros.toFixed(1),
            `${(full.busy * 100).toFixed(0)} %`,
            (1e6 / full.cpuMicros).toFixed(0),
            (bare / full.cpuMicros).toFixed(2),
            full.rssMiB.toFixed(0),
          ),
    ),
    ...rates.flatMap((rate, index) => latencies(rate, index, direct, all)),
  ].join('\n');
}

function latencies(rate: number, index: number, direct: Measured, all: readonly Measured[]): readonly string[] {
  const own = direct.paced[index];
  const rows = [direct, ...all].flatMap(({ subject, paced }) => {
    const found = paced[index];
    if (found === undefined || own === undefined) return [];
    return [
      row(
        subject.title,
        micros(found.p50),
        micros(found.p99),
        micros(found.p50 - own.p50),
        micros(found.p99 - own.p99),
        `${(found.discarded * 100).toFixed(1)} %`,
      ),
    ];
  });
  const title = rate === 0 ? 'one after the other' : `at ${rate} requests/s`;
  return rows.length === 0 ? [] : ['', row(title, 'p50 µs', 'p99 µs', 'added p50', 'added p99', 'left out'), ...rows];
}

const micros = (value: number): string => value.toFixed(0);

const round = (value: number, digits = 0): number => Number(value.toFixed(digits));

const row = (name: string, ...cells: readonly string[]): string =>
  [name.padEnd(38), ...cells.map((cell) => cell.padStart(11))].join(' ').trimEnd();
