// An upstream that answers with the credential in other clothes, or with a head made to be costly to search.
import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { createScrubber } from '../../data-plane/scrub.ts';
import { startFixture } from './fixture.ts';
import { ask, fieldOf, startRecorder } from './recorder.ts';

const SECRET = 'sk-live-51H"<&>0/+~Qz';
const base64 = (text: string) => Buffer.from(text, 'latin1').toString('base64');
const hex = Buffer.from(SECRET).toString('hex');
const html = SECRET.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

test.each([
  ['hexadecimal', hex],
  ['hexadecimal in capitals', hex.toUpperCase()],
  ['HTML with named entities', html],
  ['base64', base64(SECRET)],
  ['base64 with another text before it', base64(`Bearer ${SECRET}`)],
  ['base64 between other texts (1)', base64(`u:${SECRET}:x`)],
  ['base64 between other texts (2)', base64(`:${SECRET}&more`)],
  ['base64url between other texts', Buffer.from(`{"k":"${SECRET}"}`).toString('base64url')],
  ['percent-encoded base64', encodeURIComponent(base64(`x${SECRET}`))],
])('a credential in %s is scrubbed', async (_name, written) => {
  using upstream = await startRecorder();
  upstream.script(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Echo: a ${written} b\r\n\r\nok`);
  const services = [{ name: 'api', origin: upstream.origin, secret: SECRET, is_default: true }];
  await using data = await startFixture({ services });
  const echo = fieldOf((await ask(data.port, '/public/a', { token: await data.mint() })).head, 'x-echo') ?? '';
  expect(echo).toMatch(/^a .*\[redacted\].* b$/);
  // What stands at its borders may tell the first and the last character, and nothing of the middle.
  const middle = Math.floor(written.length / 2);
  expect(echo).not.toContain(written.slice(middle - 4, middle + 4));
});

test('a long credential is looked for without stopping everybody else', () => {
  const secret = randomBytes(2100).toString('base64');
  const before = performance.now();
  const scrubber = createScrubber([secret, Buffer.from(secret).toString('base64')]);
  expect(scrubber.finds('x'.repeat(60_000))).toBe(false);
  expect(scrubber.scrub(`a ${encodeURIComponent(secret)} b`)).toBe('a [redacted] b');
  expect(performance.now() - before).toBeLessThan(500);
});

test('a text that would take too long to search is taken for the credential', () => {
  const scrubber = createScrubber(['a'.repeat(2000)]);
  const text = `${'a'.repeat(1999)}b`.repeat(32);
  expect(scrubber.scrub(text)).toBe('[redacted]');
});
