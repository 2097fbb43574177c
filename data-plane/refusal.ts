// Refusals: every error as an RFC 9457 problem, which names a code and a decision and never quotes what came in.
import { STATUS_CODES } from 'node:http';
import { PROOF_ALGS } from '@daypass/core/dpop';
import { REFUSAL_HEADER } from '@daypass/core/error-wire';
import { type Challenge, DaypassError, describe, type ErrorCode } from '@daypass/core/errors';
import { answerFields } from './transport/head-text.ts';
import type { Answer } from './transport/types.ts';

/** A refusal that says when to come back. */
export class RetryLater extends DaypassError {
  readonly seconds: number;

  constructor(code: ErrorCode, message: string, seconds: number) {
    super(code, message);
    this.seconds = seconds;
  }
}

/** A refusal of a proof, with the nonce that the next one must hold, if any (RFC 9449 §9). */
export class Unproved extends DaypassError {
  readonly nonce: string | undefined;

  constructor(code: 'proof_missing' | 'proof_nonce_required', message: string, nonce: string | undefined) {
    super(code, message);
    this.nonce = nonce;
  }
}

/** How the request that is answered presented its token. */
export type Presentation = {
  /** Its token is bound to a key, or was presented as if it were. */
  readonly isDpop: boolean;
  /** A nonce for the next proof. */
  readonly nonce: string | undefined;
};

const AS_BEARER: Presentation = { isDpop: false, nonce: undefined };

/** A problem as it is sent: fields (names and values by turns) and body. */
export type Problem = {
  readonly code: ErrorCode;
  readonly status: number;
  readonly title: string;
  readonly fields: readonly string[];
  readonly body: Buffer;
};

/** Puts an error in words for the client; an error that is not ours says nothing. */
export function problemOf(error: unknown, decisionId: string, presented: Presentation = AS_BEARER): Problem {
  const known = error instanceof DaypassError ? error : new DaypassError('internal', 'Internal error');
  const { status, title } = describe(known.code);
  const body = Buffer.from(
    JSON.stringify({
      type: `urn:daypass:problem:${known.code}`,
      title,
      status,
      detail: known.message,
      code: known.code,
      decision_id: decisionId,
      ...(known.neededRule === undefined ? {} : { needed_rule: known.neededRule }),
      // Where the SDKs of many APIs look: without it Stripe's takes a refusal for an answer.
      error: { code: known.code, message: known.message },
    }),
  );
  const fields = [
    // The charset says nothing (RFC 8259), but some clients read only what names one.
    ...['content-type', 'application/problem+json; charset=utf-8'],
    ...['content-length', String(body.length)],
    ...['cache-control', 'no-store'],
    ...[REFUSAL_HEADER, known.code],
    ...challenge(known, presented),
    ...nonceField(known instanceof Unproved ? known.nonce : presented.nonce),
    ...retryAfter(known, status),
  ];
  return { code: known.code, status, title, fields, body };
}

/** Sends a problem as the answer. `close` ends the connection after it: what is still to come is not read. */
export function sendProblem(response: Answer, problem: Problem, close: boolean): void {
  const fields = close ? [...problem.fields, 'connection', 'close'] : problem.fields;
  response.begin(problem.status, '', answerFields(fields));
  response.end(problem.body);
}

/** A problem as bytes, for a connection on which there is no request to answer. */
export function rawProblem(problem: Problem): string {
  const lines = [`HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status] ?? ''}`];
  for (let at = 0; at + 1 < problem.fields.length; at += 2)
    lines.push(`${problem.fields[at]}: ${problem.fields[at + 1]}`);
  return `${lines.join('\r\n')}\r\nconnection: close\r\n\r\n${problem.body.toString()}`;
}

/** The field that gives out a nonce (RFC 9449 §8.2). */
export const nonceField = (nonce: string | undefined): readonly string[] =>
  nonce === undefined ? [] : ['dpop-nonce', nonce];

const OF_PROOFS: ReadonlySet<Challenge> = new Set(['invalid_dpop_proof', 'use_dpop_nonce']);

// RFC 6750 §3, RFC 9449 §7.1
function challenge({ code, neededRule }: DaypassError, { isDpop }: Presentation): readonly string[] {
  const entry = describe(code);
  if (!('challenge' in entry) || entry.challenge === undefined) return [];
  const error = entry.challenge === '' ? '' : `, error="${entry.challenge}", error_description="${entry.title}"`;
  const scope = neededRule !== undefined && /^[!#-[\]-~ ]+$/.test(neededRule) ? `, scope="${neededRule}"` : '';
  const scheme =
    isDpop || OF_PROOFS.has(entry.challenge) ? `DPoP realm="daypass", algs="${PROOF_ALGS}"` : 'Bearer realm="daypass"';
  return ['www-authenticate', `${scheme}${error}${scope}`];
}

function retryAfter(error: DaypassError, status: number): readonly string[] {
  if (error instanceof RetryLater) return ['retry-after', String(error.seconds)];
  return status === 503 ? ['retry-after', '1'] : [];
}
