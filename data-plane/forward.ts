// Forwarding: one request to the upstream and its answer back, streamed both ways with backpressure.
import { DaypassError } from '@daypass/core/errors';
import type { Draft } from './audit/sink.ts';
import type { Grant } from './authorize.ts';
import type { Cancellable, Cancellation } from './cancellation.ts';
import type { Closable, Closing } from './closing.ts';
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
  readonly ownFields: readonly string[];
  /** Tells when the client is gone, or its connection no longer speaks HTTP. */
  readonly cancellation: Cancellation;
  readonly closing: Closing;
  /**
   * Called once, when the last byte of the answer was handed on, or with why it could not be: if the head of the answer
   * was sent by then, the client's connection has been destroyed.
   */
  readonly over: (error?: unknown) => void;
};

/** A request that was sent. */
export type Forwarded = {
  /** Records its decision by itself, since it takes long. */
  decideNow(): void;
};

/** Sends the request and streams the answer. */
export function forward(pool: UpstreamPool, exchange: Exchange): Forwarded {
  const { grant, outgoing, body } = exchange;
  const { path, method, lines, contentLength } = outgoing;
  const relay = new Relay(exchange);
  const timeoutMs = Math.max(1, grant.service.config.response_timeout_ms);
  pool.dispatch({ path, method, lines, contentLength, body: grant.body ?? body?.stream ?? null, timeoutMs }, relay);
  return relay;
}

/** What is told as the answer comes in. */
class Relay implements UpstreamHandler, Cancellable, Closable, Forwarded {
  readonly #exchange: Exchange;
  #controller: UpstreamControl | undefined;
  #stall: NodeJS.Timeout | undefined;
  /** Bytes still to come; undefined when only the end will tell. */
  #left: number | undefined;
  /** All of the answer has come; its last bytes wait until it is recorded. */
  #isWhole = false;
  #settled = false;
  #status = 0;
  #interims = 0;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
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
    const head = respondHead({ status, reason, raw }, outgoing.method, grant, publicUrl, ownFields);
    this.#status = status;
    this.#left = head.contentLength;
    // Nothing leaves before the first byte of the body, or the flush.
    response.begin(status, head.reason, head.fields);
    if (head.isBodiless) this.#complete();
  }

  data(chunk: Buffer): void {
    if (this.#settled || this.#isWhole) return;
    const { response, record } = this.#exchange;
    record.responseBytes += chunk.length;
    if (this.#left !== undefined) {
      this.#left -= chunk.length;
      if (this.#left <= 0) {
        response.keep(chunk);
        this.#complete();
        return;
      }
    }
    if (!response.write(chunk)) this.#wait(response);
  }

  end(): void {
    if (this.#settled || this.#isWhole) return;
    if (this.#left !== undefined && this.#left > 0)
      throw new DaypassError('upstream_response_invalid', "The upstream's answer was cut off");
    this.#complete();
  }

  // A head whose body does not come with it is sent at once: server-sent events begin with one.
  waits(): void {
    if (!this.#settled && !this.#isWhole) this.#exchange.response.flush();
  }

  // Once all of it has come, nothing that happens to the upstream's connection matters.
  failed(error: unknown): void {
    if (!this.#isWhole) this.#fail(upstreamError(error));
  }

  cancelled(reason: unknown): void {
    this.#fail(reason);
  }

  decideNow(): void {
    try {
      this.#exchange.record.decideNow();
    } catch (error) {
      this.#fail(error);
    }
  }

  #complete(): void {
    this.#isWhole = true;
    this.#exchange.closing.add(this);
  }

  collect(drafts: Draft[]): boolean {
    if (this.#settled) return false;
    this.#exchange.record.collect({ result: 'completed', reason: '', status: this.#status }, drafts);
    return true;
  }

  recorded(): void {
    const { record, response, over } = this.#exchange;
    record.recorded();
    this.#settle();
    response.end();
    over();
  }

  // Then the last byte does not leave.
  unrecorded(error: unknown): void {
    this.#fail(error);
  }

  #fail(error: unknown): void {
    if (this.#settled) return;
    this.#settle();
    this.#controller?.abort();
    const { response, over } = this.#exchange;
    if (response.isBegun) response.destroy();
    over(error);
  }

  #settle(): void {
    this.#settled = true;
    clearTimeout(this.#stall);
    this.#exchange.cancellation.follow(undefined);
    this.#exchange.body?.release();
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
