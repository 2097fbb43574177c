// Authentication: a token becomes a `VerifiedToken`, by its signature once and by the current snapshot at every request.
import { DaypassError } from '@daypass/core/errors';
import type { CompiledRules } from '@daypass/core/rule-match';
import { checkTokenTime, readToken, statusPositions, type VerifiedClaims, verifyToken } from '@daypass/core/token';
import type { ActiveSnapshot } from './active.ts';
import type { Bound } from './bound.ts';
import { BoundedCache } from './bounded-cache.ts';
import { type Bucket, putBack, secondsUntilOne, take } from './bucket.ts';
import type { Presented } from './fields-read.ts';
import { createTokenKeeper, type TokenKeeper } from './kept-token.ts';
import { connectionFailures, type DataLimits } from './limits.ts';
import type { Metrics } from './metrics.ts';
import { findToken } from './presented.ts';
import type { Proof, Prover, Sender } from './proof.ts';
import { RetryLater } from './refusal.ts';
import { isCutOffBy, isRevokedBy } from './revocation.ts';
import type { Route } from './route.ts';
import type { Budget } from './shared/buckets.ts';
import type { Head } from './wire.ts';

declare const verified: unique symbol;

/** A token that is good now, under the current snapshot. Only this file makes one. */
export type VerifiedToken = {
  readonly claims: VerifiedClaims;
  readonly session: Session;
  readonly [verified]: true;
};

/** What depends on a token alone, kept for its next request, and what the last snapshot said of it. */
export type Session = {
  readonly claims: VerifiedClaims;
  /** Of a token that is bound to a key. */
  readonly sender: Sender | undefined;
  readonly kid: string;
  /** The key that verified it, as `ActiveSnapshot.keyPrints` has it. */
  readonly keyPrint: string;
  readonly rules: CompiledRules;
  /** What it takes of memory beside its text. */
  readonly bytes: number;
  /** Digest of the snapshot that neither revokes it nor cuts it off: a session must not keep old snapshots alive. */
  clearedBy: string | undefined;
  /** What its credential is under a snapshot. */
  bound: Bound | undefined;
};

/** One request, and what is found out of it on the way. */
export type Presenting = {
  readonly connection: { readonly failures: Bucket };
  /** Its token is bound to a key, or is presented as if it were. */
  isDpop?: boolean;
  /** Used up when it was made: a request that is decided twice keeps it. */
  proof?: Proof;
};

/** The step. */
export type Authenticator = {
  /**
   * The verified token of a request, with its proof if it is bound; undefined for an anonymous service. Throws the
   * `token_*` or `proof_*` code that refused. At once for a token that was verified before, unless it needs a proof.
   */
  authenticate(
    route: Route,
    head: Head,
    request: Presenting,
  ): VerifiedToken | undefined | Promise<VerifiedToken | undefined>;
};

type Deps = {
  readonly limits: DataLimits;
  readonly nowMs: () => number;
  readonly metrics: Metrics;
  readonly prover: Prover;
  /** Tokens that may yet fail verification, over all threads. */
  readonly failures: Budget;
};

/** Returns the step with an empty cache. */
export function createAuthenticator({ limits, nowMs, metrics, prover, failures: total }: Deps): Authenticator {
  const sessions = new BoundedCache<Session>({ entries: limits.tokenCacheEntries, chars: limits.tokenCacheBytes });
  const verifier = createVerifier(limits, nowMs, prover, total);
  const lookups = metrics.counter('daypass_token_lookups_total', 'Tokens looked up in the cache of verified ones', [
    'result',
  ]);
  metrics.gauge('daypass_token_cache_entries', 'Verified tokens kept', () => sessions.size);
  const hits = lookups.series('hit');
  const misses = lookups.series('miss');
  const verify = async (text: string, snapshot: ActiveSnapshot, failures: Bucket): Promise<Session> => {
    misses.add(1);
    sessions.delete(text);
    const session = await verifier.verify(text, snapshot, failures);
    // A copy: what is cut from a head keeps all of it.
    sessions.set(Buffer.from(text, 'latin1').toString('latin1'), session, session.bytes);
    return session;
  };
  /** What is checked at every request. */
  const present = (
    session: Session,
    { text, isDpop }: Presented,
    head: Head,
    snapshot: ActiveSnapshot,
    request: Presenting,
  ): VerifiedToken | Promise<VerifiedToken> => {
    const { claims, sender } = session;
    request.isDpop = sender !== undefined;
    checkTokenTime(claims, nowMs() / 1000);
    checkRevocation(session, snapshot);
    checkScheme(isDpop, sender);
    const token = { claims, session } as VerifiedToken;
    if (sender === undefined || request.proof?.token === text) return token;
    return prover.prove({ text, claims, sender }, head, snapshot, request.connection.failures).then((proof) => {
      request.proof = proof;
      return token;
    });
  };
  return {
    authenticate({ service, snapshot }, head, request) {
      if (service?.config.anonymous === true) return undefined;
      const presented = findToken(head, service);
      if (presented === undefined)
        throw new DaypassError('token_missing', 'A token is needed: Authorization: Bearer <token>');
      const { text, isDpop } = presented;
      request.isDpop = isDpop;
      const known = sessions.get(text);
      if (known === undefined || !isByActiveKey(known, snapshot))
        return verify(text, snapshot, request.connection.failures).then((session) =>
          present(session, presented, head, snapshot, request),
        );
      hits.add(1);
      return present(known, presented, head, snapshot, request);
    },
  };
}

