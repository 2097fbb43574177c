// The flat bench's tables, and its rows as JSON.

/** The rounds of one size. */
export type FlatFigures = {
  readonly size: string;
  /** Processor time in µs a request, by round. */
  readonly cpuMicros: readonly number[];
  readonly perSecond: readonly number[];
  readonly rssMiB: number;
};

/** What may at most be between the dearest size and the cheapest. */
const LIMIT = 1.15;

/** An object a size: `ratio` is the median over the rounds of its CPU per request to that of the smallest size. */
export const flatRowsOf = (dimension: string, all: readonly FlatFigures[]) =>
  all.map(({ size, cpuMicros, perSecond, rssMiB }) => ({
    dimension,
    size,
    requestsPerSecond: Math.round(median(perSecond)),
    cpuMicros: round(median(cpuMicros), 2),
    ratio: round(pairedRatio(cpuMicros, all), 3),
    rounds: cpuMicros.length,
    rssMiB: Math.round(rssMiB),
  }));

/** For people to read. */
export function flatTable(title: string, all: readonly FlatFigures[]): string {
  const rows = flatRowsOf('', all).map(({ size, requestsPerSecond, cpuMicros, ratio, rssMiB }) =>
    line(size, requestsPerSecond, cpuMicros.toFixed(1), ratio.toFixed(3), rssMiB, ratio <= LIMIT ? 'PASS' : 'FAIL'),
  );
  return [line(title, 'requests/s', 'CPU µs', '÷ smallest', 'MiB', `≤ ${LIMIT}`), ...rows].join('\n');
}

/** Rounds are compared one by one: what slowed the machine down in a round slowed both. */
const pairedRatio = (own: readonly number[], [smallest]: readonly FlatFigures[]): number =>
  median(own.map((cpu, at) => cpu / (smallest?.cpuMicros[at] ?? Number.NaN)));

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};

const round = (value: number, digits: number): number => Number(value.toFixed(digits));

const line = (name: string, ...cells: readonly (string | number)[]): string =>
  [name.padEnd(52), ...cells.map((cell) => String(cell).padStart(11))].join(' ').trimEnd();
