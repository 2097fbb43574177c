// A fetch that ends when the control plane sends a message larger than a node takes.

type Fetch = typeof globalThis.fetch;

const HEAD_BYTES = 5;

/** What reads a message makes an object of each field that it does not know: more than these no answer has. */
const FIELDS_MAX = 4096;
/** JSON is what errors are in. */
const JSON_BYTES_MAX = 1024 * 1024;

/** Bounds each message of a stream (https://connectrpc.com/docs/protocol#streaming-response), and each other body in all. */
export function boundedFetch(fetch: Fetch, messageBytesMax: number): Fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    if (response.body === null) return response;
    const check = checkFor(response.headers.get('content-type') ?? '', messageBytesMax);
    const body = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          check(chunk);
          controller.enqueue(chunk);
        },
      }),
    );
    const { status, statusText, headers } = response;
    return new Response(body, { status, statusText, headers });
  };
}

type Check = (chunk: Uint8Array) => void;

function checkFor(type: string, bytesMax: number): Check {
  if (type.startsWith('application/connect+')) return countMessages(bytesMax);
  if (!type.startsWith('application/proto')) return countAll(Math.min(bytesMax, JSON_BYTES_MAX));
  const [bytes, fields] = [countAll(bytesMax), countFields()];
  return (chunk) => {
    bytes(chunk);
    fields(chunk);
  };
}

function countAll(bytesMax: number): Check {
  let total = 0;
  return (chunk) => {
    total += chunk.length;
    if (total > bytesMax) throw tooLarge(bytesMax);
  };
}

/** A message is a byte of flags, four bytes of length, and that many bytes; with flags they are the JSON at the end. */
function countMessages(bytesMax: number): Check {
  let head = 0;
  let flags = 0;
  let length = 0;
  let left = 0;
  let fields = countFields();
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      if (left > 0) {
        const taken = Math.min(left, chunk.length - at);
        if (flags === 0) fields(chunk.subarray(at, at + taken));
        left -= taken;
        at += taken;
        continue;
      }
      if (head === 0) flags = chunk[at] ?? 0;
      else length = length * 256 + (chunk[at] ?? 0);
      head += 1;
      at += 1;
      if (head < HEAD_BYTES) continue;
      const max = flags === 0 ? bytesMax : Math.min(bytesMax, JSON_BYTES_MAX);
      if (length > max) throw tooLarge(max);
      left = length;
      head = 0;
      length = 0;
      fields = countFields();
    }
  };
}

/** The fields of a message, as it comes (https://protobuf.dev/programming-guides/encoding). */
function countFields(): Check {
  let count = 0;
  let reading: 'tag' | 'length' | 'number' = 'tag';
  let value = 0;
  let weight = 1;
  let skip = 0;
  const begin = (tag: number): void => {
    count += 1;
    if (count > FIELDS_MAX) throw new Error(`The control plane sent a message of more than ${FIELDS_MAX} fields`);
    const type = tag % 8;
    reading = type === 2 ? 'length' : type === 0 ? 'number' : 'tag';
    skip = type === 1 ? 8 : type === 5 ? 4 : 0;
  };
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      if (skip > 0) {
        const taken = Math.min(skip, chunk.length - at);
        skip -= taken;
        at += taken;
        continue;
      }
      const byte = chunk[at] ?? 0;
      at += 1;
      value += (byte & 0x7f) * weight;
      weight *= 128;
      // Of more than 32 bits readers take those, and would see other fields than are counted here.
      if (reading !== 'number' && (weight > 2 ** 35 || value >= 2 ** 32)) throw new Error('A length is too large');
      if (byte >= 0x80) continue;
      const [whole, what] = [value, reading];
      value = 0;
      weight = 1;
      reading = 'tag';
      if (what === 'length') skip = whole;
      else if (what === 'tag') begin(whole);
    }
  };
}

const tooLarge = (bytesMax: number): Error =>
  new Error(`The control plane sent a message of more than ${bytesMax} bytes`);
