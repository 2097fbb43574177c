// The upstream side of the transport: kept connections to one origin, each with one exchange at a time.
import type { Socket } from 'node:net';
import { fieldValues } from './field-values.ts';
import { requestLine } from './head-text.ts';
import { MessageParser, ParseError, RESPONSE } from './llhttp.ts';
import { isFull, SHORT, sendPart } from './send-part.ts';
import { nextRoom, ReadRoom } from './shared-read.ts';
import type { BodySink, BodySource, UpstreamControl, UpstreamHandler, UpstreamPool, UpstreamRequest } from './types.ts';

/** Opens a connection; its socket was made with `ONREAD`. */
export type Dialler = (opened: (error: Error | null, socket: Socket | null) => void) => void;

/** What a pool is made with. Times in milliseconds, sizes in bytes. */
export type PoolOptions = {
  readonly dial: Dialler;
  /** The Host field. */
  readonly host: string;
  readonly connectionsMax: number;
  readonly headBytesMax: number;
  readonly keepAliveTimeoutMs: number;
  /** At most so long between two sweeps. */
  readonly sweepMs: number;
};

/** A pool whose deadlines somebody has to look at. */
export type SweptPool = UpstreamPool & {
  sweep(now: number): void;
  /** Nothing waits, and there is no connection. */
  isEmpty(): boolean;
};

/** Options for a socket that is dialled: all of them read into one buffer. */
export const ONREAD = {
  buffer: nextRoom,
  callback(this: unknown, length: number, bytes: Uint8Array): boolean {
    const connection = owners.get(this as Socket);
    // Who speaks before he is asked is not listened to.
    if (connection === undefined) (this as Socket).destroy();
    else connection.room.take(connection.read, bytes as Buffer, length);
    return true;
  },
};

const owners = new WeakMap<Socket, UpstreamConnection>();

const EXPECTS_BODY = new Set(['PUT', 'POST', 'PATCH', 'QUERY', 'PROPFIND', 'PROPPATCH']);

type Pool = {
  readonly options: PoolOptions;
  readonly idle: UpstreamConnection[];
  readonly all: Set<UpstreamConnection>;
  isClosed: boolean;
  /** Set by the sweep alone: no deadline before it is missed. */
  soonest: number;
  /** The fields that every request has. */
  readonly ownLines: string;
  wake(): void;
};

/** Returns a pool without connections. */
export function createUpstreamPool(options: PoolOptions): SweptPool {
  const waiting: Work[] = [];
  let dialling = 0;
  let isAwake = false;
  const run = (): void => {
    isAwake = false;
    while (waiting.length > 0) {
      const connection = pool.idle.pop();
      if (connection === undefined) break;
      // It was ended in this turn; that it is closed will be told in the next.
      if (connection.socket.destroyed) continue;
      const work = waiting.shift();
      if (work === undefined || work.isOver) pool.idle.push(connection);
      else connection.start(work);
    }
    while (waiting.length > dialling && pool.all.size + dialling < options.connectionsMax) dial();
    if (pool.isClosed) for (const connection of pool.idle.splice(0)) connection.socket.destroy();
  };
  const dial = (): void => {
    dialling += 1;
    options.dial((error, socket) => {
      dialling -= 1;
      if (error !== null || socket === null) {
        nextOf(waiting)?.fail(error ?? new Error('the upstream cannot be dialled'));
        if (waiting.length > 0) pool.wake();
        return;
      }
      const connection = new UpstreamConnection(socket, pool);
      const work = nextOf(waiting);
      if (work === undefined) connection.rest();
      else connection.start(work);
    });
  };
  const pool: Pool = {
    options,
    idle: [],
    all: new Set(),
    isClosed: false,
    soonest: performance.now() + options.sweepMs,
    ownLines: `host: ${options.host}\r\nconnection: keep-alive\r\n`,
    // Once a turn of the loop, after all that has arrived was read: what an upstream sends unasked on a kept connection,
    // or its end, is seen before a request goes out on it and could take it for its answer.
    wake() {
      if (isAwake) return;
      isAwake = true;
      setImmediate(run);
    },
  };
  return {
    dispatch(request, handler) {
      const work = new Work(request, handler, waiting);
      handler.started(work);
      if (work.isOver) return;
      if (pool.isClosed) {
        work.fail(new Error('the pool is closed'));
        return;
      }
      waiting.push(work);
      pool.wake();
    },
    close() {
      pool.isClosed = true;
      pool.wake();
    },
    destroy() {
      pool.isClosed = true;
      for (const work of waiting.splice(0)) work.fail(new Error('the pool is closed'));
      for (const connection of pool.all) connection.socket.destroy();
    },
    isEmpty: () => waiting.length + dialling + pool.all.size === 0,
    sweep(now) {
      pool.soonest = now + options.sweepMs;
      for (const connection of pool.all) if (connection.deadline > 0 && connection.deadline < now) connection.late();
    },
  };
}

