// llhttp, the parser of Node itself, as undici ships it in WebAssembly: messages as spans of the bytes that came.
import { createRequire } from 'node:module';
import { fieldValues } from './field-values.ts';

/** What a parser reads. */
export const REQUEST = 1;
export const RESPONSE = 2;

/** Codes of llhttp. */
export const OK = 0;
const CLOSED = 5;
const PAUSED = 21;
const PAUSED_UPGRADE = 22;
const USER = 24;

/** A breach of the protocol; `code` is llhttp's, such as `HPE_INVALID_METHOD`. */
export class ParseError extends Error {
  override readonly name = 'HTTPParserError';
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

type Exports = {
  readonly memory: { readonly buffer: ArrayBuffer };
  _initialize?(): void;
  llhttp_alloc(type: number): number;
  llhttp_free(pointer: number): void;
  llhttp_reset(pointer: number): void;
  malloc(bytes: number): number;
  llhttp_execute(pointer: number, at: number, bytes: number): number;
  llhttp_finish(pointer: number): number;
  llhttp_resume(pointer: number): void;
  llhttp_resume_after_upgrade(pointer: number): void;
  llhttp_get_error_pos(pointer: number): number;
  llhttp_errno_name(code: number): number;
  llhttp_get_http_major(pointer: number): number;
  llhttp_get_http_minor(pointer: number): number;
  llhttp_get_method(pointer: number): number;
  llhttp_method_name(method: number): number;
};

/** Bytes that are parsed at a time; the shared buffer that sockets read into is as large. */
export const ROOM = 64 * 1024;
/** Between two parts of a chunked body: chunk extensions and trailers. */
const SILENT_MAX = 16 * 1024;
/** Field lines that are noted at a time. */
const SPANS = 16 * 1024;

const LINE = 1;
const NAME = 2;
const VALUE = 3;

// Of the one execution under way: there is never a second, since nothing is told to anybody during one.
const spans = new Int32Array(2 * SPANS);
let count = 0;
let lineStart = -1;
let lineEnd = -1;
let base = 0;
let bodyAt = -1;
let bodyEnd = -1;
let current: MessageParser | undefined;

/** The parser under way, if its head may have so many bytes more. */
function withHeadBytes(length: number): MessageParser | undefined {
  const parser = current;
  if (parser === undefined) return undefined;
  parser.headBytes += length;
  if (parser.headBytes < parser.headBytesMax) return parser;
  parser.fault = 'HPE_HEADER_OVERFLOW';
  return undefined;
}

function field(kind: number, at: number, length: number): number {
  const parser = withHeadBytes(length);
  if (parser === undefined) return USER;
  // Trailers are read for their form alone.
  if (parser.hasHead) return OK;
  const start = at - base;
  if (kind === parser.lastKind) {
    if (count > 0) {
      if (spans[2 * count - 1] !== start) return USER;
      spans[2 * count - 1] = start + length;
      return OK;
    }
    parser.joins = true;
  }
  parser.lastKind = kind;
  if (count >= SPANS) return USER;
  spans[2 * count] = start;
  spans[2 * count + 1] = start + length;
  count += 1;
  return OK;
}

function line(at: number, length: number): number {
  const parser = withHeadBytes(length);
  if (parser === undefined) return USER;
  if (lineEnd === -1) lineStart = at - base;
  lineEnd = at - base + length;
  parser.lastKind = LINE;
  return OK;
}

const env = {
  wasm_on_url: (_parser: number, at: number, length: number) => line(at, length),
  wasm_on_status: (_parser: number, at: number, length: number) => line(at, length),
  wasm_on_message_begin: () => {
    count = 0;
    lineStart = -1;
    lineEnd = -1;
    return current?.begin() ?? USER;
  },
  wasm_on_header_field: (_parser: number, at: number, length: number) => field(NAME, at, length),
  wasm_on_header_value: (_parser: number, at: number, length: number) => field(VALUE, at, length),
  wasm_on_headers_complete: (_parser: number, status: number, upgrade: number, keepAlive: number) =>
    current?.complete(status, upgrade === 1, keepAlive === 1) ?? USER,
  wasm_on_body: (_parser: number, at: number, length: number) => current?.part(at - base, length) ?? USER,
  wasm_on_message_complete: () => current?.end() ?? USER,
};

// Their types come with the DOM's alone.
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object;
  readonly Instance: new (module: object, imports: { readonly env: typeof env }) => { readonly exports: unknown };
};

