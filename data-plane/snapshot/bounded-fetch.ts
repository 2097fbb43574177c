// A fetch that ends when the control plane sends a message larger than a node takes.

type Fetch = typeof globalThis.fetch;

const HEAD_BYTES = 5;

/** Bounds each message of a stream (https://connectrpc.com/docs/protocol#streaming-response), and each other body in all. */
export function boundedFetch(fetch: Fetch, messageBytesMax: number): Fetch {
  return async (input, init) => {
    const response = await fetch(input, init);
    if (response.body === null) return response;
    const isStream = response.headers.get('content-type')?.startsWith('application/connect+') ?? false;
    const check = isStream ? countMessages(messageBytesMax) : countAll(messageBytesMax);
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

function countAll(bytesMax: number): Check {
  let total = 0;
  return (chunk) => {
    total += chunk.length;
    if (total > bytesMax) throw tooLarge(bytesMax);
  };
}

/** A message is a byte of flags, four bytes of length, and that many bytes. */
function countMessages(bytesMax: number): Check {
  let head = 0;
  let length = 0;
  let left = 0;
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      if (left > 0) {
        const taken = Math.min(left, chunk.length - at);
        left -= taken;
        at += taken;
        continue;
      }
      if (head > 0) length = length * 256 + (chunk[at] ?? 0);
      head += 1;
      at += 1;
      if (head < HEAD_BYTES) continue;
      if (length > bytesMax) throw tooLarge(bytesMax);
      left = length;
      head = 0;
      length = 0;
    }
  };
}

const tooLarge = (bytesMax: number): Error =>
  new Error(`The control plane sent a message of more than ${bytesMax} bytes`);
