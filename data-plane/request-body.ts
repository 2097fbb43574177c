// The request's body on its way up: counted, bounded, with backpressure, and never begun before it begins to arrive.
import { Readable } from 'node:stream';
import { DaypassError } from '@daypass/core/errors';
import { ClientGone } from './cancellation.ts';
import { Gathered } from './gathered.ts';
import type { DataLimits } from './limits.ts';
import type { Arriving } from './transport/types.ts';

/** A body that has begun to arrive. */
export type RequestBody = {
  /** Destroyed with a `DaypassError` when the body is too large or too slow, with `ClientGone` when it is cut off. */
  readonly stream: Readable;
  /** Lets go of the request without ending its connection. */
  release(): void;
};

/**
 * Waits for the first bytes of a body, or its end; throws why it cannot be had. What undici is given is a stream of
 * its own: when undici destroys it, the client's connection stays, and can be told why.
 */
export function openBody(request: Arriving, limits: DataLimits, count: (bytes: number) => void): Promise<RequestBody> {
  const { promise, resolve, reject } = Promise.withResolvers<RequestBody>();
  let bytes = 0;
  let isPaused = false;
  let isReleased = false;
  let isWanted = false;
  // What the upstream does not take yet waits here and not in the stream, where a part takes 160 bytes more than it holds.
  const waiting = new Gathered();
  const stream = new Readable({
    highWaterMark: 1,
    read() {
      isWanted = true;
      give();
    },
  });
  const give = (): void => {
    if (isWanted && waiting.length > 0) {
      isWanted = false;
      stream.push(waiting.take());
    }
    if (!isPaused || isReleased) return;
    isPaused = false;
    request.resume();
  };
  // A stream that is destroyed before it is used must not end the process.
  stream.on('error', () => undefined);

  const release = (): void => {
    if (isReleased) return;
    isReleased = true;
    clearTimeout(idle);
    request.release();
  };
  const fail = (error: Error): void => {
    if (isReleased) return;
    release();
    stream.destroy(error);
    reject(error);
  };
  const onIdle = (): void => {
    // While the upstream does not take what has come, it is not the client that is slow.
    if (isPaused) idle.refresh();
    else fail(new DaypassError('request_timeout', 'The request body did not arrive in time'));
  };
  const idle = setTimeout(onIdle, limits.bodyIdleTimeoutMs).unref();
  // Only after all that came with it is parsed: a wrong byte behind a good one is seen before anything goes upstream.
  const begin = (): void => {
    setImmediate(() => resolve({ stream, release }));
  };
  const onData = (chunk: Buffer): void => {
    const isFirst = bytes === 0;
    bytes += chunk.length;
    if (bytes > limits.bodyBytesMax) {
      fail(new DaypassError('body_too_large', `A request body holds at most ${limits.bodyBytesMax} bytes`));
      return;
    }
    count(chunk.length);
    idle.refresh();
    waiting.add(chunk);
    give();
    if (waiting.length >= WAITING_MAX) {
      isPaused = true;
      request.pause();
    }
    if (isFirst) begin();
  };
  const onEnd = (): void => {
    release();
    if (waiting.length > 0) stream.push(waiting.take());
    stream.push(null);
    if (bytes === 0) begin();
  };
  const onCut = (): void => fail(new ClientGone());
  request.read({ data: onData, end: onEnd, cut: onCut });
  return promise;
}

/** Bytes of a body that wait for the upstream; then no more are read. */
const WAITING_MAX = 64 * 1024;
