// The proofs that were used on this node: each is good once (RFC 9449 §11.1). Bounded, and nobody can use it up alone.
import { hash } from 'node:crypto';
import { PROOF_AHEAD_SECONDS, PROOF_SECONDS } from '@daypass/core/dpop';
import { DaypassError } from '@daypass/core/errors';
import type { DataLimits } from './limits.ts';
import type { Metrics } from './metrics.ts';
import { RetryLater } from './refusal.ts';

/** One use of a proof. */
export type ProofUse = {
  readonly jkt: string;
  readonly jti: string;
  /** Seconds. */
  readonly iat: number;
  /** The token that it was shown with. */
  readonly token: { readonly jti: string; readonly caller: string };
};

/** The memory. Both throw `proof_replayed`, or `rate_limited` and `overloaded` when there is no room to remember it. */
export type Replays = {
  /** Whether it would be taken now. */
  check(use: ProofUse): void;
  /** Takes it: no other of the same key and id is taken from here on. */
  take(use: ProofUse): void;
};

/** What was used in one span of time; all of it is forgotten together. */
type Span = {
  readonly from: number;
  readonly used: Set<string>;
  readonly counts: Map<string, number>;
  lastIat: number;
};

/** What bounds a use: its token, and the caller with all its tokens. */
type Owners = readonly [token: string, caller: string];

/** After this long its own time refuses a proof. */
const KEPT_MS = (PROOF_SECONDS + PROOF_AHEAD_SECONDS + 1) * 1000;
const SPAN_MS = 10_000;
/** Parts of the memory that one token, and one caller, may fill. */
const TOKEN_PART = 1 / 16;
const CALLER_PART = 1 / 4;

/** Returns an empty memory. */
export function createReplays(limits: DataLimits, nowMs: () => number, metrics: Metrics): Replays {
  const max = limits.proofsMax;
  const spans: Span[] = [];
  // A clock that was set back must not make a forgotten proof good again.
  let forgotten = Number.NEGATIVE_INFINITY;
  const size = (): number => spans.reduce((sum, { used }) => sum + used.size, 0);
  const countOf = (owner: string): number => spans.reduce((sum, { counts }) => sum + (counts.get(owner) ?? 0), 0);
  metrics.gauge('daypass_proofs_remembered', 'DPoP proofs that would be refused as used before', size);
  const forget = (): void => {
    const end = nowMs() - KEPT_MS - SPAN_MS;
    for (let first = spans[0]; first !== undefined && first.from <= end; first = spans[0]) {
      forgotten = Math.max(forgotten, first.lastIat);
      spans.shift();
    }
  };
  const check = (use: ProofUse, key: string, [token, caller]: Owners): void => {
    forget();
    if (use.iat <= forgotten || spans.some(({ used }) => used.has(key)))
      throw new DaypassError('proof_replayed', 'The proof was used before');
    if (countOf(token) >= max * TOKEN_PART || countOf(caller) >= max * CALLER_PART)
      throw new RetryLater('rate_limited', 'Too many requests with proofs came within a minute', 1);
    if (size() >= max) throw new RetryLater('overloaded', 'No further proof can be remembered', 1);
  };
  const spanNow = (): Span => {
    const now = nowMs();
    const last = spans.at(-1);
    if (last !== undefined && now < last.from + SPAN_MS) return last;
    const fresh = { from: now, used: new Set<string>(), counts: new Map<string, number>(), lastIat: forgotten };
    spans.push(fresh);
    return fresh;
  };
  return {
    check: (use) => check(use, keyOf(use), ownersOf(use)),
    take(use) {
      const key = keyOf(use);
      const owners = ownersOf(use);
      check(use, key, owners);
      const span = spanNow();
      span.used.add(key);
      span.lastIat = Math.max(span.lastIat, use.iat);
      for (const owner of owners) span.counts.set(owner, (span.counts.get(owner) ?? 0) + 1);
    },
  };
}

/** Of one length, whatever the client chose. */
const keyOf = ({ jkt, jti }: ProofUse): string => hash('sha256', `${jkt} ${jti}`, 'base64');

const ownersOf = ({ token: { jti, caller } }: ProofUse): Owners => [`t ${jti}`, `c ${caller}`];
