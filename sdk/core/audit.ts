// Audit records: one line of JSON each, chained by hash within a node, in a form with one spelling.
import { DaypassError } from './errors.ts';
import { isHexSha256, type Sha256, toHex } from './hash.ts';
import {
  type JsonObject,
  type JsonValue,
  parseStrictJsonBytes,
  readObject,
  readString,
  refuseUnknown,
} from './json.ts';
import { printableJson } from './printable-json.ts';

/** Who asked for what, and whether it was allowed. Absent texts are empty. */
export type DecisionRecord = {
  readonly kind: 'decision';
  /** The node's own number, from 1 without a gap. */
  readonly seq: number;
  /** Hex sha256 of the previous record's bytes, or `GENESIS`. */
  readonly prev: string;
  /** The decision's id. */
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly node: string;
  readonly result: 'allowed' | 'refused';
  /** An error code, or empty. */
  readonly reason: string;
  readonly jti: string;
  readonly caller: string;
  readonly principal: string;
  readonly client: string;
  readonly service: string;
  readonly method: string;
  /** As matched, without the query; at most `MAX_PATH` characters are kept. */
  readonly path: string;
  readonly rule: string;
  readonly credential_id: string;
  readonly snapshot_version: number;
  /** How many requests it stands for, 1 or more. */
  readonly count: number;
  /** The network of counted refusals. */
  readonly source: string;
};

/** How the request of a decision ended. */
export type OutcomeRecord = {
  readonly kind: 'outcome';
  readonly seq: number;
  readonly prev: string;
  /** The decision's id. */
  readonly id: string;
  readonly time: number;
  readonly node: string;
  readonly result: 'completed' | 'failed' | 'refused';
  readonly reason: string;
  /** What the client got; 0: nothing. */
  readonly status: number;
  readonly request_bytes: number;
  readonly response_bytes: number;
  readonly latency_micros: number;
};

export type AuditRecord = DecisionRecord | OutcomeRecord;

/** `prev` of a node's first record. */
export const GENESIS = '0'.repeat(64);

/** Most characters of a path that a record keeps. */
export const MAX_PATH = 2048;

/** Largest record, in bytes. */
export const MAX_RECORD_BYTES = 32_768;

type Check = 'text' | 'count' | 'positive' | 'hash' | readonly string[];
type Shape = Readonly<Record<string, Check>>;

/** The members of each kind in the order in which they are written. */
const CHAIN = { seq: 'positive', prev: 'hash', id: 'text', time: 'count', node: 'text' } as const;
const DECISION = {
  kind: ['decision'],
  ...CHAIN,
  result: ['allowed', 'refused'],
  reason: 'text',
  jti: 'text',
  caller: 'text',
  principal: 'text',
  client: 'text',
  service: 'text',
  method: 'text',
  path: 'text',
  rule: 'text',
  credential_id: 'text',
  snapshot_version: 'count',
  count: 'positive',
  source: 'text',
} as const satisfies { readonly [K in keyof DecisionRecord]: Check };
const OUTCOME = {
  kind: ['outcome'],
  ...CHAIN,
  result: ['completed', 'failed', 'refused'],
  reason: 'text',
  status: 'count',
  request_bytes: 'count',
  response_bytes: 'count',
  latency_micros: 'count',
} as const satisfies { readonly [K in keyof OutcomeRecord]: Check };

/** Longest texts, in UTF-16 units; together they stay below `MAX_RECORD_BYTES` however they are escaped. */
const LONGEST: Readonly<Record<string, number>> = { path: MAX_PATH, rule: 1536, principal: 256 };
const LONGEST_OTHER = 128;

/** How a member is written; worked out once, as every request writes two records. */
type Member = { readonly name: string; readonly head: string; readonly longest: number };

const membersOf = (shape: Shape): readonly Member[] =>
  Object.keys(shape).map((name, at) => ({
    name,
    head: `${at === 0 ? '{' : ','}${JSON.stringify(name)}:`,
    longest: LONGEST[name] ?? LONGEST_OTHER,
  }));

const DECISION_MEMBERS = membersOf(DECISION);
const OUTCOME_MEMBERS = membersOf(OUTCOME);

