// What is inside a sealed credential: its type, and the one reader that decides what it may hold.
import { DaypassError } from './errors.ts';
import { type JsonValue, readNumber, readObject, readString, readStringArray, refuseUnknown } from './json.ts';
import { readPlace, secretProblem } from './place.ts';
import type { CredentialPlace } from './service.ts';

/** A credential and everything that it is good for. */
export type SealPlaintext = {
  readonly v: 1;
  /** 128 random bits in lower-case hexadecimal. */
  readonly id: string;
  readonly fleet: string;
  readonly pool: string;
  readonly service: string;
  /** Exact origins it may be sent to: `https://host[:port]`, default port left out. */
  readonly origins: readonly string[];
  readonly place: CredentialPlace;
  /** A ceiling in the scope language; `[ALL_REQUESTS]`: no limit. `scope:` is refused: another could widen it. */
  readonly rules: readonly string[];
  /** Control-plane callers that may mint with it; `[ANY_CALLER]`: every one that may mint for the service. */
  readonly callers: readonly string[];
  /** Seconds since the epoch. */
  readonly nbf: number;
  /** Seconds since the epoch. */
  readonly exp: number;
  readonly secret: string;
};

/** The one entry of `callers` that stands for every caller that may mint for the service. */
export const ANY_CALLER = '*';

/** The rule that allows every request. */
export const ALL_REQUESTS = '* /**';

const MEMBERS = ['v', 'id', 'fleet', 'pool', 'service', 'origins', 'place', 'rules', 'callers', 'nbf', 'exp', 'secret'];
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const MAX_LIST = 256;
/** The last second of the year 9999. */
const MAX_TIME = 253_402_300_799;

/** Reads a plaintext strictly; rules are only seen to be texts. Throws `invalid_json` naming the member, never quoting the secret. */
export function readPlaintext(value: JsonValue): SealPlaintext {
  const object = readObject(value, 'seal');
  refuseUnknown(object, MEMBERS, 'seal');
  if (object.v !== 1) throw wrong('v', 'must be 1');
  const place = readPlace(object.place, 'place');
  const plaintext: SealPlaintext = {
    v: 1,
    id: matching(object.id, 'id', /^[0-9a-f]{32}$/),
    fleet: matching(object.fleet, 'fleet', /^[!-~]{1,256}$/),
    pool: matching(object.pool, 'pool', NAME),
    service: matching(object.service, 'service', NAME),
    origins: list(object.origins, 'origins').map(readOrigin),
    place,
    rules: list(object.rules, 'rules'),
    callers: readCallers(list(object.callers, 'callers')),
    nbf: time(object.nbf, 'nbf'),
    exp: time(object.exp, 'exp'),
    secret: readString(object.secret, 'secret'),
  };
  if (plaintext.origins.length === 0) throw wrong('origins', 'is empty');
  if (!(plaintext.nbf < plaintext.exp)) throw wrong('exp', 'is not after nbf');
  const problem = secretProblem(plaintext.secret, place);
  if (problem !== undefined) throw wrong('secret', problem);
  return plaintext;
}

function readOrigin(origin: string): string {
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  const scheme = url?.protocol === 'https:' || url?.protocol === 'http:';
  if (!scheme || url.origin !== origin) throw wrong('origins', 'holds something that is not an exact origin');
  return origin;
}

function readCallers(callers: readonly string[]): readonly string[] {
  if (callers.length === 1 && callers[0] === ANY_CALLER) return callers;
  for (const caller of callers)
    if (!NAME.test(caller)) throw wrong('callers', `must hold caller names, or "${ANY_CALLER}" alone`);
  return callers;
}

function list(value: JsonValue | undefined, where: string): readonly string[] {
  const items = readStringArray(value, where);
  if (items.length > MAX_LIST) throw wrong(where, `holds more than ${MAX_LIST} items`);
  return items;
}

function matching(value: JsonValue | undefined, where: string, pattern: RegExp): string {
  const text = readString(value, where);
  if (!pattern.test(text)) throw wrong(where, 'has a wrong form');
  return text;
}

function time(value: JsonValue | undefined, where: string): number {
  const seconds = readNumber(value, where);
  if (!(seconds >= 0 && seconds <= MAX_TIME)) throw wrong(where, 'is not a time');
  return seconds;
}

const wrong = (where: string, what: string): DaypassError =>
  new DaypassError('invalid_json', `"${where}" ${what}`, { field: where });