const wasm = instantiate();
const bytesAt = wasm.malloc(ROOM);
// Parsers are kept and used again, so memory grows to what was once in use and no further.
const free: { readonly [type: number]: number[] } = { [REQUEST]: [], [RESPONSE]: [] };
let room = new Uint8Array(wasm.memory.buffer, bytesAt, ROOM);
const methods = new Map<number, string>();

function instantiate(): Exports {
  const bytes: Uint8Array<ArrayBuffer> = createRequire(import.meta.url)('undici/lib/llhttp/llhttp_simd-wasm.js');
  const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env });
  const exports = instance.exports as unknown as Exports;
  exports._initialize?.();
  return exports;
}

function cText(pointer: number): string {
  const memory = Buffer.from(wasm.memory.buffer);
  return memory.toString('latin1', pointer, memory.indexOf(0, pointer));
}

function methodName(method: number): string {
  const known = methods.get(method);
  if (known !== undefined) return known;
  const name = cText(wasm.llhttp_method_name(method));
  methods.set(method, name);
  return name;
}

/** Called when the head of an interim answer is whole; false ends the connection. */
export type OnInterim = (status: number) => boolean;

/** One connection's parser. After each `execute` it says what has come; strings are made once a head. */
export class MessageParser {
  readonly #type: number;
  #pointer: number;
  /** Values below belong to the message under way. */
  hasHead = false;
  isComplete = false;
  keepsAlive = false;
  isUpgrade = false;
  status = 0;
  method = '';
  major = 0;
  minor = 0;
  /** The target, or the reason phrase. */
  line = '';
  fields: readonly string[] = [];
  /** While they come. */
  #growing: string[] = [];
  /** A response to HEAD has no body. */
  isHead = false;
  /** The part of the body that the last execution found: a view of what it was given unless it came in several. */
  body: Buffer | undefined;
  /** Bytes of the last execution that were not read: they follow a whole message. */
  rest = 0;
  isIdle = true;
  headBytes = 0;
  readonly headBytesMax: number;
  lastKind = 0;
  joins = false;
  fault: string | undefined;
  #silent = 0;
  /** Bytes that are to come of a body with a Content-Length, once its head has come without all of it. */
  #left = 0;
  /** Bytes since the message before, while the head is not whole. */
  #unread = 0;
  #source: Buffer = NOTHING;
  #sourceAt = 0;
  #sourceEnd = 0;
  #parts: Buffer | undefined;
  #partsLength = 0;
  /** Bytes of the fields of the message before, where they came in one piece, how many spans they are, and the fields. */
  #knownBytes: Buffer = NOTHING;
  #knownCount = 0;
  #known: readonly string[] = [];
  /** Whether they say that the connection is to close. */
  #knownCloses = false;
  readonly #onInterim: OnInterim | undefined;

  constructor(type: typeof REQUEST | typeof RESPONSE, headBytesMax: number, onInterim?: OnInterim) {
    this.#type = type;
    this.headBytesMax = headBytesMax;
    this.#onInterim = onInterim;
    this.#pointer = free[type]?.pop() ?? wasm.llhttp_alloc(type);
    if (room.buffer !== wasm.memory.buffer) room = new Uint8Array(wasm.memory.buffer, bytesAt, ROOM);
  }