/** One line of JSON without a newline: members in a fixed order, over-long texts cut, lone surrogates replaced. */
export function encodeRecord(record: AuditRecord): string {
  const values: Readonly<Record<string, string | number>> = record;
  let line = '';
  for (const { name, head, longest } of record.kind === 'decision' ? DECISION_MEMBERS : OUTCOME_MEMBERS)
    line += head + encodeMember(values[name], longest);
  return `${line}}`;
}

/** Reads a record's exact bytes; any other spelling of the same record is refused. Throws `invalid_argument`. */
export function parseRecord(bytes: Uint8Array): AuditRecord {
  if (bytes.length > MAX_RECORD_BYTES) throw wrong('The record is too large');
  try {
    const object = readObject(parseStrictJsonBytes(bytes), 'record');
    const record = object.kind === 'outcome' ? checked(object, OUTCOME) : checked(object, DECISION);
    if (encodeRecord(record) !== new TextDecoder().decode(bytes)) throw wrong('The record is not in canonical form');
    return record;
  } catch (cause) {
    if (cause instanceof DaypassError && cause.code === 'invalid_json') throw wrong(cause.message, cause);
    throw cause;
  }
}

/** Hex sha256 of a record's bytes: the `prev` of the next. */
export const recordHash = (bytes: Uint8Array, sha256: Sha256): string => toHex(sha256(bytes));

/** A record with its bytes and hash. */
export type ChainedRecord = { readonly record: AuditRecord; readonly bytes: Uint8Array; readonly hash: string };

/**
 * Reads records of one node that follow each other without a gap. `prev`: the hash before the first one; undefined
 * where it is not known. Throws `invalid_argument` naming the place.
 */
export function readChain(
  records: readonly Uint8Array[],
  start: { readonly node: string; readonly firstSeq: number; readonly prev: string | undefined },
  sha256: Sha256,
): readonly ChainedRecord[] {
  let { prev } = start;
  return records.map((bytes, offset) => {
    const record = parseRecord(bytes);
    const seq = start.firstSeq + offset;
    if (record.node !== start.node) throw wrong(`Record ${seq} is of another node`);
    if (record.seq !== seq) throw wrong(`Record ${seq} has the number ${record.seq}`);
    if (prev !== undefined && record.prev !== prev) throw wrong(`Record ${seq} does not follow the one before it`);
    prev = recordHash(bytes, sha256);
    return { record, bytes, hash: prev };
  });
}

/** What a node signs of a batch, under `AUDIT_LABEL`. */
export const batchStatement = (node: string, firstSeq: number, lastSeq: number, lastHash: string): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ node, first_seq: firstSeq, last_seq: lastSeq, last_hash: lastHash }));

function encodeMember(value: string | number | undefined, longest: number): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  return printableJson((value.length > longest ? value.slice(0, longest) : value).toWellFormed());
}

/** An object that has exactly the members of a shape, each as the shape says. */
function checked<S extends typeof DECISION | typeof OUTCOME>(object: JsonObject, shape: S) {
  const names = Object.keys(shape);
  refuseUnknown(object, names, 'record');
  const members = Object.entries<Check>(shape).map(([name, check]) => [name, readMember(object[name], name, check)]);
  return Object.fromEntries(members) as S extends typeof DECISION ? DecisionRecord : OutcomeRecord;
}

function readMember(value: JsonValue | undefined, name: string, check: Check): string | number {
  if (check === 'count' || check === 'positive') {
    const least = check === 'positive' ? 1 : 0;
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || Object.is(value, -0))
      throw wrong(`"${name}" must be a whole number from ${least}`);
    return value;
  }
  const text = readString(value, name);
  if (check === 'hash' && !isHexSha256(text)) throw wrong(`"${name}" must be a sha256 in hex`);
  if (typeof check !== 'string' && !check.includes(text)) throw wrong(`"${name}" must be ${check.join(' or ')}`);
  return text;
}

const wrong = (message: string, cause?: unknown): DaypassError =>
  new DaypassError(
    'invalid_argument',
    message,
    cause === undefined ? { field: 'records' } : { cause, field: 'records' },
  );
