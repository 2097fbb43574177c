// What the request path may use: sizes, times and numbers, with the defaults that every deployment starts from.
import type { Flow } from './bucket.ts';

/** Bounds of the request path. All times in milliseconds, all sizes in bytes. */
export type DataLimits = {
  /** Requests that may be between their head and their last byte at one time; more are answered with 503. */
  readonly maxInFlight: number;
  readonly maxConnections: number;
  /** Request line and header fields together; more is answered with 431. */
  readonly headBytesMax: number;
  /** Larger request bodies are refused with 413. */
  readonly bodyBytesMax: number;
  /** Larger bodies that a rule has to look into are refused with 413. */
  readonly ruleBodyBytesMax: number;
  /** Bodies that rules look into, all at one time; more are answered with 503. */
  readonly ruleBodiesBytesMax: number;
  /** For the head of a request to arrive, and for a new connection to send one. */
  readonly headTimeoutMs: number;
  /** For a whole request to arrive, its body included. */
  readonly requestTimeoutMs: number;
  /** Between two parts of a request body. */
  readonly bodyIdleTimeoutMs: number;
  /** For a client to take what has been written to it. */
  readonly stallTimeoutMs: number;
  /** A connection without a request is closed after this. */
  readonly keepAliveTimeoutMs: number;
  /** A response that takes longer has its decision recorded at once. */
  readonly slowDecisionMs: number;
  /** Verified tokens kept. */
  readonly tokenCacheEntries: number;
  /** Bytes of verified tokens kept, with what was made of them: 1.5 KB of one with 750 characters and the usual rules. */
  readonly tokenCacheBytes: number;
  /** Opened seals kept. */
  readonly sealCacheEntries: number;
  /** Characters of sealed credentials kept. */
  readonly sealCacheChars: number;
  /** Tokens being verified at one time. */
  readonly maxVerifying: number;
  /** Tokens that fail verification: how many a second, and how many at once. */
  readonly failuresPerSecond: number;
  readonly failureBurst: number;
  readonly failuresPerSecondPerConnection: number;
  readonly failureBurstPerConnection: number;
  /** DPoP proofs being verified at one time. */
  readonly maxProving: number;
  /** DPoP proofs remembered, for about a minute each. */
  readonly proofsMax: number;
  /** Rate-limit buckets kept. */
  readonly bucketsMax: number;
};

/** How the failures of one connection come back. */
export const connectionFailures = (limits: DataLimits): Flow => ({
  burst: limits.failureBurstPerConnection,
  perMs: limits.failuresPerSecondPerConnection / 1000,
});

/** The defaults. */
export const DEFAULT_LIMITS: DataLimits = Object.freeze({
  maxInFlight: 1024,
  maxConnections: 16_384,
  headBytesMax: 16 * 1024,
  bodyBytesMax: 1024 * 1024 * 1024,
  ruleBodyBytesMax: 1024 * 1024,
  ruleBodiesBytesMax: 64 * 1024 * 1024,
  headTimeoutMs: 10_000,
  requestTimeoutMs: 600_000,
  bodyIdleTimeoutMs: 30_000,
  stallTimeoutMs: 120_000,
  keepAliveTimeoutMs: 65_000,
  slowDecisionMs: 1_000,
  tokenCacheEntries: 262_144,
  tokenCacheBytes: 192 * 1024 * 1024,
  sealCacheEntries: 2_048,
  sealCacheChars: 8 * 1024 * 1024,
  maxVerifying: 256,
  failuresPerSecond: 1_000,
  failureBurst: 2_000,
  failuresPerSecondPerConnection: 10,
  failureBurstPerConnection: 50,
  maxProving: 1_024,
  proofsMax: 524_288,
  bucketsMax: 65_536,
});
