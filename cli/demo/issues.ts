// The demo's issues, in memory: always the same 75, with labels that can be added and taken off.

/** A label as the API shows it. */
export type Label = { readonly name: string };

/** An issue as the API shows it. */
export type Issue = {
  readonly number: number;
  readonly title: string;
  readonly state: 'open';
  readonly labels: readonly Label[];
};

export type Issues = {
  readonly count: number;
  readonly find: (number: number) => Issue | undefined;
  readonly slice: (start: number, end: number) => readonly Issue[];
  readonly addLabels: (number: number, names: readonly string[]) => readonly Label[];
  readonly removeLabel: (number: number, name: string) => readonly Label[];
};

const COUNT = 75;
const MAX_LABELS = 100;
const TITLES = ['The door does not close', 'Typo on the front page', 'Add a dark theme', 'Slow on large files'];

/** Fresh issues. */
export const createIssues = (): Issues => {
  const labels = new Map<number, readonly string[]>();
  const find = (number: number): Issue | undefined => {
    if (!Number.isInteger(number) || number < 1 || number > COUNT) return undefined;
    const names = labels.get(number) ?? [];
    return {
      number,
      title: TITLES[number % TITLES.length] ?? '',
      state: 'open',
      labels: names.map((name) => ({ name })),
    };
  };
  const set = (number: number, names: readonly string[]): readonly Label[] => {
    labels.set(number, names.slice(0, MAX_LABELS));
    return find(number)?.labels ?? [];
  };
  return {
    count: COUNT,
    find,
    slice: (start, end) =>
      Array.from({ length: Math.max(0, Math.min(end, COUNT) - start) }, (_, index) => find(start + index + 1)).filter(
        (issue) => issue !== undefined,
      ),
    addLabels: (number, names) => set(number, [...new Set([...(labels.get(number) ?? []), ...names])]),
    removeLabel: (number, name) =>
      set(
        number,
        (labels.get(number) ?? []).filter((one) => one !== name),
      ),
  };
};
