// The fetch that a control plane cannot make a node hold more with than it said.
import { expect, test } from 'vitest';
import { boundedFetch } from '../../../data-plane/snapshot/bounded-fetch.ts';

const MAX = 1_000;

/** A message of a stream: flags, length, that many bytes. */
function message(length: number, claimed = length): Uint8Array {
  const bytes = new Uint8Array(5 + length);
  new DataView(bytes.buffer).setUint32(1, claimed);
  return bytes;
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

const STREAM = 'application/connect+proto';
const large = Array.from({ length: 20 }, () => message(MAX));
test.each<[string, string, Uint8Array, number | string]>([
  ['many messages of the largest size', STREAM, join(...large), 20 * (MAX + 5)],
  ['empty messages', STREAM, join(message(0), message(0)), 10],
  ['one byte more', STREAM, join(message(10), message(MAX + 1)), 'refused'],
  ['a message that only claims to be large', STREAM, message(3, 2 ** 32 - 1), 'refused'],
  ['a small answer', 'application/proto', new Uint8Array(MAX), MAX],
  ['a large answer', 'application/proto', new Uint8Array(MAX + 1), 'refused'],
])('%s', async (_name, type, body, expected) => {
  for (const piece of [1, 3, 7, 4_096]) expect(await received(type, body, piece)).toBe(expected);
});

test('an answer without a body passes', async () => {
  const fetch = boundedFetch(async () => new Response(null, { status: 204 }), MAX);
  expect((await fetch('http://control.example')).status).toBe(204);
});
