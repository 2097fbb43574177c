// Heads that an upstream or an outsider makes to keep the proxy busy.
import { expect, test } from 'vitest';
import { readHead } from '../../data-plane/wire.ts';
import { startFixture } from './fixture.ts';
import { ask, codeIn, fieldOf, soon, startRecorder } from './recorder.ts';

test('an upstream that sends interim answers without end is given up', async () => {
  using upstream = await startRecorder();
  const services = [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }];
  await using data = await startFixture({ services });
  let isClosed = false;
  upstream.script((socket) => {
    socket.on('close', () => (isClosed = true));
    const more = () => {
      while (!isClosed && socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n'.repeat(100)));
    };
    socket.on('drain', more);
    more();
  });
  const answer = await ask(data.port, '/public/a', { token: await data.mint() });
  expect([answer.status, codeIn(answer)]).toEqual([502, 'upstream_response_invalid']);
  await soon(() => isClosed);
});

test('a few interim answers are passed over', async () => {
  using upstream = await startRecorder();
  const services = [{ name: 'api', origin: upstream.origin, secret: 'S3CRET', is_default: true }];
  await using data = await startFixture({ services });
  const interim = 'HTTP/1.1 102 Processing\r\nX-Key: S3CRET\r\n\r\n'.repeat(20);
  upstream.script(`${interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok`);
  const answer = await ask(data.port, '/public/a', { token: await data.mint() });
  expect([answer.status, answer.body, fieldOf(answer.head, 'x-key')]).toEqual([200, 'ok', undefined]);
});

test('many Connection fields cost no more than other fields', () => {
  const options = Array.from({ length: 20_000 }, (_none, at) => ['connection', `x-${at}`]);
  const request = { method: 'GET', target: '/', major: 1, minor: 1, fields: ['host', 'h', ...options.flat()] };
  const before = performance.now();
  expect(readHead(request, { bodyBytesMax: 1 }).hopNames.size).toBe(20_000);
  expect(performance.now() - before).toBeLessThan(500);
});
