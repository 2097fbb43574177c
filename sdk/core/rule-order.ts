// The one order of the conditions of a rule and of the values of a list.

import { compareDecimals } from './decimal.ts';
import type { Condition, Operator, Step, Subject, Test, Value } from './rule.ts';

/** Orders values: strings, numbers by size, booleans, null. 0 only for equal ones. */
export const compareValues = (a: Value, b: Value): number => {
  if (a.kind === 'string' && b.kind === 'string') return compareTexts(a.value, b.value);
  if (a.kind === 'number' && b.kind === 'number') return compareDecimals(a.text, b.text);
  if (a.kind === 'boolean' && b.kind === 'boolean') return Number(a.value) - Number(b.value);
  return VALUE_ORDER[a.kind] - VALUE_ORDER[b.kind];
};

/** Orders subjects: path, query, header, body, arguments; then by name. 0 only for equal ones. */
export const compareSubjects = (a: Subject, b: Subject): number =>
  SUBJECT_ORDER[a.in] - SUBJECT_ORDER[b.in] || compareTexts(subjectKey(a), subjectKey(b));

/** Orders conditions by subject, then by test. 0 only for equal ones. */
export const compareConditions = (a: Condition, b: Condition): number =>
  compareSubjects(a.subject, b.subject) || compareTests(a.test, b.test);

/** Orders texts by their code units. */
export const compareTexts = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Sorted by `compare`, each once. */
export const sortUnique = <T>(items: readonly T[], compare: (a: T, b: T) => number): readonly T[] =>
  [...items].sort(compare).filter((item, index, all) => {
    const before = all[index - 1];
    return index === 0 || before === undefined || compare(before, item) !== 0;
  });

const VALUE_ORDER: Readonly<Record<Value['kind'], number>> = { string: 0, number: 1, boolean: 2, null: 3 };
const SUBJECT_ORDER: Readonly<Record<Subject['in'], number>> = { path: 0, query: 1, header: 2, body: 3, arg: 4 };
const TEST_ORDER: Readonly<Record<Test['kind'], number>> = { in: 0, compare: 1, absent: 2 };
const OPERATOR_ORDER: Readonly<Record<Operator, number>> = { '>': 0, '>=': 1, '<': 2, '<=': 3 };

const subjectKey = (subject: Subject): string =>
  subject.in === 'body' || subject.in === 'arg' ? JSON.stringify(subject.steps.map(stepKey)) : subject.name;

const stepKey = (step: Step): string | null => (step.kind === 'member' ? step.name : null);

const compareTests = (a: Test, b: Test): number => {
  if (a.kind === 'in' && b.kind === 'in') return compareLists(a.values, b.values);
  if (a.kind === 'compare' && b.kind === 'compare') {
    return OPERATOR_ORDER[a.operator] - OPERATOR_ORDER[b.operator] || compareDecimals(a.bound, b.bound);
  }
  return TEST_ORDER[a.kind] - TEST_ORDER[b.kind];
};

const compareLists = (a: readonly Value[], b: readonly Value[]): number => {
  for (const [index, value] of a.entries()) {
    const other = b[index];
    if (other === undefined) return 1;
    const order = compareValues(value, other);
    if (order !== 0) return order;
  }
  return a.length - b.length;
};