function nextOf(waiting: Work[]): Work | undefined {
  for (let work = waiting.shift(); work !== undefined; work = waiting.shift()) if (!work.isOver) return work;
  return undefined;
}

function remove<T>(list: T[], one: T): void {
  const at = list.indexOf(one);
  if (at >= 0) list.splice(at, 1);
}

/** One exchange. */
class Work implements UpstreamControl {
  readonly request: UpstreamRequest;
  readonly handler: UpstreamHandler;
  connection: UpstreamConnection | undefined;
  isOver = false;
  hasHead = false;
  readonly #waiting: Work[];

  constructor(request: UpstreamRequest, handler: UpstreamHandler, waiting: Work[]) {
    this.request = request;
    this.handler = handler;
    this.#waiting = waiting;
  }

  fail(error: unknown): void {
    if (this.isOver) return;
    this.isOver = true;
    this.handler.failed(error);
  }

  abort(): void {
    this.isOver = true;
    if (this.connection !== undefined) this.connection.socket.destroy();
    else remove(this.#waiting, this);
  }

  pause(): void {
    this.connection?.pause();
  }

  resume(): void {
    this.connection?.resume();
  }
}

class UpstreamConnection {
  readonly socket: Socket;
  /** In ms of the pool's clock; 0: none. */
  deadline = 0;
  readonly room = new ReadRoom();
  readonly #pool: Pool;
  readonly #parser: MessageParser;
  #work: Work | undefined;
  #sending: Sending | undefined;
  #interims: number[] = [];
  #error: Error | undefined;

