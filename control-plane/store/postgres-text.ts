// Refuses what PostgreSQL cannot hold in a text, by the name of the column.
import { DaypassError } from '@daypass/core/errors';
import { type CompiledQuery, InsertQueryNode } from 'kysely';

/** What is said of such a text. */
export const NUL_REFUSED = 'must not hold a NUL character: the database cannot store it';

/** Throws `invalid_argument` for a text with a NUL, naming the column where it can be told. */
export const checkTexts = ({ query, parameters }: CompiledQuery): void => {
  const at = parameters.findIndex((value) => typeof value === 'string' && value.includes('\0'));
  if (at < 0) return;
  const columns = InsertQueryNode.is(query) ? (query.columns ?? []) : [];
  const field = columns[at % Math.max(1, columns.length)]?.column.name;
  throw new DaypassError('invalid_argument', NUL_REFUSED, field === undefined ? {} : { field });
};
