// The proof of a bound token (RFC 9449 §7): for this request, by the token's key, fresh, and never used before on this node.
import { hash } from 'node:crypto';
import { type ProofKey, type ReadProof, readProof, verifyProofKey } from '@daypass/core/dpop';
import type { VerifiedClaims } from '@daypass/core/token';
import type { ActiveSnapshot } from './active.ts';
import { type Bucket, type Flow, fullBucket, putBack, secondsUntilOne, take } from './bucket.ts';
import { connectionFailures, type DataLimits } from './limits.ts';
import { createNonces } from './nonce.ts';
import { RetryLater, Unproved } from './refusal.ts';
import { createReplays } from './replay.ts';
import type { SharedLimits } from './shared/limits.ts';
import type { Head } from './wire.ts';

declare const proved: unique symbol;

/** The proof of one request, which has used it up. Only this file makes one. */
export type Proof = {
  /** The token that it is for. */
  readonly token: string;
  /** To be given out with the answer: the proof's own will soon be too old. */
  readonly nextNonce: string | undefined;
  readonly [proved]: true;
};

/** What is kept of a bound token for its proofs. */
export type Sender = {
  readonly jkt: string;
  readonly tokenHash: string;
  /** Its proofs that may yet fail verification. */
  readonly failures: Bucket;
  /** The last verification that was begun, while it goes on; never rejects. */
  running: Promise<void> | undefined;
  key: ProofKey | undefined;
};

/** A token as it was presented, bound to a key and good by itself. */
export type BoundToken = { readonly text: string; readonly claims: VerifiedClaims; readonly sender: Sender };

/** The step. */
export type Prover = {
  /** What to keep of a token that is bound to the key with this thumbprint. */
  sender(token: string, jkt: string): Sender;
  /**
   * Verifies the proof of a request and uses it up. Throws a `proof_*` code, `rate_limited` or `overloaded`. `failures`
   * are those that the connection may yet make.
   */
  prove(token: BoundToken, head: Head, snapshot: ActiveSnapshot, failures: Bucket): Promise<Proof>;
};

/** When a nonce is asked for: where a pool has more than one node, or always. */
export type NonceRule = 'auto' | 'always';

type Deps = {
  readonly limits: DataLimits;
  /** Of all threads: the proofs that were used, and the key of nonces. */
  readonly shared: Pick<SharedLimits, 'proofs' | 'nonceKey' | 'startedAtMs'>;
  readonly nowMs: () => number;
  readonly nonceRule: NonceRule;
  /** Origin that clients know the proxy by. */
  readonly publicUrl: () => string;
};

/** Returns the step. */
export function createProver({ limits, shared, nowMs, nonceRule, publicUrl }: Deps): Prover {
  const nonces = createNonces(shared.nonceKey, nowMs);
  const replays = createReplays(shared.proofs, limits.proofsMax);
  const flow = connectionFailures(limits);
  const startedAt = Math.floor(shared.startedAtMs / 1000);
  let verifying = 0;
  const isNonceNeeded = (snapshot: ActiveSnapshot, iat: number): boolean =>
    // What was used before the start is not remembered.
    nonceRule === 'always' || snapshot.poolNodes !== 1 || iat < startedAt;
  // RFC 9449 §4.3 (10), §8.2. A nonce that nobody asked for must be a good one, too.
  const nextNonce = ({ nonce, iat }: ReadProof, snapshot: ActiveSnapshot): string | undefined => {
    if (nonce === undefined && !isNonceNeeded(snapshot, iat)) return undefined;
    const verdict = nonce === undefined ? 'wrong' : nonces.judge(nonce);
    if (verdict === 'wrong')
      throw new Unproved('proof_nonce_required', 'The proof needs the nonce of this answer', nonces.current());
    return verdict === 'old' ? nonces.current() : undefined;
  };
  const verify = async (proof: ReadProof, sender: Sender, failures: Bucket): Promise<void> => {
    // Good proofs that come at once are no failures: what is being verified may yet give its part back.
    while (sender.running !== undefined && sender.failures.level < 1) await sender.running;
    if (verifying >= limits.maxProving) throw new RetryLater('overloaded', 'Too many proofs are being verified', 1);
    spend(sender.failures, failures, flow, nowMs());
    const ended = Promise.withResolvers<void>();
    sender.running = ended.promise;
    verifying += 1;
    try {
      sender.key = await verifyProofKey(proof, sender.jkt, sender.key);
      putBack(failures, flow);
      putBack(sender.failures, flow);
    } finally {
      verifying -= 1;
      if (sender.running === ended.promise) sender.running = undefined;
      ended.resolve();
    }
  };
  return {
    sender: (token, jkt) => {
      const tokenHash = hash('sha256', token, 'base64url');
      return { jkt, tokenHash, failures: fullBucket(flow, nowMs()), running: undefined, key: undefined };
    },
    async prove({ text, claims, sender }, head, snapshot, failures) {
      const { method, target, proof: given } = head;
      if (given === undefined) {
        const nonce = isNonceNeeded(snapshot, startedAt) ? nonces.current() : undefined;
        throw new Unproved('proof_missing', 'The token is bound to a key: it needs a proof in the field DPoP', nonce);
      }
      const url = new URL(publicUrl()).origin + target.path;
      const proof = readProof(given, { method, url, tokenHash: sender.tokenHash, now: nowMs() / 1000 });
      const next = nextNonce(proof, snapshot);
      const use = { jkt: sender.jkt, jti: proof.jti, iat: proof.iat, token: claims };
      // Before the signature, because it is cheap, and after it, because only a proof that is one is used up.
      replays.check(use);
      await verify(proof, sender, failures);
      replays.take(use);
      return { token: text, nextNonce: next } as Proof;
    },
  };
}

// A connection's failures count with those of its tokens; a token's own bound what all its connections cost together.
function spend(own: Bucket, connection: Bucket, flow: Flow, now: number): void {
  const refuse = (bucket: Bucket): never => {
    throw new RetryLater('rate_limited', 'Too many bad proofs are being presented', secondsUntilOne(bucket, flow));
  };
  if (!take(connection, flow, now)) refuse(connection);
  if (take(own, flow, now)) return;
  putBack(connection, flow);
  refuse(own);
}
