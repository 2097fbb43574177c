// One client connection: requests one after the other, each with its answer, and nothing read far ahead.
import type { Socket } from 'node:net';
import { fullBucket } from '../bucket.ts';
import { Cancellation, ClientGone } from '../cancellation.ts';
import { Gathered } from '../gathered.ts';
import { type AnswerFields, statusLine } from './head-text.ts';
import { MessageParser, ParseError, REQUEST } from './llhttp.ts';
import { isFull, partText, SHORT, sendPart } from './send-part.ts';
import { readInto } from './shared-read.ts';
import type { Answer, Arrival, Arriving, BodyReader, Connection } from './types.ts';

/** What a connection needs of its server. */
export type Host = {
  readonly headBytesMax: number;
  readonly headTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly keepAliveTimeoutMs: number;
  readonly stallTimeoutMs: number;
  readonly failureFlow: Parameters<typeof fullBucket>[0];
  readonly nowMs: () => number;
  readonly clock: Clock;
  /** The time as a Date field has it, good for about a second. */
  readonly date: () => string;
  readonly isDraining: () => boolean;
  /** That the connection is kept, and for how long. */
  readonly keepAliveFields: string;
  readonly onRequest: (arrival: Arrival) => void;
  /** What came is not HTTP, or did not come in time, and there is no request to say it to. */
  readonly onWireError: (error: Error, socket: Socket) => void;
  /** The same while a request is answered: its reason to end. */
  readonly reasonOf: (error: Error) => Error;
  readonly onConnect: (socket: Socket) => void;
  readonly onClose: (connection: ServerConnection) => void;
};

/** A time that is looked at by all connections and set by the sweep alone: no call of the system for a deadline. */
export type Clock = { /** In ms, no deadline before it is missed. */ soonest: number };

/** Bytes of a body, or of requests sent ahead, that wait; then no more are read. */
const WAITING_MAX = 8 * 1024;

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

/** The connection. `deadline` is looked at by the server's sweep. */
export class ServerConnection implements Connection {
  readonly socket: Socket;
  readonly host: Host;
  readonly failures: Connection['failures'];
  readonly remoteAddress: string;
  readonly parser: MessageParser;
  read: Connection['read'] = undefined;
  /** In ms of the clock; 0: none. */
  deadline: number;
  #ahead = new Gathered();
  #running: Exchange | undefined;
  #isOver = false;
  #hasEnded = false;

