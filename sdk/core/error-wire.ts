// How an error's code travels: as metadata over Connect, in a problem over HTTP.
import { DaypassError, type ErrorCode, isErrorCode } from './errors.ts';
import { type JsonObject, parseStrictJson, readObject } from './json.ts';

/** Connect error metadata that carries the code of the catalogue. */
export const CODE_METADATA = 'daypass-error-code';
/** Connect error metadata that carries the argument at fault, percent-encoded. */
export const FIELD_METADATA = 'daypass-error-field';

/**
 * Response header that carries the code of a data plane's own refusal. A data plane takes it off every answer of an
 * upstream: a problem without it is the upstream's, whatever it says.
 */
export const REFUSAL_HEADER = 'daypass-refusal';

/** A refusal as a data plane words it (RFC 9457). */
export type ProblemText = {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly decisionId: string;
  readonly neededRule: string | undefined;
};

/** Reads a refusal; undefined for a problem that is not Daypass's. */
export function readProblem(text: string): ProblemText | undefined {
  try {
    return problemOf(readObject(parseStrictJson(text), 'problem'));
  } catch (error) {
    if (error instanceof DaypassError) return undefined;
    throw error;
  }
}

function problemOf({ code, detail, decision_id, needed_rule }: JsonObject): ProblemText | undefined {
  if (typeof code !== 'string' || !isErrorCode(code)) return undefined;
  if (typeof detail !== 'string' || typeof decision_id !== 'string') return undefined;
  return {
    code,
    detail,
    decisionId: decision_id,
    neededRule: typeof needed_rule === 'string' ? needed_rule : undefined,
  };
}
