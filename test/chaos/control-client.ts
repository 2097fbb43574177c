// Calls to whichever control plane answers, as an operator's program would make them: another one, and again, until a deadline.
import { setTimeout as pause } from 'node:timers/promises';
import { call } from '../kit/planes.ts';
import type { Receipt } from './ledger.ts';
import type { Random } from './random.ts';

/** An answer in proto3 JSON. */
export type Json = Readonly<Record<string, unknown>>;

/** An error that another control plane would give, too. */
export class Refused extends Error {
  readonly code: string;

  constructor(method: string, code: string, message: string) {
    super(`${method}: ${code}: ${message}`);
    this.code = code;
  }
}

export type ControlClient = {
  /** Calls until a control plane has answered. Throws `Refused`, or after 60 s without an answer. */
  call(method: string, message: Json): Promise<Json>;
  /** Errors that another try has mended, by what they were. */
  readonly retried: ReadonlyMap<string, number>;
};

const PATIENCE_MS = 60_000;
const PAUSE_MS = 50;
/** Connect codes that speak of the moment, not of the call. */
const PASSING = new Set(['unavailable', 'deadline_exceeded', 'aborted', 'resource_exhausted']);

/** Makes a client that chooses by chance. */
export function createControlClient(urls: readonly string[], adminKey: string, random: Random): ControlClient {
  const retried = new Map<string, number>();
  const headers = { authorization: `Bearer ${adminKey}` };
  const once = async (url: string, method: string, message: Json): Promise<Json | string> => {
    const answer = await call(url, method, message, headers).catch((error: unknown) => causeOf(error));
    if (typeof answer === 'string') return answer;
    if (answer.status === 200) return answer.body;
    const code = String(answer.body.code);
    if (PASSING.has(code)) return `${code}: ${String(answer.body.message)}`;
    throw new Refused(method, code, String(answer.body.message));
  };
  return {
    retried,
    call: async (method, message) => {
      const deadline = performance.now() + PATIENCE_MS;
      let at = random.between(0, urls.length - 1);
      let last = '';
      while (performance.now() < deadline) {
        const answer = await once(urls[at % urls.length] ?? '', method, message);
        if (typeof answer !== 'string') return answer;
        last = answer;
        retried.set(answer, (retried.get(answer) ?? 0) + 1);
        at += 1;
        await pause(PAUSE_MS);
      }
      throw new Error(`${method}: no control plane could answer within ${PATIENCE_MS} ms: ${last}`);
    },
  };
}

/** The receipt in an answer. */
export function receiptOf(answer: Json): Receipt {
  const { version, acknowledged = [], missing = [] } = (answer.rollout ?? {}) as Rollout;
  return {
    version: Number(version),
    acknowledged,
    missing: new Map(missing.map(({ node, leaseExpiresAt }) => [node, Date.parse(leaseExpiresAt)])),
  };
}

type Rollout = {
  readonly version?: string;
  readonly acknowledged?: readonly string[];
  readonly missing?: readonly { readonly node: string; readonly leaseExpiresAt: string }[];
};

function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? (('code' in cause ? String(cause.code) : undefined) ?? cause.message) : String(cause);
}
