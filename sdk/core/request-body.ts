// The JSON body of a request as rules see it: strictly read, numbers as they are written.

import { DaypassError } from './errors.ts';
import { type Json, readDocument } from './json-reader.ts';

/** A number of a body, as it is written. With an empty text: a value that no condition can speak of. */
export class NumberText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type BodyValue = Json<NumberText>;
export type BodyObject = { readonly [member: string]: BodyValue };

/** How deep a body may nest. */
export const MAX_BODY_DEPTH = 64;

/** A body may hold this much: reading it must not keep other requests waiting. */
const BOUNDS = { maxDepth: MAX_BODY_DEPTH, maxValues: 100_000, maxMembers: 25_000 };

/** Steps that all that is decided on one body may take together; one takes 150 ns at most. */
const WORK = 250_000;

/** A body that has one reading. */
export class JsonBody {
  /** Lower-case, without parameters. */
  readonly mediaType: string;
  readonly value: BodyValue;
  #work = WORK;
  readonly #readings = new Map<unknown, Map<BodyValue, unknown>>();

  constructor(mediaType: string, value: BodyValue) {
    this.mediaType = mediaType;
    this.value = value;
  }

  /** Takes steps from the budget; false when it is spent, and nothing more can be decided. */
  spend(steps: number): boolean {
    this.#work -= steps;
    return this.#work >= 0;
  }

  /** What `read` makes of the body or a member of it, made once. */
  readOnce<V extends BodyValue, T>(value: V, read: (value: V, body: JsonBody) => T): T {
    const known = this.#readings.get(read) ?? new Map<BodyValue, unknown>();
    this.#readings.set(read, known);
    if (!known.has(value)) known.set(value, read(value, this));
    return known.get(value) as T;
  }
}

/** The content headers of a request, by the values of all fields of a name. */
export type ContentHeaders = { readonly type: readonly string[]; readonly encoding: readonly string[] };

/**
 * Whether a body with these headers is one that rules can read: one JSON media type with no parameter but
 * `charset=utf-8`, and no encoding. Says why not.
 */
export const readContentHeaders = ({ type, encoding }: ContentHeaders): { mediaType: string } | { problem: string } => {
  if (encoding.some((value) => !/^(?:identity)?$/i.test(value)))
    return { problem: 'its Content-Encoding is not identity' };
  const [only] = type;
  if (only === undefined) return { problem: 'it has no Content-Type' };
  const mediaType = type.length === 1 ? JSON_TYPE.exec(only)?.[1]?.toLowerCase() : undefined;
  if (mediaType === undefined || NOT_REQUESTS.has(mediaType))
    return { problem: 'its Content-Type is not that of JSON in UTF-8' };
  return { mediaType };
};

const JSON_TYPE = /^(application\/(?:[a-z0-9][a-z0-9._-]{0,63}\+)?json)(?:[ \t]*;[ \t]*charset=(?:utf-8|"utf-8"))?$/i;

/** JSON texts that are answers, or hold more than one document. */
const NOT_REQUESTS = new Set(['application/graphql-response+json']);

/**
 * Reads a body.
 * @throws DaypassError `invalid_json` for anything but one JSON text in UTF-8 without a repeated member
 */
export const readJsonBody = (mediaType: string, bytes: Uint8Array): JsonBody => {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new DaypassError('invalid_json', 'not UTF-8', { cause });
  }
  return new JsonBody(
    mediaType,
    readDocument(text, BOUNDS, (digits) => new NumberText(digits)),
  );
};

export const isBodyObject = (value: BodyValue | undefined): value is BodyObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof NumberText);

export const isBodyArray = (value: BodyValue | undefined): value is readonly BodyValue[] => Array.isArray(value);
