// Collects everything that is wrong with a request, so that all of it is named at once.
import { DaypassError, type ErrorCode } from '@daypass/core/errors';

/** Problems of one request, in the order they were found. */
export type Problems = {
  /** Notes a problem of a field, by its proto path. */
  add(field: string, message: string, code?: ErrorCode): void;
  /** Runs a check and notes what it throws under the field; undefined when it threw. Other errors pass. */
  check<T>(field: string, work: () => T): T | undefined;
  /** Throws one error that names every problem; its `field` is the first one's. */
  throwIfAny(): void;
};

type Problem = { readonly field: string; readonly message: string; readonly code: ErrorCode; readonly column?: number };

/** At most this many are named; the rest are counted. */
const NAMED_MAX = 20;

/** Makes an empty collection. */
export const createProblems = (): Problems => {
  const found: Problem[] = [];
  return {
    add: (field, message, code = 'invalid_argument') => {
      found.push({ field, message, code });
    },
    check: (field, work) => {
      try {
        return work();
      } catch (error) {
        if (!(error instanceof DaypassError)) throw error;
        found.push({
          field,
          message: error.message,
          code: error.code,
          ...(error.column === undefined ? {} : { column: error.column }),
        });
        return undefined;
      }
    },
    throwIfAny: () => {
      const [first, ...others] = found;
      if (first !== undefined) throw combine(first, others);
    },
  };
};

const combine = (first: Problem, others: readonly Problem[]): DaypassError => {
  const code = others.every((problem) => problem.code === first.code) ? first.code : 'invalid_argument';
  const named = others.slice(0, NAMED_MAX - 1).map((problem) => `; ${problem.field}: ${problem.message}`);
  const rest = others.length - named.length;
  const more = rest > 0 ? `; and ${rest} more` : '';
  const column = others.length === 0 ? first.column : undefined;
  return new DaypassError(code, `${first.message}${named.join('')}${more}`, {
    field: first.field,
    ...(column === undefined ? {} : { column }),
  });
};
