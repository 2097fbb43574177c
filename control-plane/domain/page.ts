// Pages of a list: sizes, and page tokens that carry a cursor and nothing a caller should rely on.
import { decodeBase64url, encodeBase64url } from '@daypass/core/base64url';
import { DaypassError } from '@daypass/core/errors';

const DEFAULT_PAGE_SIZE = 100;
const LARGEST_PAGE_SIZE = 1000;

/** The size to use for a size that was asked; 0 is the default. */
export const pageSize = (asked: number): number =>
  asked === 0 ? DEFAULT_PAGE_SIZE : Math.min(Math.max(asked, 1), LARGEST_PAGE_SIZE);

/** The parts of a cursor: texts and whole numbers. */
export type CursorParts = readonly (string | number)[];

/** Writes a page token of one kind of list. */
export const encodePageToken = (kind: string, parts: CursorParts): string =>
  encodeBase64url(new TextEncoder().encode(JSON.stringify([kind, ...parts])));

/**
 * Reads a page token; undefined for an empty one. `shape` gives the type of each part.
 * @throws {DaypassError} `invalid_argument` for a token that this list did not give.
 */
export const decodePageToken = (
  kind: string,
  token: string,
  shape: readonly ('string' | 'number')[],
): CursorParts | undefined => {
  if (token === '') return undefined;
  const parts = parseParts(token);
  if (
    parts === undefined ||
    parts.length !== shape.length + 1 ||
    parts[0] !== kind ||
    !shape.every((type, i) => isPart(parts[i + 1], type))
  ) {
    throw new DaypassError('invalid_argument', 'not a page token of this list', { field: 'page_token' });
  }
  return parts.slice(1).filter((part) => typeof part === 'string' || typeof part === 'number');
};

const isPart = (part: unknown, type: 'string' | 'number'): boolean =>
  type === 'string' ? typeof part === 'string' : Number.isSafeInteger(part);

const parseParts = (token: string): readonly unknown[] | undefined => {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(decodeBase64url(token)));
    return Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

/** Cuts one row more than a page into the page and whether there is a next one. */
export const cutPage = <Row>(rows: readonly Row[], size: number): { page: readonly Row[]; last: Row | undefined } =>
  rows.length > size ? { page: rows.slice(0, size), last: rows[size - 1] } : { page: rows, last: undefined };
