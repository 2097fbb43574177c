// A transport whose streams put each message where it stays: in memory that threads share, copied once, whatever its size.
import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { Code, ConnectError, type Transport } from '@connectrpc/connect';
import { codeFromHttpStatus, endStreamFromJson, errorFromJsonBytes } from '@connectrpc/connect/protocol-connect';

type Options = {
  readonly baseUrl: string;
  /** The value of the Authorization header, asked for at every call. */
  readonly authorization: () => Promise<string>;
  readonly fetch: typeof globalThis.fetch;
  /** Longest message of a stream. */
  readonly bytesMax: number;
};

/** Another's calls, and streams of its own (https://connectrpc.com/docs/protocol#streaming-rpcs). It follows no redirect. */
export const streamTransport = (calls: Pick<Transport, 'unary'>, options: Options): Transport => ({
  unary: calls.unary,
  async stream(method, signal, _timeoutMs, _header, input) {
    const { baseUrl, authorization, fetch, bytesMax } = options;
    const response = await fetch(`${baseUrl.replace(/\/$/, '')}/${method.parent.typeName}/${method.name}`, {
      method: 'POST',
      redirect: 'error',
      headers: { 'content-type': TYPE, 'connect-protocol-version': '1', authorization: await authorization() },
      body: await requestOf(method.input, input),
      ...(signal === undefined ? {} : { signal }),
    });
    if (!response.ok || response.headers.get('content-type') !== TYPE) throw await errorOf(response);
    const trailer = new Headers();
    const message = messages(method.output, envelopes(bodyOf(response), bytesMax));
    return { stream: true, service: method.parent, method, header: response.headers, trailer, message };
  },
});

const TYPE = 'application/connect+proto';
const HEAD_BYTES = 5;
const END_STREAM = 2;
const ERROR_BYTES_MAX = 64 * 1024;

type Body = AsyncIterable<Uint8Array>;
type Envelope = { readonly flags: number; readonly bytes: Buffer };

async function requestOf<I extends DescMessage>(schema: I, input: AsyncIterable<unknown>) {
  const parts: Uint8Array[] = [];
  for await (const init of input) {
    const message = toBinary(schema, create(schema, init as MessageShape<I>));
    const head = Buffer.alloc(HEAD_BYTES);
    head.writeUInt32BE(message.length, 1);
    parts.push(head, message);
  }
  return Buffer.concat(parts);
}

async function* messages<O extends DescMessage>(
  schema: O,
  all: AsyncIterable<Envelope>,
): AsyncGenerator<MessageShape<O>> {
  for await (const { flags, bytes } of all) {
    if (flags === END_STREAM) {
      const { error } = endStreamFromJson(Uint8Array.from(bytes));
      if (error !== undefined) throw error;
      return;
    }
    if (flags !== 0) throw new ConnectError('A message of a stream is compressed', Code.Internal);
    yield fromBinary(schema, bytes);
  }
  throw new ConnectError('The stream was cut', Code.Unavailable);
}

async function* bodyOf({ body }: Response): AsyncGenerator<Uint8Array> {
  if (body !== null) yield* body;
}

/** A message is a byte of flags, four bytes of length, and that many bytes. */
async function* envelopes(body: Body, bytesMax: number): AsyncGenerator<Envelope> {
  let room: Buffer = Buffer.alloc(HEAD_BYTES);
  let flags: number | undefined;
  let filled = 0;
  for await (const chunk of body) {
    for (let at = 0; at < chunk.length; ) {
      const taken = chunk.subarray(at, at + room.length - filled);
      room.set(taken, filled);
      filled += taken.length;
      at += taken.length;
      if (filled === room.length && flags === undefined) {
        const length = room.readUInt32BE(1);
        if (length > bytesMax) throw tooLarge(bytesMax);
        flags = room[0] ?? 0;
        // Of a length that is only claimed nothing is taken before bytes are written.
        room = Buffer.from(new SharedArrayBuffer(length));
        filled = 0;
      }
      if (flags === undefined || filled < room.length) continue;
      yield { flags, bytes: room };
      room = Buffer.alloc(HEAD_BYTES);
      flags = undefined;
      filled = 0;
    }
  }
}

async function errorOf(response: Response): Promise<ConnectError> {
  const status = new ConnectError(`The control plane answered ${response.status}`, codeFromHttpStatus(response.status));
  const bytes: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of bodyOf(response)) {
    length += chunk.length;
    if (length > ERROR_BYTES_MAX) return status;
    bytes.push(chunk);
  }
  if (response.headers.get('content-type') !== 'application/json') return status;
  try {
    return errorFromJsonBytes(Uint8Array.from(Buffer.concat(bytes)), undefined, status);
  } catch (error) {
    return ConnectError.from(error, Code.Unknown);
  }
}

const tooLarge = (bytesMax: number): ConnectError =>
  new ConnectError(`The control plane sent a message of more than ${bytesMax} bytes`, Code.ResourceExhausted);
