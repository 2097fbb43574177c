// Bodies that a rule has to look into: read whole before anything is decided, within a limit for each and one for all.
import { DaypassError } from '@daypass/core/errors';
import { Gathered } from './gathered.ts';
import type { DataLimits } from './limits.ts';
import type { Metrics } from './metrics.ts';
import { RetryLater } from './refusal.ts';
import { openBody } from './request-body.ts';
import type { Tally } from './shared/tally.ts';
import type { Arriving } from './transport/types.ts';
import type { Head } from './wire.ts';

declare const held: unique symbol;

/** A whole body, which is sent as it is. Only this file makes one. */
export type HeldBody = {
  readonly bytes: Uint8Array;
  /** Gives its room back. */
  release(): void;
  readonly [held]: true;
};

/** The room for them. */
export type BodyRoom = {
  /** Whether a body is too large by what its head says; throws `body_too_large` then. */
  check(head: Head): void;
  /** Reads a body whole. Throws `body_too_large`, `overloaded`, or why it did not come. */
  hold(request: Arriving, head: Head, count: (bytes: number) => void): Promise<HeldBody>;
};

/** Returns the room; `taken` bounds it for all threads. */
export function createBodyRoom(limits: DataLimits, taken: Tally, metrics: Metrics): BodyRoom {
  const { ruleBodyBytesMax } = limits;
  metrics.gauge('daypass_held_body_bytes', 'Room taken by request bodies that rules look into', taken.own);
  const check = (head: Head): void => {
    if ((head.contentLength ?? 0) > ruleBodyBytesMax)
      throw new DaypassError('body_too_large', `A rule looks into bodies of at most ${ruleBodyBytesMax} bytes`);
  };
  return {
    check,
    async hold(request, head, count) {
      check(head);
      let room = head.contentLength ?? ruleBodyBytesMax;
      if (!taken.enter(room)) throw new RetryLater('overloaded', 'Too many request bodies are being looked into', 1);
      let isReleased = false;
      const release = (): void => {
        if (!isReleased) taken.leave(room);
        isReleased = true;
      };
      try {
        const bytes = await readWhole(request, { ...limits, bodyBytesMax: ruleBodyBytesMax }, count);
        taken.leave(room - bytes.length);
        room = bytes.length;
        return { bytes, release } as unknown as HeldBody;
      } catch (error) {
        release();
        throw error;
      }
    },
  };
}

async function readWhole(request: Arriving, limits: DataLimits, count: (bytes: number) => void): Promise<Uint8Array> {
  const body = await openBody(request, limits, count);
  const whole = new Gathered();
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  body.stream.begin({
    data: (part) => whole.add(Buffer.from(part)),
    end: () => resolve(whole.take()),
    failed: reject,
  });
  return promise;
}
