// Strict JSON (RFC 8259): one text, one meaning, or an error that says where; and readers of its members.

import { DaypassError } from './errors.ts';
import { type JsonObject, type JsonValue, readDocument, readDouble } from './json-reader.ts';

export type { JsonObject, JsonValue };

type Options = {
  /** How deep arrays and objects may nest. */
  readonly maxDepth?: number;
};

/**
 * Reads one JSON text.
 * @throws DaypassError `invalid_json`, with the position, for anything outside RFC 8259, a repeated member, a lone
 * surrogate, a number too large for a double, or nesting deeper than `maxDepth` (32 by default)
 */
export const parseStrictJson = (text: string, { maxDepth = 32 }: Options = {}): JsonValue => {
  return readDocument(text, { maxDepth }, readDouble);
};

/**
 * Reads one JSON text in UTF-8 without a byte order mark.
 * @throws DaypassError `invalid_json`, also for bytes that are not UTF-8
 */
export const parseStrictJsonBytes = (bytes: Uint8Array, options: Options = {}): JsonValue => {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new DaypassError('invalid_json', 'not UTF-8', { cause });
  }
  return parseStrictJson(text, options);
};

type Read = JsonValue | undefined;

/** `value` as an object. `where` names it in the error, here and below. @throws DaypassError `invalid_json` */
export const readObject = (value: Read, where: string): JsonObject => {
  if (value === undefined || !isObject(value)) throw wrong(value, where, 'an object');
  return value;
};

/** `value` as an array. @throws DaypassError `invalid_json` */
export const readArray = (value: Read, where: string): readonly JsonValue[] => {
  if (!isArray(value)) throw wrong(value, where, 'an array');
  return value;
};

/** `value` as a string, empty included. @throws DaypassError `invalid_json` */
export const readString = (value: Read, where: string): string => {
  if (typeof value !== 'string') throw wrong(value, where, 'a string');
  return value;
};

/** `value` as a number. @throws DaypassError `invalid_json` */
export const readNumber = (value: Read, where: string): number => {
  if (typeof value !== 'number') throw wrong(value, where, 'a number');
  return value;
};

/** `value` as a whole number of at least 0 that a double holds exactly. @throws DaypassError `invalid_json` */
export const readCount = (value: Read, where: string): number => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw wrong(value, where, 'a whole number of at least 0');
  }
  return value;
};

/** `value` as a boolean. @throws DaypassError `invalid_json` */
export const readBoolean = (value: Read, where: string): boolean => {
  if (typeof value !== 'boolean') throw wrong(value, where, 'true or false');
  return value;
};

/** `value` as an array of strings. @throws DaypassError `invalid_json` */
export const readStringArray = (value: Read, where: string): readonly string[] =>
  readArray(value, where).map((item, index) => readString(item, `${where}[${index}]`));

/** `value` as an object of strings. @throws DaypassError `invalid_json` */
export const readStringMap = (value: Read, where: string): Readonly<Record<string, string>> => {
  const map: Record<string, string> = Object.create(null);
  for (const [name, item] of Object.entries(readObject(value, where))) map[name] = readString(item, `${where}.${name}`);
  return map;
};

/** Refuses members that are not in `known`. @throws DaypassError `invalid_json` naming the first unknown one */
export const refuseUnknown = (object: JsonObject, known: readonly string[], where: string): void => {
  const unknown = Object.keys(object).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new DaypassError('invalid_json', `${where} has the unknown member ${JSON.stringify(unknown.slice(0, 64))}`, {
    field: where,
  });
};

const isArray = (value: Read): value is readonly JsonValue[] => Array.isArray(value);

const isObject = (value: JsonValue): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const wrong = (value: Read, where: string, wanted: string): DaypassError => {
  const message = value === undefined ? `${where} is missing` : `${where} must be ${wanted}`;
  return new DaypassError('invalid_json', message, { field: where });
};