  /** Gives the parser back. */
  free(): void {
    if (this.#pointer === 0) return;
    wasm.llhttp_reset(this.#pointer);
    free[this.#type]?.push(this.#pointer);
    this.#pointer = 0;
    this.#left = 0;
  }

  /** Bytes that one execution may have: any number of a body that is merely counted, else `ROOM`. */
  get atOnce(): number {
    return this.#left > 0 ? Number.MAX_SAFE_INTEGER : ROOM;
  }

  /** Reads on, up to the end of a message; at most `atOnce` bytes. */
  execute(source: Buffer, at: number, length: number): ParseError | undefined {
    if (this.#pointer === 0) return new ParseError('HPE_CLOSED_CONNECTION');
    if (this.#left > 0) return this.#countOn(source, at, length);
    room.set(at === 0 && length === source.length ? source : source.subarray(at, at + length));
    count = 0;
    lineStart = -1;
    lineEnd = -1;
    base = bytesAt;
    bodyAt = -1;
    bodyEnd = -1;
    this.joins = false;
    this.body = undefined;
    this.rest = 0;
    this.#source = source;
    this.#sourceAt = at;
    this.#sourceEnd = at + length;
    const headBefore = this.hasHead;
    const isWhole = this.isIdle;
    current = this;
    const ret = wasm.llhttp_execute(this.#pointer, bytesAt, length);
    current = undefined;
    if (ret === PAUSED || ret === PAUSED_UPGRADE) {
      this.rest = length - (wasm.llhttp_get_error_pos(this.#pointer) - bytesAt);
      if (ret === PAUSED) wasm.llhttp_resume(this.#pointer);
      else wasm.llhttp_resume_after_upgrade(this.#pointer);
    } else if (ret !== OK) {
      if (this.hasHead && !headBefore) this.#settle(isWhole);
      return this.#error(ret);
    }
    if (!this.hasHead || !headBefore) this.#settle(isWhole);
    if (bodyAt >= 0) {
      this.body =
        this.#parts === undefined
          ? source.subarray(at + bodyAt, at + bodyEnd)
          : this.#parts.subarray(0, this.#partsLength);
      this.#parts = undefined;
    }
    if (!this.hasHead) {
      this.#unread += length;
      // Blanks around values, and empty lines, are in no span.
      if (this.#unread > 2 * this.headBytesMax) return new ParseError('HPE_HEADER_OVERFLOW');
    } else if (!this.isComplete) {
      this.#silent = bodyEnd < 0 ? (headBefore ? this.#silent + length : 0) : length - bodyEnd;
      if (this.#silent > SILENT_MAX) return new ParseError('HPE_CHUNK_EXTENSIONS_OVERFLOW');
      if (!headBefore && !this.isUpgrade && this.keepsAlive) this.#count();
    }
    this.#source = NOTHING;
    return undefined;
  }

  /**
   * From here on a body with a Content-Length is counted, not parsed: there is nothing in it to find but its end. llhttp
   * has seen that the length is a number, stands there once, and beside no Transfer-Encoding; it begins the next message.
   */
  #count(): void {
    const [value] = fieldValues(this.fields, 'content-length');
    const length = Number(value);
    if (!Number.isSafeInteger(length)) return;
    this.#left = length - (bodyEnd - bodyAt);
    wasm.llhttp_reset(this.#pointer);
  }

  #countOn(source: Buffer, at: number, length: number): undefined {
    const taken = Math.min(this.#left, length);
    this.#left -= taken;
    this.body = source.subarray(at, at + taken);
    this.rest = length - taken;
    this.isComplete = this.#left === 0;
  }

  /** Nothing more comes. */
  finish(): ParseError | undefined {
    if (this.#pointer === 0) return undefined;
    this.body = undefined;
    if (this.#left > 0) return new ParseError('HPE_INVALID_EOF_STATE');
    current = this;
    const ret = wasm.llhttp_finish(this.#pointer);
    current = undefined;
    return ret === OK || ret === PAUSED || ret === PAUSED_UPGRADE ? undefined : this.#error(ret);
  }

  /** Makes ready for the next message. */
  next(): void {
    this.hasHead = false;
    this.isComplete = false;
    this.isIdle = true;
    this.#unread = 0;
    this.fields = NO_FIELDS;
    this.line = '';
  }

  #error(ret: number): ParseError {
    return new ParseError(
      this.fault ?? (ret === CLOSED ? 'HPE_CLOSED_CONNECTION' : cText(wasm.llhttp_errno_name(ret))),
    );
  }

  /** Makes strings of the spans; `isWhole`: of a head that has begun with this execution. */
  #settle(isWhole: boolean): void {
    const isOne = isWhole && this.hasHead && !this.joins && count > 0 && lineEnd !== -1;
    if (isOne && this.#isKnown()) {
      this.line = this.#source.toString('latin1', this.#sourceAt + lineStart, this.#sourceAt + lineEnd);
      this.fields = this.#known;
      if (this.#knownCloses) this.keepsAlive = false;
      return;
    }
    if (count > 0 || lineEnd !== -1) this.#take();
    if (!this.hasHead) return;
    trimValues(this.#growing);
    this.fields = this.#growing;
    this.#growing = [];
    const closes = saysClose(this.fields);
    if (closes) this.keepsAlive = false;
    if (isOne) this.#remember(closes);
  }

  /** The same bytes are the same fields: the parser stands at the same place before them, and no option is set. */
  #isKnown(): boolean {
    if (count !== this.#knownCount) return false;
    const [from, to] = [this.#sourceAt + (spans[0] ?? 0), this.#sourceAt + (spans[2 * count - 1] ?? 0)];
    const known = this.#knownBytes;
    return to - from === known.length && this.#source.compare(known, 0, known.length, from, to) === 0;
  }

  #remember(closes: boolean): void {
    const [from, to] = [this.#sourceAt + (spans[0] ?? 0), this.#sourceAt + (spans[2 * count - 1] ?? 0)];
    this.#knownCount = to - from > KNOWN_MAX ? 0 : count;
    this.#knownBytes = this.#knownCount === 0 ? NOTHING : Buffer.from(this.#source.subarray(from, to));
    this.#known = this.#knownCount === 0 ? NO_FIELDS : this.fields;
    this.#knownCloses = closes;
  }

  #take(): void {
    const end = Math.max(lineEnd, count === 0 ? 0 : (spans[2 * count - 1] ?? 0));
    const text = this.#source.toString('latin1', this.#sourceAt, this.#sourceAt + end);
    if (lineEnd !== -1)
      this.line = this.line === '' ? text.slice(lineStart, lineEnd) : this.line + text.slice(lineStart, lineEnd);
    const fields = this.#growing;
    let from = 0;
    if (this.joins && fields.length > 0) {
      fields[fields.length - 1] += text.slice(spans[0], spans[1]);
      from = 1;
    }
    for (let at = from; at < count; at += 1) fields.push(text.slice(spans[2 * at], spans[2 * at + 1]));
  }

  // What follows is called by the parser.

  begin(): number {
    this.isIdle = false;
    this.hasHead = false;
    this.isComplete = false;
    this.headBytes = 0;
    this.lastKind = 0;
    this.joins = false;
    this.fault = undefined;
    this.#silent = 0;
    this.line = '';
    this.fields = NO_FIELDS;
    this.#growing = [];
    return OK;
  }

  complete(status: number, upgrade: boolean, keepAlive: boolean): number {
    if (this.#type === RESPONSE) {
      this.status = status;
      if (status < 200) {
        if (this.#onInterim?.(status) !== true) return USER;
        this.#unread = 0;
        count = 0;
        lineStart = -1;
        lineEnd = -1;
        return 1;
      }
    } else {
      this.method = methodName(wasm.llhttp_get_method(this.#pointer));
    }
    this.major = wasm.llhttp_get_http_major(this.#pointer);
    this.minor = wasm.llhttp_get_http_minor(this.#pointer);
    this.isUpgrade = upgrade;
    this.keepsAlive = keepAlive;
    this.hasHead = true;
    this.headBytes = 0;
    return this.isHead ? 1 : OK;
  }

  part(at: number, length: number): number {
    if (bodyAt < 0) {
      const headEnd = count > 0 ? (spans[2 * count - 1] ?? 0) : Math.max(0, lineEnd);
      if (this.#silent + at - headEnd > SILENT_MAX) {
        this.fault = 'HPE_CHUNK_EXTENSIONS_OVERFLOW';
        return USER;
      }
      bodyAt = at;
    } else {
      if (at - bodyEnd > SILENT_MAX) {
        this.fault = 'HPE_CHUNK_EXTENSIONS_OVERFLOW';
        return USER;
      }
      if (this.#parts === undefined) {
        this.#parts = Buffer.allocUnsafe(this.#sourceEnd - this.#sourceAt - bodyAt);
        this.#source.copy(this.#parts, 0, this.#sourceAt + bodyAt, this.#sourceAt + bodyEnd);
        this.#partsLength = bodyEnd - bodyAt;
      }
      this.#source.copy(this.#parts, this.#partsLength, this.#sourceAt + at, this.#sourceAt + at + length);
      this.#partsLength += length;
    }
    bodyEnd = at + length;
    return OK;
  }

  end(): number {
    // Of an interim answer.
    if (!this.hasHead) return OK;
    this.isComplete = true;
    // The parser pauses by itself behind an offer to upgrade, and would do so once more if it was paused before that.
    return this.isUpgrade ? OK : PAUSED;
  }
}

const NOTHING = Buffer.alloc(0);
const NO_FIELDS: readonly string[] = [];
/** Bytes of fields that are kept to know them again. */
const KNOWN_MAX = 4096;

// RFC 9112 §5: blanks around a value are no part of it; llhttp takes away those in front.
function trimValues(fields: string[]): void {
  for (let at = 1; at < fields.length; at += 2) {
    const value = fields[at] ?? '';
    const last = value.charCodeAt(value.length - 1);
    if (last === 0x20 || last === 0x09) fields[at] = value.replace(/[\t ]{1,65536}$/, '');
  }
}

// The parser does not see a `close` that has a tab behind it.
const saysClose = (fields: readonly string[]): boolean =>
  fieldValues(fields, 'connection').some((value) => CLOSE.test(value));

const CLOSE = /(?:^|,)[\t ]*close[\t ]*(?:,|$)/i;
