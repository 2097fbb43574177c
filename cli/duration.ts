// Durations and times as people write them.
import { UsageError } from './failure.ts';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `15m`, `90s`, `250ms`, `1h`, `7d` or `0`; undefined for anything else. */
export const parseDurationMs = (text: string): number | undefined => {
  if (text === '0') return 0;
  const match = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  const unit = UNITS[match?.[2] ?? ''];
  return match?.[1] === undefined || unit === undefined ? undefined : Number(match[1]) * unit;
};

/** A duration in the largest unit that it is a whole number of, up to hours. */
export const durationText = (ms: number): string => {
  const unit = (['h', 'm', 's'] as const).find((name) => ms !== 0 && ms % (UNITS[name] ?? 1) === 0) ?? 'ms';
  return `${ms / (UNITS[unit] ?? 1)}${unit}`;
};

/** Milliseconds of a flag's duration. @throws UsageError naming the flag */
export const durationFlag = (text: string, flag: string): number => {
  const ms = parseDurationMs(text);
  if (ms !== undefined) return ms;
  throw new UsageError(`${flag} takes a duration such as 15m, 90s, 250ms or 1h, not "${text}"`, flag);
};

/** Milliseconds since the epoch of an RFC 3339 time, or of a duration before now. @throws UsageError naming the flag */
export const timeFlag = (text: string, flag: string, nowMs: number): number => {
  const ago = parseDurationMs(text);
  if (ago !== undefined) return nowMs - ago;
  const time = RFC3339.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(time)) return time;
  throw new UsageError(
    `${flag} takes a duration such as 15m, or a time such as 2026-01-31T09:00:00Z, not "${text}"`,
    flag,
  );
};

// RFC 3339 §5.6
const RFC3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;
