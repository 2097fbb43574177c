// The request's body on its way up: counted, bounded, with backpressure, and never begun before it begins to arrive.
import { DaypassError } from '@daypass/core/errors';
import { ClientGone } from './cancellation.ts';
import { Gathered } from './gathered.ts';
import type { DataLimits } from './limits.ts';
import type { Arriving, BodySink, BodySource } from './transport/types.ts';

/** A body that has begun to arrive. */
export type RequestBody = {
  /** Fails with a `DaypassError` when the body is too large or too slow, with `ClientGone` when it is cut off. */
  readonly stream: BodySource;
  /** Lets go of the request without ending its connection. */
  release(): void;
};

/**
 * Waits for the first bytes of a body, or its end; throws why it cannot be had. When an upstream takes no more of it,
 * the client's connection stays, and can be told why.
 */
export function openBody(request: Arriving, limits: DataLimits, count: (bytes: number) => void): Promise<RequestBody> {
  const { promise, resolve, reject } = Promise.withResolvers<RequestBody>();
  let bytes = 0;
  let isPaused = false;
  let isReleased = false;
  let hasEnded = false;
  let isDropped = false;
  /** Nobody has taken anything yet, and there is enough. */
  let waitsForTaker = false;
  let errored: Error | null = null;
  let sink: BodySink | undefined;
  /** What came before anybody took it. */
  const waiting = new Gathered();

  const pause = (): void => {
    isPaused = true;
    if (!isReleased) request.pause();
  };
  const resume = (): void => {
    if (!isPaused) return;
    isPaused = false;
    if (!isReleased) request.resume();
  };
  const begin = (taker: BodySink): void => {
    sink = taker;
    if (errored !== null) {
      taker.failed(errored);
      return;
    }
    if (waiting.length > 0) taker.data(waiting.take());
    if (hasEnded) taker.end();
    // What did not fit before does now, unless the taker has had enough for the time being.
    else if (waitsForTaker) resume();
  };
  const stream: BodySource = {
    get errored() {
      return errored;
    },
    begin,
    pause() {
      waitsForTaker = false;
      pause();
    },
    resume,
    destroy() {
      sink = undefined;
      isDropped = true;
    },
  };
  const release = (): void => {
    if (isReleased) return;
    isReleased = true;
    clearTimeout(idle);
    request.release();
  };
  const fail = (error: Error): void => {
    if (isReleased) return;
    release();
    errored = error;
    sink?.failed(error);
    reject(error);
  };
  const onIdle = (): void => {
    // While the upstream does not take what has come, it is not the client that is slow.
    if (isPaused) idle.refresh();
    else fail(new DaypassError('request_timeout', 'The request body did not arrive in time'));
  };
  const idle = setTimeout(onIdle, limits.bodyIdleTimeoutMs).unref();
  // Only after all that came with it is parsed: a wrong byte behind a good one is seen before anything goes upstream.
  const tell = (): void => {
    setImmediate(() => resolve({ stream, release }));
  };
  const onData = (part: Buffer): void => {
    const isFirst = bytes === 0;
    bytes += part.length;
    if (bytes > limits.bodyBytesMax) {
      fail(new DaypassError('body_too_large', `A request body holds at most ${limits.bodyBytesMax} bytes`));
      return;
    }
    count(part.length);
    idle.refresh();
    if (isDropped) pause();
    else if (sink !== undefined) sink.data(part);
    else wait(part);
    if (isFirst) tell();
  };
  const wait = (part: Buffer): void => {
    waiting.add(Buffer.from(part));
    if (waiting.length < WAITING_MAX) return;
    waitsForTaker = true;
    pause();
  };
  const onEnd = (): void => {
    hasEnded = true;
    release();
    sink?.end();
    if (bytes === 0) tell();
  };
  const onCut = (): void => fail(new ClientGone());
  request.read({ data: onData, end: onEnd, cut: onCut });
  return promise;
}

/** Bytes of a body that wait for the upstream; then no more are read. */
const WAITING_MAX = 64 * 1024;
