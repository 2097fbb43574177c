// What the pipeline knows of the transport: a request that came, its answer, and an exchange with an upstream.
import type { Bucket } from '../bucket.ts';
import type { Cancellation } from '../cancellation.ts';
import type { Kept } from '../fields-read.ts';
import type { AnswerFields, RequestLines } from './head-text.ts';

/** What is kept of a client's connection. */
export type Connection = Kept & {
  /** Tokens that may yet fail verification. */
  readonly failures: Bucket;
};

/** Takes a request's body as it comes. */
export type BodyReader = {
  /** A part, which is borrowed until the call returns. */
  data(part: Buffer): void;
  /** All of it came. */
  end(): void;
  /** The rest will not come. */
  cut(): void;
};

/** A request whose head has come whole, with every leniency of the parser off. */
export type Arriving = {
  readonly method: string;
  /** The raw target. */
  readonly target: string;
  readonly major: number;
  readonly minor: number;
  /**
   * Names and values by turns, as they came; values without blanks around them. The very array of the request before on
   * the connection if their bytes are the same.
   */
  readonly fields: readonly string[];
  readonly remoteAddress: string;
  /** All of it came, handed over or not. */
  readonly isComplete: boolean;
  /** All of it came and was handed over. */
  readonly isRead: boolean;
  /** Hands the body over, what has come of it first; without a reader it waits, in a few KiB. */
  read(reader: BodyReader): void;
  /** Nobody reads any more: what is still to come is dropped. */
  release(): void;
  pause(): void;
  resume(): void;
};

/** The answer to a request. Nothing of it throws but `begin`, on a reason that cannot be written. */
export type Answer = {
  /** The head was given. */
  readonly isBegun: boolean;
  readonly status: number;
  readonly isDestroyed: boolean;
  /** Once when what was written has gone. */
  onDrain: (() => void) | undefined;
  /** 100 (RFC 9110 §15.2.1). */
  proceed(): void;
  /** Gives the head; it leaves with the first part, the end or `flush`. */
  begin(status: number, reason: string, fields: AnswerFields): void;
  flush(): void;
  /** Gives a part, which is borrowed until the call returns; false: wait for `onDrain`. */
  write(part: Buffer): boolean;
  /** Gives the last part, borrowed too, the end of which leaves with the end alone. */
  keep(last: Buffer): void;
  /** Ends it, with a last part that was not given by `keep`. */
  end(last?: Buffer): void;
  /** Ends the connection at once. */
  destroy(): void;
};

/** A request and its answer, as the server hands them over. */
export type Arrival = {
  readonly request: Arriving;
  readonly response: Answer;
  readonly connection: Connection;
  /** Cancelled when the client is gone, or its connection no longer speaks HTTP. */
  readonly cancellation: Cancellation;
};

/** Takes a body on its way up. */
export type BodySink = {
  /** A part, which is borrowed until the call returns. */
  data(part: Buffer): void;
  end(): void;
  /** The rest will not come. */
  failed(error: Error): void;
};

/** A body on its way up. */
export type BodySource = {
  /** Why the rest of it will not come. */
  readonly errored: Error | null;
  /** Begins with what has come, before it returns. Called once. */
  begin(sink: BodySink): void;
  /** While paused nothing is given but what has been read, and its end. */
  pause(): void;
  resume(): void;
  /** Nobody takes it any more. */
  destroy(): void;
};

/** A request to an upstream. */
export type UpstreamRequest = {
  readonly method: string;
  readonly path: string;
  readonly lines: RequestLines;
  /** Bytes of the body, if it is known. */
  readonly contentLength: number | undefined;
  readonly body: Uint8Array | BodySource | null;
  /** For the head of the answer, and between two parts of it. */
  readonly timeoutMs: number;
};

/** What is told of an exchange with an upstream. What `head`, `data` and `end` throw ends it, and comes to `failed`. */
export type UpstreamHandler = {
  started(control: UpstreamControl): void;
  /** An interim answer. */
  interim(status: number): void;
  /** The head; fields are names and values by turns, in latin1. */
  head(status: number, reason: string, fields: readonly string[]): void;
  /** A part, borrowed until the call returns. */
  data(part: Buffer): void;
  end(): void;
  /** All that had arrived was told, and more is to come. */
  waits(): void;
  failed(error: unknown): void;
};

/** What can be done about an exchange. */
export type UpstreamControl = { abort(): void; pause(): void; resume(): void };

/** The connections to one upstream; each carries one exchange at a time. */
export type UpstreamPool = {
  dispatch(request: UpstreamRequest, handler: UpstreamHandler): void;
  /** Takes no further exchange; those on their way end by themselves. */
  close(): void;
  destroy(): void;
};