  constructor(socket: Socket, host: Host) {
    this.socket = socket;
    this.host = host;
    this.failures = fullBucket(host.failureFlow, host.nowMs());
    this.remoteAddress = socket.remoteAddress ?? '';
    this.parser = new MessageParser(REQUEST, host.headBytesMax);
    this.deadline = host.clock.soonest + host.headTimeoutMs;
    readInto(socket, (bytes, length) => this.#read(bytes, length));
    socket.on('end', () => this.#onEnd());
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#onClose());
    socket.on('drain', () => this.#running?.drained());
  }

  get isIdle(): boolean {
    return this.#running === undefined && this.parser.isIdle && this.#ahead.length === 0;
  }

  get isBusy(): boolean {
    return this.#running !== undefined;
  }

  /** A deadline has passed. */
  late(): void {
    this.deadline = 0;
    const running = this.#running;
    const isWaiting = running === undefined && this.parser.isIdle && this.#served;
    if (this.#isOver || running?.hasEnded === true || isWaiting) {
      this.socket.destroy();
      return;
    }
    const error = new ParseError('ERR_HTTP_REQUEST_TIMEOUT');
    if (running === undefined) this.#refuse(error);
    else if (!running.isComplete) running.fail(error);
  }

  #served = false;

  #read(bytes: Buffer, length: number): void {
    if (this.#isOver) return;
    const running = this.#running;
    if (running?.isComplete === true || this.#ahead.length > 0) this.#setAside(bytes, 0, length);
    else this.#parseAll(bytes, length);
  }

  #parseAll(bytes: Buffer, length: number): void {
    for (let at = 0; at < length && !this.#isOver; ) {
      const part = Math.min(this.parser.atOnce, length - at);
      if (this.#isTaken() || this.#ahead.length > 0) this.#setAside(bytes, at, part);
      else this.#parse(bytes, at, part);
      at += part;
    }
  }

  /** What was sent ahead is looked at when its turn has come. */
  #setAside(bytes: Buffer, at: number, length: number): void {
    this.#ahead.add(Buffer.from(bytes.subarray(at, at + length)));
    if (this.#ahead.length >= WAITING_MAX) this.socket.pause();
  }

  #parse(bytes: Buffer, at: number, length: number): void {
    const { parser } = this;
    const wasIdle = parser.isIdle;
    const error = parser.execute(bytes, at, length);
    if (wasIdle && !parser.isIdle && this.#served) this.deadline = this.host.clock.soonest + this.host.headTimeoutMs;
    if (parser.rest > 0) this.#setAside(bytes, at + length - parser.rest, parser.rest);
    if (this.#running !== undefined) {
      this.#running.more(parser, error);
      return;
    }
    if (!parser.hasHead) {
      if (error !== undefined) this.#refuse(error);
      return;
    }
    if (parser.method === 'CONNECT') {
      this.#isOver = true;
      this.host.onConnect(this.socket);
      return;
    }
    this.deadline = parser.isComplete ? 0 : this.host.clock.soonest + this.host.requestTimeoutMs;
    const exchange = new Exchange(this);
    this.#running = exchange;
    exchange.more(parser, error);
    this.host.onRequest({
      request: exchange,
      response: exchange,
      connection: this,
      cancellation: exchange.cancellation,
    });
  }

  #refuse(error: Error): void {
    this.#isOver = true;
    this.deadline = 0;
    this.host.onWireError(error, this.socket);
  }

  /** The answer was handed to the socket, and its request has come whole: the next one may be looked at. */
  ended(keepsAlive: boolean): void {
    const { socket, parser } = this;
    this.#running = undefined;
    this.#served = true;
    if (socket.destroyed) return;
    if (!keepsAlive || this.#hasEnded) {
      this.#isOver = true;
      this.#leave();
      return;
    }
    parser.next();
    this.deadline = this.host.clock.soonest + this.host.keepAliveTimeoutMs;
    if (this.#ahead.length > 0) setImmediate(() => this.#goOn());
    else if (socket.isPaused()) socket.resume();
  }

  #leave(): void {
    this.deadline = this.host.clock.soonest + this.host.stallTimeoutMs;
    this.socket.destroySoon();
  }

  /** Reads on, unless enough was sent ahead. */
  readOn(): void {
    if (this.#ahead.length < WAITING_MAX) this.socket.resume();
  }

  /** An answer waits for the client to take it. */
  stall(): void {
    this.deadline = this.host.clock.soonest + this.host.stallTimeoutMs;
  }

  #goOn(): void {
    if (this.socket.destroyed || this.#running !== undefined) return;
    const bytes = this.#ahead.take();
    this.deadline = this.host.clock.soonest + this.host.headTimeoutMs;
    this.#parseAll(bytes, bytes.length);
    this.readOn();
  }

  #isTaken(): boolean {
    return this.#running?.isComplete === true || this.#isOver;
  }

  #onEnd(): void {
    this.#hasEnded = true;
    const running = this.#running;
    if (running !== undefined) {
      // Who has closed his side does not wait for the answer, but for the end of one that is on its way out.
      if (!running.hasEnded) this.socket.destroy();
      else if (!running.isComplete) running.fail(new ParseError('HPE_INVALID_EOF_STATE'));
    } else if (this.#isOver) {
      // It is answered, and ends by itself.
    } else if (this.parser.isIdle) {
      this.socket.destroySoon();
    } else {
      const error = this.parser.finish();
      if (error === undefined) this.socket.destroySoon();
      else this.#refuse(error);
    }
  }

  #onClose(): void {
    this.#isOver = true;
    this.deadline = 0;
    this.parser.free();
    this.#ahead = new Gathered();
    this.#running?.closed();
    this.host.onClose(this);
  }
}

/** A request and its answer. */
class Exchange implements Arriving, Answer {
  readonly cancellation = new Cancellation();
  readonly method: string;
  readonly target: string;
  readonly major: number;
  readonly minor: number;
  readonly fields: readonly string[];
  readonly remoteAddress: string;
  isComplete = false;
  isRead = false;
  isBegun = false;
  hasEnded = false;
  isDestroyed = false;
  status = 0;
  onDrain: (() => void) | undefined;
  readonly #connection: ServerConnection;
  readonly #keepsAlive: boolean;
  #reader: BodyReader | undefined;
  #held: Gathered | undefined;
  #isDropped = false;
  #isPaused = false;
  /** What has not left: the head, and what is kept of the last part. */
  #unsent = '';
  #isChunked = false;
  #closes = false;
  #isBodiless = false;

  constructor(connection: ServerConnection) {
    const { parser } = connection;
    this.#connection = connection;
    this.method = parser.method;
    this.target = parser.line;
    this.major = parser.major;
    this.minor = parser.minor;
    this.fields = parser.fields;
    this.remoteAddress = connection.remoteAddress;
    this.#keepsAlive = parser.keepsAlive;
  }

