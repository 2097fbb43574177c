// A tiny registry of counters, gauges and histograms, rendered as Prometheus text (exposition format 0.0.4).

/** Label names and their values, in the order of declaration. */
type Labels = readonly string[];

/** Only goes up. */
export type Counter = {
  add(amount: number, ...labels: Labels): void;
  /** The series of some labels, for those that are counted often. */
  series(...labels: Labels): Series;
};
/** One series of a counter. */
export type Series = { add(amount: number): void };
/** Distribution of a measure, in the unit its name says. */
export type Histogram = { observe(value: number): void };

/** The registry. */
export type Metrics = {
  /** Declares a counter; the values of its labels must come from a small set. */
  counter(name: string, help: string, labelNames?: Labels): Counter;
  /** Declares a gauge that is read when rendered. */
  gauge(name: string, help: string, read: () => number): void;
  /** Declares a histogram; `bounds` rise. */
  histogram(name: string, help: string, bounds: readonly number[]): Histogram;
  /** All of them as they are now. */
  families(): readonly Family[];
  /** All of them as text. */
  render(): string;
};

/** A metric as it is at one time; plain data, which threads can hand to each other. */
export type Family = {
  readonly name: string;
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  /** Name with labels, and value. */
  readonly samples: readonly (readonly [string, number])[];
};

/** Series kept for one counter; further label values are counted together as `other`. */
const SERIES_MAX = 500;

/** Returns an empty registry. A name declared twice is an error in the program. */
export function createMetrics(): Metrics {
  const known = new Map<string, () => Family>();
  const declare = (name: string, kind: Family['kind'], help: string, read: () => Family['samples']): void => {
    if (known.has(name)) throw new Error(`metric ${name} is declared twice`);
    known.set(name, () => ({ name, kind, help, samples: read() }));
  };
  const families = (): readonly Family[] => [...known.values()].map((family) => family());
  return {
    counter(name, help, labelNames = []) {
      const series = createSeries(labelNames);
      declare(name, 'counter', help, () => series.samples(name));
      return series;
    },
    gauge(name, help, read) {
      declare(name, 'gauge', help, () => [[name, read()]]);
    },
    histogram(name, help, bounds) {
      const buckets = createBuckets(bounds);
      declare(name, 'histogram', help, () => buckets.samples(name));
      return buckets;
    },
    families,
    render: () => renderFamilies(families()),
  };
}

/** The text of families. */
export const renderFamilies = (families: readonly Family[]): string =>
  families
    .map(({ name, kind, help, samples }) =>
      [`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`, ...samples.map((sample) => sample.join(' ')), ''].join('\n'),
    )
    .join('');

/** The sum of what several have counted: each series of each family once, in the order in which they were first met. */
export function sumFamilies(all: readonly (readonly Family[])[]): readonly Family[] {
  const families = new Map<string, Family & { readonly sums: Map<string, number> }>();
  for (const family of all.flat()) {
    const sum = families.get(family.name) ?? { ...family, sums: new Map<string, number>() };
    families.set(family.name, sum);
    for (const [series, value] of family.samples) sum.sums.set(series, (sum.sums.get(series) ?? 0) + value);
  }
  return [...families.values()].map(({ sums, name, kind, help }) => ({ name, kind, help, samples: [...sums] }));
}

/** What goes on counting when the one that counted has ended. */
export const withoutGauges = (families: readonly Family[]): readonly Family[] =>
  families.filter(({ kind }) => kind !== 'gauge');

function createSeries(labelNames: Labels): Counter & { samples(name: string): Family['samples'] } {
  const totals = new Map<string, Total>();
  const other = labelText(
    labelNames,
    labelNames.map(() => 'other'),
  );
  const series = (...labels: Labels): Total => {
    const wanted = labelText(labelNames, labels);
    const key = totals.has(wanted) || totals.size < SERIES_MAX ? wanted : other;
    const total = totals.get(key) ?? new Total();
    totals.set(key, total);
    return total;
  };
  if (labelNames.length === 0) series();
  return {
    add: (amount, ...labels) => series(...labels).add(amount),
    series,
    samples: (name) => [...totals].map(([labels, { value }]) => [`${name}${labels}`, value]),
  };
}

class Total implements Series {
  value = 0;

  add(amount: number): void {
    this.value += amount;
  }
}

function createBuckets(bounds: readonly number[]): Histogram & { samples(name: string): Family['samples'] } {
  const counts = new Float64Array(bounds.length + 1);
  let sum = 0;
  return {
    observe(value) {
      let at = 0;
      while (at < bounds.length && value > (bounds[at] ?? Number.POSITIVE_INFINITY)) at++;
      counts[at] = (counts[at] ?? 0) + 1;
      sum += value;
    },
    samples(name) {
      let total = 0;
      const rows = [...counts].map((count, at): readonly [string, number] => {
        total += count;
        return [`${name}_bucket{le="${bounds[at] ?? '+Inf'}"}`, total];
      });
      return [...rows, [`${name}_sum`, sum], [`${name}_count`, total]];
    },
  };
}

function labelText(names: Labels, values: Labels): string {
  if (names.length === 0) return '';
  return `{${names.map((name, at) => `${name}="${escapeLabel(values[at] ?? '')}"`).join(',')}}`;
}

const escapeLabel = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
