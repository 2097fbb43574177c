// The claims of a token: their types, and the one reader that decides what they may hold.
import { DaypassError } from './errors.ts';
import { type JsonObject, type JsonValue, readNumber, readObject, readString, readStringArray } from './json.ts';
import { SCOPE_VERSION } from './rule.ts';
import { LARGEST_TTL_SECONDS, STATUS_CHUNK_BITS } from './service.ts';

/** Where a token's revocation bit stands (IETF Token Status List §6.2). */
export type StatusClaim = { readonly status_list: { readonly idx: number; readonly uri: string } };

/** A token that this one was exchanged from: whatever revokes it, a cut-off too, revokes this one. */
export type ParentClaim = {
  readonly jti: string;
  readonly client_id: string;
  readonly sub: string;
  readonly iat: number;
  readonly status: StatusClaim;
};

/** The key that must prove each use: its SHA-256 thumbprint (RFC 7638), base64url (RFC 9449 §6.1). */
export type Confirmation = { readonly jkt: string };

/** Who acts for the subject (RFC 8693 §4.1). */
export type Actor = { readonly sub: string; readonly act?: Actor };

/** What a token says. Times in seconds since the epoch; `iat` may have a fraction of milliseconds. */
export type TokenClaims = {
  readonly iss: string;
  /** The fleet's URI. */
  readonly aud: string;
  readonly sub: string;
  readonly client_id: string;
  /** The control-plane caller that minted it. */
  readonly caller: string;
  readonly jti: string;
  readonly iat: number;
  readonly nbf: number;
  readonly exp: number;
  readonly service: string;
  /** Rule texts. */
  readonly allowed: readonly string[];
  readonly scope_version: number;
  /** A sealed credential: a compact JWE of at most 2 KiB. */
  readonly credential?: string;
  readonly cnf?: Confirmation;
  readonly act?: Actor;
  readonly parents?: readonly ParentClaim[];
  readonly status: StatusClaim;
};

/** Largest sealed credential in a token, in bytes. */
export const MAX_SEAL_IN_TOKEN = 2048;
const MAX_RULES = 1000;
/** The most tokens that one may come from, one exchanged for the next. */
export const MAX_PARENTS = 8;
const MAX_ACTORS = 8;
/** SHA-256 in base64url: 43 characters, the last of which has two spare bits. */
const THUMBPRINT = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

/** The last second of the year 9999. */
const MAX_TIME = 253_402_300_799;

/** Whether a text can be the thumbprint of a key. */
export const isThumbprint = (text: string): boolean => THUMBPRINT.test(text);

/** The URI of a status chunk. */
export const statusUri = (issuer: string, chunk: number): string => `${issuer}/statuslists/${chunk}`;

/** The chunk that a status URI of this issuer names; throws `token_malformed`. */
export function statusChunk(issuer: string, uri: string): number {
  const head = `${issuer}/statuslists/`;
  const digits = uri.startsWith(head) ? uri.slice(head.length) : '';
  if (!/^(0|[1-9][0-9]{0,8})$/.test(digits)) throw malformed('status_list.uri', 'is not one of the issuer');
  return Number(digits);
}

/** Reads claims; ones that are not known are ignored (RFC 7519 §4). Throws `token_malformed` naming the claim. */
export function readClaims(value: JsonValue): TokenClaims {
  try {
    return claimsOf(readObject(value, 'payload'));
  } catch (cause) {
    if (cause instanceof DaypassError && cause.code !== 'token_malformed')
      throw new DaypassError('token_malformed', cause.message, { cause });
    throw cause;
  }
}

function claimsOf(object: JsonObject): TokenClaims {
  const iss = text(object, 'iss', 2048);
  const claims = {
    iss,
    aud: text(object, 'aud', 256),
    sub: text(object, 'sub', 256),
    client_id: visible(object, 'client_id', 128),
    caller: visible(object, 'caller', 63),
    jti: visible(object, 'jti', 64),
    ...readTimes(object),
    service: visible(object, 'service', 63),
    allowed: readAllowed(object),
    scope_version: readScopeVersion(object),
    status: readStatus(object.status, iss),
  };
  return {
    ...claims,
    ...(object.credential === undefined ? {} : { credential: text(object, 'credential', MAX_SEAL_IN_TOKEN) }),
    ...(object.cnf === undefined ? {} : { cnf: readConfirmation(object.cnf) }),
    ...(object.act === undefined ? {} : { act: readActor(object.act, 1) }),
    ...(object.parents === undefined ? {} : { parents: readParents(object.parents, iss) }),
  };
}

