// Token buckets: so many at once, so many a second.

/** One bucket. Times in milliseconds. */
export type Bucket = { level: number; at: number };

/** How a bucket fills: `burst` is its size, `perMs` what flows in. */
export type Flow = { readonly burst: number; readonly perMs: number };

/** A full bucket. */
export const fullBucket = (flow: Flow, nowMs: number): Bucket => ({ level: flow.burst, at: nowMs });

/** Takes one out; false, and nothing taken, when there is less than one in it. */
export function take(bucket: Bucket, flow: Flow, nowMs: number): boolean {
  fill(bucket, flow, nowMs);
  if (bucket.level < 1) return false;
  bucket.level -= 1;
  return true;
}

/** Puts one back. */
export function putBack(bucket: Bucket, flow: Flow): void {
  bucket.level = Math.min(flow.burst, bucket.level + 1);
}

/** Whole seconds until one can be taken. */
export const secondsUntilOne = (bucket: Bucket, flow: Flow): number =>
  Math.max(1, Math.ceil((1 - bucket.level) / flow.perMs / 1000));

// A clock that jumps back gives nothing and takes nothing.
function fill(bucket: Bucket, flow: Flow, nowMs: number): void {
  const passed = Math.max(0, nowMs - bucket.at);
  bucket.level = Math.min(flow.burst, bucket.level + passed * flow.perMs);
  bucket.at = nowMs;
}
