// A node's status list chunks: those of the IETF Token Status List's own example refuse exactly the tokens that it names.
import { readFileSync } from 'node:fs';
import { deflateSync, inflateSync } from 'node:zlib';
import { encodeBase64url } from '@daypass/core/base64url';
import { STATUS_CHUNK_BITS } from '@daypass/core/service';
import { type Entry, encodeEntry } from '@daypass/core/snapshot';
import { statusUri } from '@daypass/core/token';
import { expect, test } from 'vitest';
import { type Fixture, ISSUER, startFixture } from './fixture.ts';
import { ask, codeIn, startRecorder } from './recorder.ts';

const text = readFileSync(new URL('../vectors/status-list.json', import.meta.url), 'utf8');
type Vector = {
  readonly bits: number;
  readonly tokens: number;
  readonly set?: readonly number[];
  readonly lst: string;
};
const { vectors } = JSON.parse(text) as { readonly vectors: readonly Vector[] };
const CHUNK_BYTES = STATUS_CHUNK_BITS / 8;
const chunk = (number: number, bits: Uint8Array): Entry =>
  encodeEntry('status', String(number), { bits: 1, lst: encodeBase64url(deflateSync(bits)) });
const raw = (bits: number, lst: string): Entry => ({
  kind: 'status',
  name: '0',
  content: Buffer.from(JSON.stringify({ bits, lst })),
});

async function withChunks(entries: readonly Entry[], work: (data: Fixture) => Promise<void>): Promise<void> {
  using upstream = await startRecorder();
  const services = [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }];
  await using data = await startFixture({ services, entries });
  await work(data);
}

/** What a token with a place in the whole list is answered with. */
async function outcome(data: Fixture, place: number): Promise<unknown> {
  const uri = statusUri(ISSUER, Math.floor(place / STATUS_CHUNK_BITS));
  const token = await data.mint({ status: { status_list: { idx: place % STATUS_CHUNK_BITS, uri } } });
  const answer = await ask(data.port, '/public/a', { token });
  return answer.status === 200 ? 200 : codeIn(answer);
}

test('the example of 2^20 tokens (Appendix C.1), in chunks, refuses its tokens and none beside them', async () => {
  const [, { lst, set = [] } = { lst: '' }] = vectors;
  const bits = inflateSync(Buffer.from(lst, 'base64url'));
  const chunks = Array.from({ length: bits.length / CHUNK_BYTES }, (_, at) =>
    chunk(at, bits.subarray(at * CHUNK_BYTES, (at + 1) * CHUNK_BYTES)),
  );
  await withChunks(chunks, async (data) => {
    for (const place of set) {
      expect([place, await outcome(data, place)]).toEqual([place, 'token_revoked']);
      const beside = place + (set.includes(place + 1) ? 2 : 1);
      expect([beside, await outcome(data, beside)]).toEqual([beside, 200]);
    }
  });
});

const whole = new Uint8Array(CHUNK_BYTES);
const zlib = (bytes: Uint8Array): string => encodeBase64url(deflateSync(bytes));

test.each<[string, Entry]>([
  ['of two bits a token, as in the example of §4.1', raw(2, vectors[2]?.lst ?? '')],
  ['of four bits a token', raw(4, zlib(whole))],
  ['of eight bits a token', raw(8, zlib(whole))],
  ['of no bits a token', raw(0, zlib(whole))],
  ['that is the example of 16 tokens, no whole chunk', raw(1, vectors[0]?.lst ?? '')],
  ['that is one byte short', raw(1, zlib(new Uint8Array(CHUNK_BYTES - 1)))],
  ['that is one byte too long', raw(1, zlib(new Uint8Array(CHUNK_BYTES + 1)))],
  ['that inflates to 64 MiB', raw(1, zlib(new Uint8Array(64 * 1024 * 1024)))],
  ['that is cut off', raw(1, encodeBase64url(deflateSync(whole).subarray(0, -3)))],
  [
    'whose checksum is wrong',
    raw(1, encodeBase64url(Buffer.concat([deflateSync(whole).subarray(0, -1), Buffer.of(9)]))),
  ],
  ['that is not zlib', raw(1, encodeBase64url(whole))],
  ['that is empty', raw(1, '')],
  ['that is padded base64', raw(1, Buffer.from(deflateSync(whole)).toString('base64'))],
])('a list %s is refused with the snapshot', async (_name, entry) => {
  await withChunks([], async (data) => {
    const publishing = data.publish({ services: [], entries: [entry] });
    await expect(publishing).rejects.toMatchObject({
      code: expect.stringMatching(/^snapshot_(malformed|inconsistent)$/),
      message: expect.stringContaining('status/0'),
    });
  });
});
