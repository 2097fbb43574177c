// Encoded slashes: refused as ever, but for a service that asks for them, where they stay inside of their segment.
import { describe, expect, test } from 'vitest';
import { type Fixture, startFixture } from './fixture.ts';
import { ask, codeIn, type Recorder, startRecorder } from './recorder.ts';

const ALLOWED = ['GET /projects/*', 'GET /projects/a%2Fb/issues', 'GET /files/**'];

async function withServices(work: (data: Fixture, upstream: Recorder) => Promise<void>): Promise<void> {
  using upstream = await startRecorder();
  const service = { origin: upstream.origin, secret: 'S3CRET', base_path: '/api' };
  await using data = await startFixture({
    services: [
      { ...service, name: 'api', encoded_slashes: true },
      { ...service, name: 'strict' },
      { ...service, name: 'root', is_default: true, encoded_slashes: true },
    ],
  });
  await work(data, upstream);
}

const get = async (data: Fixture, target: string, service = 'api'): Promise<unknown> => {
  const answer = await ask(data.port, target, { token: await data.mint({ service, allowed: ALLOWED }) });
  return answer.status === 200 ? 200 : codeIn(answer);
};

describe('a service that allows encoded slashes', () => {
  test.each([
    '/projects/a%2Fb',
    '/projects/a%2fb',
    '/projects/a%2Fb/issues',
    '/files/x/a%2Fb%2Fc?q=%2F..',
  ])('gets %s byte for byte, as one segment', (path) =>
    withServices(async (data, upstream) => {
      expect(await get(data, `/s/api${path}`)).toBe(200);
      expect(await get(data, path, 'root')).toBe(200);
      expect(upstream.requests().map(({ target }) => target)).toEqual([`/api${path}`, `/api${path}`]);
    }));

  const refused = [
    '%2e%2e%2fadmin',
    '..%2fadmin',
    'a%2f..',
    'a%2f..%2fadmin',
    'a%2F%2e%2e%2Fadmin',
    'a%2f.%2fb',
    '%252f',
    'a%252fb',
    'a%5cb',
    'a%2f%5c..',
    'a%2f',
    '%2fa',
    'a%2f%2fb',
    'a%2f%c0%af',
    'a%2f%e2%88%95b',
    'a%2f%00',
    'a%2f;b',
    'a%u002fb',
    'a%2f+..%2fb',
    '..%2f',
    '%2f',
  ];
  test.each(refused)('still refuses /files/%s', (path) =>
    withServices(async (data, upstream) => {
      expect(await get(data, `/s/api/files/${path}`)).toBe('target_ambiguous');
      expect(await get(data, `/files/${path}`, 'root')).toBe('target_ambiguous');
      expect(upstream.octets()).toBe('');
    }));

  test('sees one segment where another spelling has two', () =>
    withServices(async (data, upstream) => {
      expect(await get(data, '/s/api/projects/a/b')).toBe('scope_refused');
      expect(await get(data, '/s/api/projects/a%2fb/issues')).toBe('scope_refused');
      expect(await get(data, '/s/api/projects%2Fa')).toBe('scope_refused');
      expect(upstream.octets()).toBe('');
    }));
});

describe('elsewhere an encoded slash is refused', () => {
  test.each([
    ['/s/strict/projects/a%2Fb', 'strict'],
    ['/s/strict%2Fprojects/a', 'strict'],
    ['/s%2Fstrict/projects/a%2F', 'root'],
    ['/s/none/projects/a%2Fb', 'api'],
    ['/s/api%2f..%2fstrict/projects/a', 'api'],
    ['/s/api%2fprojects/a', 'api'],
  ])('%s', (target, service) =>
    withServices(async (data, upstream) => {
      expect(await get(data, target, service)).toBe('target_ambiguous');
      expect(upstream.octets()).toBe('');
    }));
});