function readTimes(object: JsonObject): Pick<TokenClaims, 'iat' | 'nbf' | 'exp'> {
  const iat = time(object, 'iat');
  const nbf = time(object, 'nbf');
  const exp = time(object, 'exp');
  const start = Math.min(iat, nbf);
  if (!(exp > iat && exp > nbf)) throw malformed('exp', 'is not after iat and nbf');
  if (exp - start > LARGEST_TTL_SECONDS + 1) throw malformed('exp', 'is further away than any token may live');
  return { iat, nbf, exp };
}

function readAllowed(object: JsonObject): readonly string[] {
  const allowed = readStringArray(object.allowed, 'allowed');
  if (allowed.length === 0 || allowed.length > MAX_RULES)
    throw malformed('allowed', `must hold 1 to ${MAX_RULES} rules`);
  return allowed;
}

function readScopeVersion(object: JsonObject): number {
  const version = readNumber(object.scope_version, 'scope_version');
  if (version !== SCOPE_VERSION)
    throw malformed('scope_version', 'is a version of the scope language that is not known');
  return version;
}

function readStatus(value: JsonValue | undefined, iss: string): StatusClaim {
  const list = readObject(readObject(value, 'status').status_list, 'status.status_list');
  const idx = readNumber(list.idx, 'status_list.idx');
  const uri = text(list, 'uri', 2200);
  if (!Number.isInteger(idx) || idx < 0 || idx >= STATUS_CHUNK_BITS)
    throw malformed('status_list.idx', 'is out of range');
  statusChunk(iss, uri);
  return { status_list: { idx, uri } };
}

// RFC 7800 §3: a sender constraint that is not checked would make a bound token a bearer token.
function readConfirmation(value: JsonValue): Confirmation {
  const object = readObject(value, 'cnf');
  const jkt = readString(object.jkt, 'cnf.jkt');
  if (Object.keys(object).length !== 1 || !isThumbprint(jkt))
    throw malformed('cnf', 'is not the thumbprint of one key');
  return { jkt };
}

function readActor(value: JsonValue, depth: number): Actor {
  const object = readObject(value, 'act');
  if (depth > MAX_ACTORS) throw malformed('act', `is nested deeper than ${MAX_ACTORS}`);
  const sub = text(object, 'sub', 256);
  return object.act === undefined ? { sub } : { sub, act: readActor(object.act, depth + 1) };
}

function readParents(value: JsonValue, iss: string): readonly ParentClaim[] {
  if (!Array.isArray(value) || value.length > MAX_PARENTS)
    throw malformed('parents', `must be an array of at most ${MAX_PARENTS}`);
  return value.map((one: JsonValue) => {
    const parent = readObject(one, 'parents');
    return {
      jti: visible(parent, 'jti', 64),
      client_id: visible(parent, 'client_id', 128),
      sub: text(parent, 'sub', 256),
      iat: time(parent, 'iat'),
      status: readStatus(parent.status, iss),
    };
  });
}

function text(object: JsonObject, name: string, max: number): string {
  const value = readString(object[name], name);
  if (value === '' || value.length > max) throw malformed(name, `must be 1 to ${max} characters`);
  return value;
}

/** Text that is compared, indexed and logged: visible ASCII. */
function visible(object: JsonObject, name: string, max: number): string {
  const value = text(object, name, max);
  if (!/^[!-~]+$/.test(value)) throw malformed(name, 'must be visible ASCII');
  return value;
}

function time(object: JsonObject, name: string): number {
  const value = readNumber(object[name], name);
  if (!(value >= 0 && value <= MAX_TIME)) throw malformed(name, 'is not a time');
  return value;
}

const malformed = (claim: string, what: string): DaypassError =>
  new DaypassError('token_malformed', `The claim "${claim}" ${what}`, { field: claim });