  constructor(socket: Socket, pool: Pool) {
    this.socket = socket;
    this.#pool = pool;
    this.#parser = new MessageParser(RESPONSE, pool.options.headBytesMax, (status) => {
      this.#interims.push(status);
      return status !== 100 && status !== 101;
    });
    pool.all.add(this);
    owners.set(socket, this);
    socket.setNoDelay(true);
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('end', () => this.#onEnd());
    socket.on('close', () => this.#onClose());
    socket.on('drain', () => this.#sending?.drained());
  }

  /** Sends a request. */
  start(work: Work): void {
    const { request } = work;
    this.#work = work;
    work.connection = this;
    this.#parser.isHead = request.method === 'HEAD';
    this.deadline = this.#pool.soonest + request.timeoutMs;
    try {
      this.#send(request);
    } catch (error) {
      this.#fail(error);
    }
  }

  #send({ method, path, lines, contentLength, body }: UpstreamRequest): void {
    const head = `${requestLine(method, path)}${this.#pool.ownLines}${lines}`;
    const { socket } = this;
    if (body === null || body instanceof Uint8Array) {
      const bytes = body?.byteLength ?? 0;
      if ((contentLength ?? 0) !== bytes) throw new TypeError('Content-Length is not that of the body');
      const isSaid = contentLength !== undefined || EXPECTS_BODY.has(method);
      const end = isSaid ? `content-length: ${bytes}\r\n\r\n` : '\r\n';
      if (body === null || bytes === 0) socket.write(head + end, 'latin1');
      else this.#sendWhole(head + end, body);
      return;
    }
    const sent = () => this.#sent();
    this.#sending = new Sending(socket, body, head, contentLength, sent, (error) => this.#fail(error));
    this.#sending.begin();
  }

  #sendWhole(head: string, body: Uint8Array): void {
    const { socket } = this;
    if (body.byteLength <= SHORT) {
      socket.write(head + Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1'), 'latin1');
      return;
    }
    socket.cork();
    socket.write(head, 'latin1');
    socket.write(body);
    socket.uncork();
  }

  #sent(): void {
    this.#sending = undefined;
    if (this.#work !== undefined) this.deadline = this.#pool.soonest + this.#work.request.timeoutMs;
  }

  /** What came; the bytes are borrowed. */
  readonly read = (bytes: Buffer, length: number): void => {
    for (let at = 0; at < length; ) {
      const part = Math.min(this.#parser.atOnce, length - at);
      this.#parse(bytes, at, part);
      at += part;
    }
  };

  #parse(bytes: Buffer, at: number, length: number): void {
    const work = this.#work;
    if (work === undefined) {
      // Nothing was asked.
      this.socket.destroy();
      return;
    }
    const parser = this.#parser;
    const error = parser.execute(bytes, at, length);
    if (!this.socket.isPaused()) this.deadline = this.#pool.soonest + work.request.timeoutMs;
    try {
      if (this.#interims.length > 0) this.#tellInterims(work);
      this.#tell(work, parser);
    } catch (thrown) {
      this.#fail(thrown);
      return;
    }
    if (error !== undefined) this.#fail(error);
    else if (parser.isComplete) this.#finish(work, parser);
    else work.handler.waits();
  }

  #tellInterims(work: Work): void {
    for (const status of this.#interims.splice(0)) {
      if (status === 100 || status === 101) throw new ParseError('HPE_UNEXPECTED_INTERIM');
      work.handler.interim(status);
    }
  }

  #tell(work: Work, parser: MessageParser): void {
    if (!parser.hasHead || work.isOver) return;
    const { handler } = work;
    if (!work.hasHead) {
      work.hasHead = true;
      handler.head(parser.status, parser.line, parser.fields);
    }
    if (parser.body !== undefined && parser.body.length > 0 && !work.isOver) handler.data(parser.body);
  }

  #finish(work: Work, parser: MessageParser): void {
    this.#work = undefined;
    work.connection = undefined;
    this.deadline = 0;
    const isKept =
      parser.keepsAlive &&
      parser.rest === 0 &&
      !parser.isHead &&
      this.#sending === undefined &&
      !((parser.status === 204 || parser.status === 304) && mayHaveBody(parser.fields)) &&
      !this.socket.destroyed;
    const hint = isKept ? keepAliveHint(parser.fields) : undefined;
    parser.next();
    if (isKept && hint !== 0) this.rest(hint);
    else this.socket.destroy();
    if (work.isOver) return;
    work.isOver = true;
    try {
      work.handler.end();
    } catch (error) {
      work.handler.failed(error);
    }
  }

  /** Waits for the next request. */
  rest(hintMs?: number): void {
    const { idle, options } = this.#pool;
    this.deadline = this.#pool.soonest + (hintMs ?? options.keepAliveTimeoutMs);
    if (this.socket.isPaused()) this.socket.resume();
    idle.push(this);
    this.#pool.wake();
  }

  late(): void {
    this.deadline = 0;
    if (this.#work === undefined) this.socket.destroy();
    // It is the caller who is slow with his body.
    else if (this.#sending?.isWaiting === true) this.deadline = this.#pool.soonest + this.#work.request.timeoutMs;
    else this.#fail(timeout());
  }

  pause(): void {
    this.deadline = 0;
    this.socket.pause();
  }

  resume(): void {
    if (this.#work !== undefined) this.deadline = this.#pool.soonest + this.#work.request.timeoutMs;
    this.socket.resume();
  }

  #fail(error: unknown): void {
    const work = this.#work;
    this.#work = undefined;
    this.deadline = 0;
    if (work !== undefined) work.connection = undefined;
    this.#sending?.stop();
    this.#sending = undefined;
    this.socket.destroy();
    work?.fail(error);
  }

  #onEnd(): void {
    const work = this.#work;
    const parser = this.#parser;
    if (work === undefined) return void this.socket.destroy();
    const hadHead = parser.hasHead;
    const error = parser.finish();
    if (!hadHead || error !== undefined || !parser.isComplete)
      this.#fail(new Error('the upstream closed the connection'));
    else this.#finish(work, parser);
  }

  #onClose(): void {
    const { all, idle } = this.#pool;
    this.#fail(this.#error ?? new Error('the upstream closed the connection'));
    this.#parser.free();
    this.room.end();
    all.delete(this);
    remove(idle, this);
    this.#pool.wake();
  }
}

