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
  /** All of them as text. */
  render(): string;
};

/** Series kept for one counter; further label values are counted together as `other`. */
const SERIES_MAX = 500;

/** Returns an empty registry. A name declared twice is an error in the program. */
export function createMetrics(): Metrics {
  const families = new Map<string, () => string>();
  const declare = (name: string, kind: string, help: string, lines: () => readonly string[]): void => {
    if (families.has(name)) throw new Error(`metric ${name} is declared twice`);
    families.set(name, () => [`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`, ...lines(), ''].join('\n'));
  };
  return {
    counter(name, help, labelNames = []) {
      const series = createSeries(labelNames);
      declare(name, 'counter', help, () => series.lines(name));
      return series;
    },
    gauge(name, help, read) {
      declare(name, 'gauge', help, () => [`${name} ${read()}`]);
    },
    histogram(name, help, bounds) {
      const buckets = createBuckets(bounds);
      declare(name, 'histogram', help, () => buckets.lines(name));
      return buckets;
    },
    render: () => [...families.values()].map((family) => family()).join(''),
  };
}

function createSeries(labelNames: Labels): Counter & { lines(name: string): readonly string[] } {
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
    lines: (name) => [...totals].map(([labels, { value }]) => `${name}${labels} ${value}`),
  };
}

class Total implements Series {
  value = 0;

  add(amount: number): void {
    this.value += amount;
  }
}

function createBuckets(bounds: readonly number[]): Histogram & { lines(name: string): readonly string[] } {
  const counts = new Float64Array(bounds.length + 1);
  let sum = 0;
  return {
    observe(value) {
      let at = 0;
      while (at < bounds.length && value > (bounds[at] ?? Number.POSITIVE_INFINITY)) at++;
      counts[at] = (counts[at] ?? 0) + 1;
      sum += value;
    },
    lines(name) {
      let total = 0;
      const rows = [...counts].map((count, at) => {
        total += count;
        return `${name}_bucket{le="${bounds[at] ?? '+Inf'}"} ${total}`;
      });
      return [...rows, `${name}_sum ${sum}`, `${name}_count ${total}`];
    },
  };
}

function labelText(names: Labels, values: Labels): string {
  if (names.length === 0) return '';
  return `{${names.map((name, at) => `${name}="${escapeLabel(values[at] ?? '')}"`).join(',')}}`;
}

const escapeLabel = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