/** Whether the key that verified a token is still one of the snapshot's. */
export const isByActiveKey = (session: Session, snapshot: ActiveSnapshot): boolean =>
  session.claims.aud === snapshot.fleet && snapshot.keyPrints.get(session.kid) === session.keyPrint;

// RFC 9449 §7.2: a bound token is never a bearer token; nor does a token become bound by how it is presented.
function checkScheme(isDpop: boolean, sender: Sender | undefined): void {
  if (isDpop === (sender !== undefined)) return;
  const how = isDpop
    ? 'The token is bound to no key: it is presented as Bearer'
    : 'The token is bound to a key: it is presented as DPoP, with a proof';
  throw new DaypassError('token_scheme_wrong', how);
}

function checkRevocation(session: Session, snapshot: ActiveSnapshot): void {
  if (session.clearedBy === snapshot.digest) return;
  const { claims } = session;
  if (isRevokedBy(snapshot, statusPositions(claims)) || isCutOffBy(snapshot, claims, undefined))
    throw new DaypassError('token_revoked', 'The token has been revoked');
  session.clearedBy = snapshot.digest;
}

type Verifier = { verify(text: string, snapshot: ActiveSnapshot, failures: Bucket): Promise<Session> };

// Signatures cost enough to be a weapon: one at a time for each token, few at a time, and few failures a second.
function createVerifier(limits: DataLimits, nowMs: () => number, prover: Prover, total: Budget): Verifier {
  const connectionFlow = connectionFailures(limits);
  const keeper = createTokenKeeper();
  const pending = new Map<string, { readonly snapshot: ActiveSnapshot; readonly session: Promise<Session> }>();
  const spend = (failures: Bucket): void => {
    const now = nowMs();
    if (!take(failures, connectionFlow, now)) {
      const seconds = secondsUntilOne(failures, connectionFlow);
      throw new RetryLater('rate_limited', 'Too many bad tokens came over this connection', seconds);
    }
    if (!total.take()) throw new RetryLater('overloaded', 'Too many bad tokens are being presented', 1);
  };
  return {
    async verify(text, snapshot, failures) {
      const { kid } = readToken(text);
      if (!snapshot.keys.has(kid)) return unknownKey();
      const running = pending.get(text);
      if (running !== undefined && running.snapshot === snapshot) return running.session;
      if (pending.size >= limits.maxVerifying)
        throw new RetryLater('overloaded', 'Too many tokens are being verified', 1);
      spend(failures);
      const session = openSession(text, kid, snapshot, prover, keeper);
      pending.set(text, { snapshot, session });
      try {
        const result = await session;
        putBack(failures, connectionFlow);
        total.putBack();
        return result;
      } finally {
        pending.delete(text);
      }
    },
  };
}

const unknownKey = (): never => {
  throw new DaypassError('token_key_unknown', 'The token was signed with a key that is not active');
};

async function openSession(
  text: string,
  kid: string,
  snapshot: ActiveSnapshot,
  prover: Prover,
  keeper: TokenKeeper,
): Promise<Session> {
  const { claims, rules, bytes } = keeper.keep(
    await verifyToken(text, { keys: snapshot.keys, audience: snapshot.fleet }),
  );
  return {
    claims,
    sender: claims.cnf === undefined ? undefined : prover.sender(text, claims.cnf.jkt),
    kid: keeper.share(kid),
    keyPrint: snapshot.keyPrints.get(kid) ?? unknownKey(),
    rules,
    bytes,
    clearedBy: undefined,
    bound: undefined,
  };
}
