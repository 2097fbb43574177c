// Small conversions between the words of proto and those of the domain.
import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { DaypassError } from '@daypass/core/errors';
import type { Releasing } from '../domain/release.ts';
import type { Rollout as DomainRollout, Waiting } from '../domain/rollout.ts';
import { LONGEST_WAIT_MS } from '../domain/rollout.ts';
import type { CanaryPlan } from '../gen/daypass/v1/canary_pb.ts';

/** Milliseconds of a duration, with fractions; undefined when it is absent. Throws `invalid_argument` for one that is none. */
export const durationMs = (duration: Duration | undefined): number | undefined => {
  if (duration === undefined) return undefined;
  const { seconds, nanos } = duration;
  // google.protobuf.Duration: less than a second, and of the sign of the seconds.
  if (Math.abs(nanos) > 999_999_999 || (seconds > 0n && nanos < 0) || (seconds < 0n && nanos > 0))
    throw new DaypassError('invalid_argument', 'a duration has nanos that are out of range');
  return Number(seconds) * 1000 + nanos / 1e6;
};

/** The same in whole milliseconds, which is how times are stored, and never less. */
export const wholeMs = (duration: Duration | undefined): number | undefined => {
  const ms = durationMs(duration);
  return ms === undefined ? undefined : Math.ceil(ms);
};

/** A duration of whole or fractional milliseconds. */
export const toDuration = (ms: number): { seconds: bigint; nanos: number } => {
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
};

const EARLIEST_SECONDS = 0n;
const LATEST_SECONDS = 253_402_300_799n;

/** Milliseconds of a timestamp; undefined when it is absent. Throws `invalid_argument` outside the years 1970 to 9999. */
export const timeMs = (time: Timestamp | undefined, field: string): number | undefined => {
  if (time === undefined) return undefined;
  if (time.seconds < EARLIEST_SECONDS || time.seconds > LATEST_SECONDS || time.nanos < 0 || time.nanos >= 1e9) {
    throw new DaypassError('invalid_argument', 'is not a time from 1970 to 9999', { field });
  }
  return Number(time.seconds) * 1000 + time.nanos / 1e6;
};

/** A timestamp; undefined where there is none. */
export const toTime = (ms: number | undefined): Timestamp | undefined =>
  ms === undefined ? undefined : timestampFromMs(ms);

/** A number that both sides hold exactly. Throws `invalid_argument`. */
export const safeNumber = (value: bigint, field: string): number => {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new DaypassError('invalid_argument', 'is too large', { field });
};

/** How long to wait for the data planes; absent: as long as it may take. */
export const waitingOf = (wait: Duration | undefined, signal: AbortSignal): Waiting => ({
  waitMs: Math.min(durationMs(wait) ?? LONGEST_WAIT_MS, LONGEST_WAIT_MS),
  signal,
});

/** The same, and which nodes get the change first. */
export const releasingOf = (
  { wait, canary }: { readonly wait?: Duration | undefined; readonly canary?: CanaryPlan | undefined },
  signal: AbortSignal,
): Releasing => {
  if (canary === undefined) return waitingOf(wait, signal);
  const { count, nodes, promoteAfter } = canary;
  return { ...waitingOf(wait, signal), canary: { count, nodes, promoteAfterMs: wholeMs(promoteAfter) } };
};

/** A receipt. */
export const toRollout = (rollout: DomainRollout) => ({
  version: BigInt(rollout.version),
  waitDuration: toDuration(rollout.waitedMs),
  acknowledged: [...rollout.acknowledged],
  missing: rollout.missing.map(({ node, leaseExpiresAt, version, nackCode }) => ({
    node,
    leaseExpiresAt: timestampFromMs(leaseExpiresAt),
    version: BigInt(version),
    nackCode,
  })),
});
