// The fetch that a control plane cannot make a node hold more with than it said.
import { expect, test } from 'vitest';
import { boundedFetch } from '../../../data-plane/snapshot/bounded-fetch.ts';

const MAX = 10_000;

/** A message of a stream: flags, length, that many bytes. */
function message(length: number, claimed = length): Uint8Array {
  const bytes = new Uint8Array(5 + length);
  new DataView(bytes.buffer).setUint32(1, claimed);
  if (length > 0) bytes.set(oneField(length), 5);
  return bytes;
}

/** A field that takes all of a message, but for its tag and its length. */
function oneField(length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(8);
  // Field 1, of bytes; the length in as many bytes as it needs at most.
  const rest = length - 4;
  bytes.set(length < 4 ? [8, 1, 8].slice(0, length) : [10, (rest & 127) | 128, ((rest >> 7) & 127) | 128, rest >> 14]);
  return bytes;
}

/** Fields of two bytes each, as a message of a stream where there are flags. */
function fields(count: number, flags?: number): Uint8Array {
  const content = new Uint8Array(2 * count).fill(8);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(content.length, 1);
  head[0] = flags ?? 0;
  return flags === undefined ? content : join(head, content);
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(parts);
}

/** The bytes of an answer in pieces of a size, or the error. */
async function received(type: string, body: Uint8Array, piece: number): Promise<number | string> {
  const source = new ReadableStream<Uint8Array>({
    start(controller) {
      for (let at = 0; at < body.length; at += piece) controller.enqueue(body.subarray(at, at + piece));
      controller.close();
    },
  });
  const fetch = boundedFetch(async () => new Response(source, { headers: { 'content-type': type } }), MAX);
  const response = await fetch('http://control.example');
  return await response.arrayBuffer().then(
    (bytes) => bytes.byteLength,
    () => 'refused',
  );
}

/** 2^32, which is 0 in 32 bits. */
const overlong = Uint8Array.of(10, 128, 128, 128, 128, 16);
const STREAM = 'application/connect+proto';
const large = Array.from({ length: 20 }, () => message(MAX));
test.each<[string, string, Uint8Array, number | string]>([
  ['many messages of the largest size', STREAM, join(...large), 20 * (MAX + 5)],
  ['empty messages', STREAM, join(message(0), message(0)), 10],
  ['one byte more', STREAM, join(message(10), message(MAX + 1)), 'refused'],
  ['a message that only claims to be large', STREAM, message(3, 2 ** 32 - 1), 'refused'],
  ['many fields in all, and few in each message', STREAM, join(fields(4_000, 0), fields(4_000, 0)), 16_010],
  ['a message of many fields', STREAM, join(message(10), fields(4_097, 0)), 'refused'],
  ['an end of the stream, in which nothing is a field', STREAM, fields(4_097, 2), 8_199],
  ['an answer of many fields', 'application/proto', fields(4_097), 'refused'],
  ['fields behind a length that readers take for 0', 'application/proto', join(overlong, fields(4_097)), 'refused'],
  ['a number of ten bytes', 'application/proto', Uint8Array.of(8, ...Array(9).fill(255), 1), 11],
  ['an answer in another form', 'application/json', fields(4_097), 8_194],
  ['a small answer', 'application/proto', oneField(MAX), MAX],
  ['a large answer', 'application/proto', new Uint8Array(MAX + 1), 'refused'],
])('%s', async (_name, type, body, expected) => {
  for (const piece of [1, 3, 7, 4_097]) expect(await received(type, body, piece)).toBe(expected);
});

test('an answer without a body passes', async () => {
  const fetch = boundedFetch(async () => new Response(null, { status: 204 }), MAX);
  expect((await fetch('http://control.example')).status).toBe(204);
});
