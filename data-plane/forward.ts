// Forwarding: one request to the upstream and its answer back, streamed both ways with backpressure.
import { DaypassError } from '@daypass/core/errors';
import type { Grant } from './authorize.ts';
import type { Cancellable, Cancellation } from './cancellation.ts';
import type { Outgoing } from './inject.ts';
import type { DataLimits } from './limits.ts';
import type { RequestRecord } from './record.ts';
import type { RequestBody } from './request-body.ts';
import { respondHead } from './respond.ts';
import type { Answer, UpstreamControl, UpstreamHandler, UpstreamPool } from './transport/types.ts';
import { upstreamError } from './upstream-error.ts';

/** One exchange with an upstream. */
export type Exchange = {
  readonly grant: Grant;
  readonly outgoing: Outgoing;
  /** The body on its way, unless the grant holds all of it. */
  readonly body: RequestBody | undefined;
  readonly response: Answer;
  readonly record: RequestRecord;
  readonly limits: DataLimits;
  readonly publicUrl: string;
  /** Fields of the proxy's own on the answer, by turns. */
  readonly ownFields: () => readonly string[];
  /** Tells when the client is gone, or its connection no longer speaks HTTP. */
  readonly cancellation: Cancellation;
};

/**
 * Sends the request and streams the answer; resolves when the last byte of it was handed on. Rejects with why it could
 * not be: if the head of the answer was sent by then, the client's connection has been destroyed.
 */
export function forward(pool: UpstreamPool, exchange: Exchange): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const { grant, outgoing, body } = exchange;
  const timeout = Math.max(1, grant.service.config.response_timeout_ms);
  const relay = new Relay(exchange, resolve, reject);
  pool.dispatch(
    {
      path: outgoing.path,
      method: outgoing.method,
      fields: outgoing.fields,
      body: grant.body ?? body?.stream ?? null,
      timeoutMs: timeout,
    },
    relay,
  );
  return promise;
}

/** What is told as the answer comes in. */
class Relay implements UpstreamHandler, Cancellable {
  readonly #exchange: Exchange;
  readonly #resolve: () => void;
  readonly #reject: (error: unknown) => void;
  readonly #slow: NodeJS.Timeout;
  #controller: UpstreamControl | undefined;
  #stall: NodeJS.Timeout | undefined;
  /** Bytes still to come; undefined when only the end will tell. */
  #left: number | undefined;
  #settled = false;
  #status = 0;
  #interims = 0;

  constructor(exchange: Exchange, resolve: () => void, reject: (error: unknown) => void) {
    this.#exchange = exchange;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#slow = setTimeout(() => this.#decide(), exchange.limits.slowDecisionMs).unref();
    exchange.cancellation.follow(this);
  }

  started(controller: UpstreamControl): void {
    this.#controller = controller;
    if (this.#settled) controller.abort();
  }

  // Interim answers are for the proxy, which did not ask for them. Each one starts the wait for the head anew.
  interim(): void {
    this.#interims += 1;
    if (this.#interims > INTERIMS_MAX)
      throw new DaypassError('upstream_response_invalid', 'The upstream sent too many interim answers');
  }

  head(status: number, reason: string, raw: readonly string[]): void {
    if (this.#settled) return;
    const { grant, outgoing, response, publicUrl, ownFields } = this.#exchange;
    const head = respondHead({ status, reason, raw }, outgoing.method, grant, publicUrl);
    this.#status = status;
    this.#left = head.contentLength;
    // Nothing leaves before the first byte of the body, or the flush.
    response.begin(status, head.reason, [...head.fields, ...ownFields()]);
    if (head.isBodiless) {
      this.#complete();
      this.#finish(undefined);
      return;
    }
    // A head whose body does not come with it is sent at once: server-sent events begin with one.
    process.nextTick(flushHead, response);
  }

  data(chunk: Buffer): void {
    if (this.#settled) return;
    const { response, record } = this.#exchange;
    record.responseBytes += chunk.length;
    if (this.#left !== undefined) {
      this.#left -= chunk.length;
      if (this.#left <= 0) {
        this.#complete();
        this.#finish(chunk);
        return;
      }
    }
    if (!response.write(chunk)) this.#wait(response);
  }

  end(): void {
    if (this.#settled) return;
    if (this.#left !== undefined && this.#left > 0)
      throw new DaypassError('upstream_response_invalid', "The upstream's answer was cut off");
    this.#complete();
    this.#finish(undefined);
  }

  failed(error: unknown): void {
    this.#fail(upstreamError(error));
  }

  cancelled(reason: unknown): void {
    this.#fail(reason);
  }

  // Throws when the audit cannot be written: then the last byte does not leave.
  #complete(): void {
    this.#exchange.record.end({ result: 'completed', reason: '', status: this.#status });
  }

  #finish(last: Buffer | undefined): void {
    const { response } = this.#exchange;
    response.end(last);
    this.#settle();
    this.#resolve();
  }

  #fail(error: unknown): void {
    if (this.#settled) return;
    this.#settle();
    this.#controller?.abort();
    if (this.#exchange.response.isBegun) this.#exchange.response.destroy();
    this.#reject(error);
  }

  #settle(): void {
    this.#settled = true;
    clearTimeout(this.#slow);
    clearTimeout(this.#stall);
    this.#exchange.cancellation.follow(undefined);
    this.#exchange.body?.release();
  }

  #decide(): void {
    try {
      this.#exchange.record.decideNow();
    } catch (error) {
      this.#fail(error);
    }
  }

  /** The client takes less than the upstream gives: nothing more is read until it has caught up. */
  #wait(response: Answer): void {
    const controller = this.#controller;
    if (this.#stall !== undefined || controller === undefined) return;
    controller.pause();
    this.#stall = setTimeout(() => {
      this.#fail(new DaypassError('request_timeout', 'The client did not take the answer in time'));
    }, this.#exchange.limits.stallTimeoutMs).unref();
    response.onDrain = () => {
      clearTimeout(this.#stall);
      this.#stall = undefined;
      if (!this.#settled) controller.resume();
    };
  }
}

const INTERIMS_MAX = 64;

function flushHead(response: Answer): void {
  response.flush();
}
