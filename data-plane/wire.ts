// The wire: reads a request head that has exactly one reading, or refuses it before anything else is looked at.
import { isIPv6 } from 'node:net';
import { DaypassError, type ErrorCode } from '@daypass/core/errors';
import { isMethod, NEVER_FORWARDED } from '@daypass/core/method';
import { parseTarget, type Target } from '@daypass/core/target';
import type { FieldsRead, Kept } from './fields-read.ts';
import { optionNames, plainName } from './header-names.ts';
import type { Arriving } from './transport/types.ts';

declare const read: unique symbol;

/** A request head with one reading. Only `readHead` makes one. */
export type Head = FieldsRead & {
  readonly method: string;
  /** The whole target, the service's prefix included. It may hold an encoded slash; that of the route only as its service allows. */
  readonly target: Target;
  /** The client waits for 100 before it sends its body. */
  readonly expectsContinue: boolean;
  readonly [read]: true;
};

/** Whether a body follows the head. */
export const hasBody = (head: Head): boolean => head.chunked || (head.contentLength ?? 0) > 0;

/** What is read of a request. */
export type Incoming = Pick<Arriving, 'method' | 'target' | 'major' | 'minor' | 'fields'>;

/** Reads the head; throws the code of the check that refused. Fields that are known from before are not read again. */
export function readHead(
  request: Incoming,
  limits: { readonly bodyBytesMax: number },
  kept: Kept = { read: undefined },
): Head {
  const method = checkMethod(request);
  const { fields: source, minor } = request;
  const known = kept.read?.source === source && kept.read.minor === minor ? kept.read : undefined;
  const fieldsRead = known ?? readFields(source, minor, limits);
  kept.read = fieldsRead;
  const { fields, hopNames, authorization, proof, contentLength, chunked, expect, memo } = fieldsRead;
  return {
    method,
    // Whether an encoded slash may stand in it is for the service to say.
    target: parseTarget(request.target, { encodedSlashes: true }),
    fields,
    hopNames,
    authorization,
    proof,
    contentLength,
    chunked,
    expectsContinue: readExpectation(expect) && minor === 1,
    memo,
  } as unknown as Head;
}

function readFields(
  source: readonly string[],
  minor: number,
  limits: { readonly bodyBytesMax: number },
): NonNullable<Kept['read']> {
  const fields: string[] = [];
  const hopNames = new Set<string>();
  const single: Single = {};
  for (let at = 0; at + 1 < source.length; at += 2) {
    const name = plainName(source[at] ?? '');
    const value = source[at + 1] ?? '';
    if (name === '') continue;
    if (ONCE.has(name)) takeOnce(single, name, value);
    else if (name === 'connection') for (const option of optionNames(value)) hopNames.add(option);
    else if (name === 'upgrade') checkUpgrade(value);
    fields.push(name, value);
  }
  checkHost(single.host);
  const framing = readFraming(single, minor, limits.bodyBytesMax);
  const { authorization, dpop: proof, expect } = single;
  return { source, minor, fields, hopNames, authorization, proof, ...framing, expect, memo: {} };
}

type Single = {
  host?: string;
  authorization?: string;
  dpop?: string;
  'content-length'?: string;
  'transfer-encoding'?: string;
  'content-type'?: string;
  expect?: string;
};
type SingleName = keyof Single;

/** Fields of which a second one would leave it open which counts, and the code that says so. */
const ONCE: ReadonlyMap<string, ErrorCode> = new Map<SingleName, ErrorCode>([
  ['host', 'host_invalid'],
  ['authorization', 'token_ambiguous'],
  // RFC 9449 §4.3 (1)
  ['dpop', 'proof_invalid'],
  ['content-length', 'framing_invalid'],
  ['transfer-encoding', 'framing_invalid'],
  ['content-type', 'header_invalid'],
  ['expect', 'expectation_failed'],
]);

function takeOnce(single: Single, name: string, value: string): void {
  const key = name as SingleName;
  if (single[key] !== undefined)
    throw new DaypassError(ONCE.get(name) ?? 'header_invalid', `There are two ${name} fields`);
  single[key] = value;
}

function checkMethod(request: Incoming): string {
  const { method } = request;
  if (request.major !== 1 || request.minor > 1)
    throw new DaypassError('framing_invalid', 'Only HTTP/1.1 and HTTP/1.0 are spoken here');
  if (NEVER_FORWARDED.has(method)) throw new DaypassError('method_refused', 'This method is never forwarded');
  if (!isMethod(method)) throw new DaypassError('method_refused', 'This is not a method');
  return method;
}

// RFC 9112 §3.2: exactly one, and nothing but a host and a port.
function checkHost(host: string | undefined): void {
  const match = /^(?:[A-Za-z0-9._-]{1,255}|\[([0-9A-Fa-f:.]{2,45})\])(?::([0-9]{1,5}))?$/.exec(host ?? '');
  const isSound = match !== null && (match[1] === undefined || isIPv6(match[1])) && Number(match[2] ?? 0) <= 65_535;
  if (!isSound)
    throw new DaypassError('host_invalid', 'The request needs one Host field with a host and at most a port');
}

// RFC 9110 §7.8: an upgrade may be ignored. The one to cleartext HTTP/2 is offered unasked by some clients.
function checkUpgrade(value: string): void {
  if (value.trim().toLowerCase() !== 'h2c')
    throw new DaypassError('upgrade_refused', 'The connection cannot become another protocol');
}

type Framing = Pick<Head, 'contentLength' | 'chunked'>;

// RFC 9112 §6: one way to say where the body ends.
function readFraming(single: Single, httpMinor: number, bodyBytesMax: number): Framing {
  const length = single['content-length'];
  const coding = single['transfer-encoding'];
  if (coding !== undefined) {
    if (length !== undefined || httpMinor === 0 || coding.toLowerCase() !== 'chunked')
      throw new DaypassError('framing_invalid', 'Transfer-Encoding must be chunked, alone, and without Content-Length');
    return { contentLength: undefined, chunked: true };
  }
  if (length === undefined) return { contentLength: undefined, chunked: false };
  if (!/^[0-9]{1,15}$/.test(length)) throw new DaypassError('framing_invalid', 'Content-Length must be digits');
  const bytes = Number(length);
  if (bytes > bodyBytesMax)
    throw new DaypassError('body_too_large', `A request body holds at most ${bodyBytesMax} bytes`);
  return { contentLength: bytes, chunked: false };
}

// RFC 9110 §10.1.1
function readExpectation(value: string | undefined): boolean {
  if (value === undefined) return false;
  if (value.trim().toLowerCase() !== '100-continue')
    throw new DaypassError('expectation_failed', 'The only expectation that can be met is 100-continue');
  return true;
}