/** A body on its way up. */
class Sending implements BodySink {
  readonly #socket: Socket;
  readonly #body: BodySource;
  readonly #declared: number | undefined;
  readonly #done: () => void;
  readonly #failed: (error: unknown) => void;
  #head: string;
  #bytes = 0;
  #isStopped = false;

  constructor(
    socket: Socket,
    body: BodySource,
    head: string,
    declared: number | undefined,
    done: () => void,
    failed: (error: unknown) => void,
  ) {
    this.#socket = socket;
    this.#body = body;
    this.#declared = declared;
    this.#done = done;
    this.#failed = failed;
    const framing = declared === undefined ? 'transfer-encoding: chunked' : `content-length: ${declared}`;
    this.#head = `${head}${framing}\r\n\r\n`;
  }

  begin(): void {
    this.#body.begin(this);
  }

  /** The upstream takes all that comes. */
  get isWaiting(): boolean {
    return !this.#socket.writableNeedDrain;
  }

  drained(): void {
    if (!this.#isStopped) this.#body.resume();
  }

  stop(): void {
    this.#isStopped = true;
    this.#body.destroy();
  }

  data(part: Buffer): void {
    if (this.#isStopped) return;
    this.#bytes += part.length;
    if (this.#declared !== undefined && this.#bytes > this.#declared) {
      this.failed(new Error('the body is longer than declared'));
      return;
    }
    const head = this.#head;
    this.#head = '';
    sendPart(this.#socket, head, part, this.#declared === undefined);
    if (isFull(this.#socket)) this.#body.pause();
  }

  end(): void {
    if (this.#isStopped) return;
    if (this.#declared !== undefined && this.#bytes !== this.#declared) {
      this.failed(new Error('the body is shorter than declared'));
      return;
    }
    this.#isStopped = true;
    const end = this.#declared === undefined ? `${this.#head}0\r\n\r\n` : this.#head;
    if (end !== '') this.#socket.write(end, 'latin1');
    this.#done();
  }

  failed(error: Error): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#failed(error);
  }
}

const timeout = (): Error => Object.assign(new Error('the upstream did not answer in time'), { code: 'ETIMEDOUT' });

const mayHaveBody = (fields: readonly string[]): boolean =>
  fieldValues(fields, 'transfer-encoding').length > 0 ||
  fieldValues(fields, 'content-length').some((value) => value !== '0');

/** How long the upstream says that it keeps a connection, less two seconds, a minute at most; 0: not at all. */
function keepAliveHint(fields: readonly string[]): number | undefined {
  for (const value of fieldValues(fields, 'keep-alive')) {
    const seconds = /timeout=([0-9]{1,9})/i.exec(value)?.[1];
    if (seconds !== undefined) return Math.max(0, Math.min(Number(seconds) * 1000 - 2_000, 60_000));
  }
  return undefined;
}
