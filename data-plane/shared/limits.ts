// What bounds all threads of a node together: made once by the main thread, opened by each thread under its slot.
import { randomBytes } from 'node:crypto';
import { PROOF_AHEAD_SECONDS } from '@daypass/core/dpop';
import type { DataLimits } from '../limits.ts';
import type { Metrics } from '../metrics.ts';
import { PROOF_KEPT_MS } from '../replay.ts';
import {
  type BucketMemory,
  type Buckets,
  type Budget,
  bucketMemory,
  budgetMemory,
  openBuckets,
  openBudget,
} from './buckets.ts';
import { createKeyOf } from './keyed-hash.ts';
import { openProofs, type ProofMemory, type Proofs, proofMemory } from './proofs.ts';
import { openTally, type Tally, tallyMemory } from './tally.ts';

/** Threads that there may be at one time: workers, those that take their place, and the main thread as slot 0. */
export const SLOTS = 130;

/** Shared memory and secrets, as they are handed to a thread. */
export type LimitMemory = {
  readonly secret: Uint8Array;
  /** Under which nonces for proofs are made. */
  readonly nonceKey: Uint8Array;
  /** When the node started, in milliseconds since the epoch: what was used before is not remembered. */
  readonly startedAtMs: number;
  readonly buckets: BucketMemory;
  readonly failures: SharedArrayBuffer;
  readonly proofs: ProofMemory;
  readonly inFlight: SharedArrayBuffer;
  readonly connections: SharedArrayBuffer;
  readonly heldBytes: SharedArrayBuffer;
};

/** The limits as one thread sees them. */
export type SharedLimits = {
  readonly nonceKey: Uint8Array;
  readonly startedAtMs: number;
  /** Of tokens, clients and services. */
  readonly buckets: Buckets;
  /** Tokens that may yet fail verification. */
  readonly failures: Budget;
  readonly proofs: Proofs;
  readonly inFlight: Tally;
  readonly connections: Tally;
  /** Bytes of bodies that rules look into. */
  readonly heldBytes: Tally;
  /** A thread has ended: what it held is free again. */
  recover(slot: number): void;
};

/** Declares what is counted for all threads at once. */
export function declareShared(metrics: Metrics, { proofs }: SharedLimits): void {
  metrics.gauge('daypass_proofs_remembered', 'DPoP proofs that would be refused as used before', proofs.size);
}

/** Memory in which nothing is counted yet. */
export const createLimitMemory = (limits: DataLimits, nowMs: number): LimitMemory => ({
  secret: randomBytes(32),
  nonceKey: randomBytes(32),
  startedAtMs: nowMs,
  buckets: bucketMemory(limits.bucketsMax),
  failures: budgetMemory(),
  proofs: proofMemory(limits.proofsMax),
  inFlight: tallyMemory(SLOTS),
  connections: tallyMemory(SLOTS),
  heldBytes: tallyMemory(SLOTS),
});

/** Opens the memory for a thread. */
export function openSharedLimits(
  memory: LimitMemory,
  slot: number,
  limits: DataLimits,
  nowMs: () => number,
): SharedLimits {
  const keyOf = createKeyOf(memory.secret);
  const flow = { burst: limits.failureBurst, perMs: limits.failuresPerSecond / 1000 };
  const buckets = openBuckets(memory.buckets, slot, limits.bucketsMax, keyOf, nowMs);
  const failures = openBudget(memory.failures, slot, flow, nowMs);
  const proofs = openProofs(memory.proofs, slot, {
    max: limits.proofsMax,
    keptMs: PROOF_KEPT_MS,
    aheadSeconds: PROOF_AHEAD_SECONDS,
    keyOf,
    nowMs,
  });
  const inFlight = openTally(memory.inFlight, slot, limits.maxInFlight);
  const connections = openTally(memory.connections, slot, limits.maxConnections);
  const heldBytes = openTally(memory.heldBytes, slot, limits.ruleBodiesBytesMax);
  return {
    nonceKey: memory.nonceKey,
    startedAtMs: memory.startedAtMs,
    buckets,
    failures,
    proofs,
    inFlight,
    connections,
    heldBytes,
    recover(dead) {
      for (const part of [buckets, failures, proofs]) part.recover(dead);
      for (const tally of [inFlight, connections, heldBytes]) tally.giveBack(dead);
    },
  };
}