  /** Takes what the parser has found of the request. */
  more(parser: MessageParser, error: Error | undefined): void {
    if (error !== undefined) {
      this.fail(error);
      return;
    }
    const { body } = parser;
    if (body !== undefined && body.length > 0 && !this.#isDropped) this.#part(body);
    if (!parser.isComplete) return;
    this.isComplete = true;
    // One that stands by now is for the client to take its answer.
    if (!this.hasEnded) this.#connection.deadline = 0;
    if (this.#reader !== undefined) this.#readEnd();
    if (this.#isDropped || this.#held === undefined) this.isRead = true;
    if (this.hasEnded) this.#over();
  }

  #part(part: Buffer): void {
    if (this.#reader !== undefined && !this.#isPaused) {
      this.#reader.data(part);
      return;
    }
    this.#held ??= new Gathered();
    this.#held.add(Buffer.from(part));
    if (this.#held.length >= WAITING_MAX) this.#connection.socket.pause();
  }

  #readEnd(): void {
    if (this.#isPaused || (this.#held?.length ?? 0) > 0) return;
    this.isRead = true;
    const reader = this.#reader;
    this.#reader = undefined;
    reader?.end();
  }

  read(reader: BodyReader): void {
    this.#reader = reader;
    this.resume();
  }

  release(): void {
    if (this.isRead && this.isComplete) return;
    this.#reader = undefined;
    this.#isDropped = true;
    this.#held = undefined;
    this.#isPaused = false;
    this.#connection.readOn();
  }

  pause(): void {
    this.#isPaused = true;
    this.#connection.socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    const held = this.#held;
    if (held !== undefined && held.length > 0) this.#reader?.data(held.take());
    if (this.#isPaused || this.#isDropped) return;
    this.#connection.readOn();
    if (this.isComplete) this.#readEnd();
  }

  /** The request will not come whole. */
  fail(error: Error): void {
    this.cancellation.cancel(this.#connection.host.reasonOf(error));
    if (!this.hasEnded) return;
    this.#closes = true;
    this.#over();
  }

  /** The connection is closed. */
  closed(): void {
    const reader = this.#reader;
    this.#reader = undefined;
    this.#held = undefined;
    this.isDestroyed = true;
    if (!this.isComplete) reader?.cut();
    if (!this.hasEnded) this.cancellation.cancel(new ClientGone());
  }

  drained(): void {
    if (this.hasEnded) {
      if (this.isComplete) this.#over();
      return;
    }
    const tell = this.onDrain;
    this.onDrain = undefined;
    tell?.();
  }

  proceed(): void {
    if (!this.isBegun) this.#connection.socket.write(CONTINUE, 'latin1');
  }

  begin(status: number, reason: string, { lines, hasLength, hasDate, saysClose }: AnswerFields): void {
    if (this.isBegun) throw new Error('an answer was begun twice');
    const { host } = this.#connection;
    let closes = saysClose || !this.#keepsAlive || host.isDraining();
    this.#isBodiless = this.method === 'HEAD' || status === 204 || status === 304;
    let framing = '';
    if (!hasLength && !this.#isBodiless) {
      if (this.minor === 0) closes = true;
      else {
        this.#isChunked = true;
        framing = 'transfer-encoding: chunked\r\n';
      }
    }
    const date = hasDate ? '' : host.date();
    const end = closes ? (saysClose ? '' : 'connection: close\r\n') : host.keepAliveFields;
    this.#unsent = `${statusLine(status, reason)}${lines}${date}${end}${framing}\r\n`;
    this.#closes = closes;
    this.isBegun = true;
    this.status = status;
  }

  flush(): void {
    if (this.#unsent === '' || this.isDestroyed || this.hasEnded) return;
    this.#connection.socket.write(this.#unsent, 'latin1');
    this.#unsent = '';
  }

  write(part: Buffer): boolean {
    // Behind its end the connection is another request's.
    if (this.isDestroyed || this.hasEnded || this.#isBodiless || part.length === 0) return true;
    const { socket } = this.#connection;
    const before = this.#unsent;
    this.#unsent = '';
    sendPart(socket, before, part, this.#isChunked);
    return !isFull(socket);
  }

  keep(last: Buffer): void {
    if (this.isDestroyed || this.#isBodiless || last.length === 0) return;
    const from = Math.max(0, last.length - SHORT);
    if (from > 0) this.write(last.subarray(0, from));
    this.#unsent += partText(last.subarray(from), this.#isChunked);
  }

  end(last?: Buffer): void {
    if (this.hasEnded || this.isDestroyed) return;
    if (last !== undefined) this.keep(last);
    const { socket } = this.#connection;
    const tail = this.#isChunked && !this.#isBodiless ? '0\r\n\r\n' : '';
    const before = this.#unsent;
    this.#unsent = '';
    this.hasEnded = true;
    if (before !== '' || tail !== '') socket.write(before + tail, 'latin1');
    if (socket.writableNeedDrain) this.#connection.stall();
    if (this.isComplete || this.#closes) this.#over();
    else this.release();
  }

  destroy(): void {
    this.isDestroyed = true;
    this.#connection.socket.destroy();
  }

  #over(): void {
    if (this.#closes) this.#connection.ended(false);
    // What the client has not taken is let go before its next request is looked at; a little, of which no drain tells, is not.
    else if (!this.#connection.socket.writableNeedDrain) this.#connection.ended(true);
  }
}
