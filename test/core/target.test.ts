// A target with two readings is refused; every other goes through as it came.

import { parseTarget, targetUnder } from '@daypass/core/target';
import fc from 'fast-check';
import { expect, test } from 'vitest';

const refused = expect.objectContaining({ code: 'target_ambiguous' });

test.each([
  '/',
  '/public/a',
  '/public/',
  '/public/caf%C3%A9',
  '/public/a%20b',
  "/public/a+b@c:d,e=f$g!h~i_j-k.l(x)*'y&z",
  '/public/.../x',
  '/public/..hidden',
  '/public/a..b',
  '/public..',
  '/PUBLIC/a',
  '/public/.well-known/x',
  '/public/*',
  '/public/%2A%3F%23%40%26',
  '/public/100%25',
  '/public/%E6%97%A5%E6%9C%AC%E8%AA%9E%E3%80%82',
  '/public/%F0%9F%98%80',
  '/public/%25zz',
  `/public/${'s'.repeat(1500)}`,
  '/public/a?',
  '/public/a?x=1&x=2',
  '/public/a??b=1',
  '/public/a?next=../../admin',
  '/public/a?/../../admin',
  '/admin?/public/a',
  '/public/a?u=http%3A%2F%2Fh%2Fp%3Fq',
  '/public/a?__proto__[x]=1&constructor.prototype.y=2',
  '/public/a?100%&%zz&%2e%2e%2f&a\\b|{}"<>^`;',
])('%s goes through byte for byte', (raw) => {
  const target = parseTarget(raw);
  expect(target.raw).toBe(raw);
  expect(target.query === undefined ? target.path : `${target.path}?${target.query}`).toBe(raw);
});

const AMBIGUOUS: Readonly<Record<string, readonly string[]>> = {
  'not origin-form': [
    '',
    '*',
    'public/a',
    'http://h/public/../admin',
    'http://169.254.169.254/latest/meta-data',
    'http:http://internal/admin',
    'ftp://h/public/a',
    '@evil.test/public/a',
    ':8080/public/a',
    '127.0.0.1:22',
    '?/public/a',
    '%2Fpublic/a',
    '\\public\\..\\admin',
  ],
  'dot segments': [
    '/.',
    '/..',
    '/./a',
    '/public/../admin',
    '/public/..',
    '/public/a/../../admin',
    '/v1/items/.',
    '/public/a/./b',
    '/public/../?x=1',
  ],
  'encoded dot segments': [
    '/public/%2e%2e/admin',
    '/public/%2E%2E/admin',
    '/public/.%2e/admin',
    '/public/%2e./admin',
    '/public/%2e',
    '/public/%252e%252e%252fadmin',
    '/public/%25252e%25252e/admin',
    '/public/%25%32%65/admin',
    '/public/%25u002e%25u002e/admin',
    '/public/%u002e%u002e/admin',
    '/public/..%20/admin',
    '/public/%20../admin',
    '/public/..+/admin',
    '/public/..%C2%A0/admin',
    '/public/..%E2%80%8B/admin',
    '/public/.%E2%80%8B./admin',
    '/public/%EF%BB%BF../admin',
    '/public/.%C2%AD/admin',
  ],
  'slashes and backslashes': [
    '/public/%2fadmin',
    '/public/..%2Fadmin',
    '/public/%2e%2e%2fadmin',
    '/v1/items/a%2fb',
    '/public/..%5cadmin',
    '/public/a%5Cb',
    '/public/..\\admin',
    '/public/a\\b',
    '/public/%252f',
    '/public/%255c',
  ],
  'empty segments': ['//v1/items/1', '/public//a', '/public/..//admin', '/public/a//', '//', '///'],
  'path parameters': [
    '/public/..;a=b/admin',
    '/public/;/../admin',
    '/public/%2e%2e;/admin',
    '/v1/items/a;admin=1',
    '/public/a%3Badmin=1',
    '/public/..%3b/admin',
    '/public/a;',
  ],
  'controls, spaces and NUL': [
    '/public/%00/../../admin',
    '/public/..%00/admin',
    '/public/a%00',
    '/public/..%0d/admin',
    '/public/%0d%0aX-Injected:%20true',
    '/public/a%0A',
    '/public/a%7F',
    '/public/a%C2%85',
    '/public/a%E2%80%A8b',
    '/public/a\tb',
    '/public/a\u0000b',
    '/public/a\u007f',
    '/public/a\r\n',
    '/public/a b',
    '/public%20',
    '/public%20/a',
    '/public/a%C2%A0',
    '/public/a%E3%80%80',
    '/public/a%EF%BB%BF',
    '/public/%EF%BB%BF',
  ],
  'bytes that are not UTF-8': [
    '/public/..%ff/admin',
    '/public/%c0%af..%c0%afadmin',
    '/public/%c0%ae%c0%ae/admin',
    '/public/%e0%80%ae',
    '/public/%f0%80%80%ae',
    '/public/%ed%a0%80',
    '/public/%f4%90%80%80',
    '/public/%c3',
    '/public/%a9',
  ],
  'characters taken for others': [
    '/public/%ef%bc%8e%ef%bc%8e/admin',
    '/public/..%ef%bc%8fadmin',
    '/public/a%EF%BC%BCb',
    '/public/a%EF%B9%A8b',
    '/public/%E2%80%A4%E2%80%A4/admin',
    '/public/%E2%80%A5/admin',
    '/public/%E2%80%A6',
    '/public/a%E2%88%95b',
    '/public/a%E2%81%84b',
    '/public/a%E2%88%96b',
    '/public/a%E2%A7%B8b',
    '/public/a%E2%84%80b',
    '/public/a%CD%BEb',
    '/public/a%EF%BC%9Bb',
    '/public/%EF%BC%852e',
    '/public/%EF%B9%AA2e',
  ],
  'bad percent-encoding': ['/public/%2', '/public/%', '/public/%zz', '/public/%g1', '/public/%1', '/public/a%2', '/%'],
  'needless encoding': [
    '/%70ublic/a',
    '/public/%61',
    '/public/%41',
    '/public/%30',
    '/public/%2D',
    '/public/%5F',
    '/public/%7e',
  ],
  'characters out of place': [
    '/public/a#/../admin',
    '/public/a#',
    '/public/é',
    '/public/\u00c3\u00a9',
    '/public/\ud800',
    '/public/\uff0e\uff0e/admin',
    '/public/{a}|b^`',
    '/public/{a}',
    '/public/a|b',
    '/public/a^b',
    '/public/a`b',
    '/public/a"b',
    '/public/<a>',
    '/public/[a]',
  ],
  queries: ['/a?x#y', '/a?#', '/a?x y', '/a?x\ty', '/a?x\u0000', '/a?x\r\ny', '/a?é', '/a?\u007f', '/a?\u00a0'],
};

test.each(
  Object.entries(AMBIGUOUS).flatMap(([group, targets]) => targets.map((raw) => [group, raw] as const)),
)('refuses %s: %j', (_, raw) => expect(() => parseTarget(raw)).toThrow(refused));

test('what is refused in one segment is refused in any', () => {
  const rotten = fc
    .constantFrom(...Object.values(AMBIGUOUS).flat())
    .filter((raw) => raw.startsWith('/') && !raw.includes('?'));
  fc.assert(
    fc.property(fc.constantFrom('', '/a', '/a/b', '/%20a'), rotten, fc.constantFrom('', '/z'), (before, raw, after) => {
      expect(() => parseTarget(before + raw + after)).toThrow(refused);
    }),
  );
});

test('the place of the ambiguity is told', () => {
  expect(() => parseTarget('/abc/../d')).toThrow(expect.objectContaining({ column: 6 }));
  expect(() => parseTarget('/abc/d%2Fe')).toThrow(expect.objectContaining({ column: 7 }));
  expect(() => parseTarget('/abc?x=#')).toThrow(expect.objectContaining({ column: 8 }));
});

test.each(['/a/x%2Fy', '/a/x%2fy/b', '/%E2%82%AC%2Fa'])('an encoded slash may be let in by name: %s', (raw) => {
  expect(parseTarget(raw, { encodedSlashes: true }).path).toBe(raw);
});

test.each([
  '/a/..%2Fb',
  '/a/b%2F..',
  '/a/b%2F..%2Fc',
  '/a/b%2F.%2Fc',
  '/a/b%2F%2Fc',
  '/a/%2Fb',
  '/a/b%2F',
  '/a/%2F',
  '/a/b%2F%20../c',
  '/a/b%20%2Fc',
  '/a/b%C2%A0%2Fc',
  '/a/b%5Cc',
  '/a/%252F',
  '/a/..;%2Fb',
])('but nothing else with it: %s', (raw) => {
  expect(() => parseTarget(raw, { encodedSlashes: true })).toThrow(refused);
});

// What lenient servers make of a path before they look at it.
const readings = (path: string): readonly string[] => {
  const decoded = [path];
  for (let pass = 0; pass < 3; pass += 1) {
    const last = decoded.at(-1) ?? '';
    decoded.push(
      last.replaceAll(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    );
  }
  return decoded.flatMap((text) => [
    text,
    text.replaceAll('\\', '/'),
    text.replaceAll(/;[^/]*/g, ''),
    text.replaceAll('+', ' '),
  ]);
};

test('an accepted path climbs nowhere, whoever reads it', () => {
  const unit = fc.constantFrom(
    'a',
    '.',
    '/',
    '%',
    '2',
    'e',
    'f',
    '5',
    'c',
    '%2e',
    '%2f',
    '%25',
    '%5c',
    '\\',
    ';',
    '+',
    '%20',
    '..',
  );
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 14 }), (text) => {
      const raw = `/${text}`;
      let path: string;
      try {
        path = parseTarget(raw).path;
      } catch (error) {
        expect(error).toMatchObject({ code: 'target_ambiguous' });
        return;
      }
      expect(path).toBe(raw);
      expect(new URL(raw, 'http://h').pathname).toBe(raw);
      for (const reading of readings(path)) {
        const segments = reading.split('/').map((segment) => segment.trim());
        expect(segments).not.toContain('..');
        expect(segments).not.toContain('.');
        expect(segments.length).toBe(path.split('/').length);
      }
    }),
    { numRuns: 5000 },
  );
});

test('a target keeps what follows a prefix, and only at a slash', () => {
  const target = parseTarget('/s/github/repos/x?page=2');
  expect(targetUnder(target, '/s/github')).toMatchObject({ path: '/repos/x', query: 'page=2', raw: '/repos/x?page=2' });
  expect(targetUnder(target, '/s/git')).toBeUndefined();
  expect(targetUnder(target, '/s/gitlab')).toBeUndefined();
  expect(targetUnder(parseTarget('/s/github'), '/s/github')).toBeUndefined();
  expect(targetUnder(parseTarget('/s/github?/x'), '/s/github')).toBeUndefined();
});

test('the longest head is read in no time', () => {
  for (const unit of ['/a', '%20', '.', '+.', '%E2%80%8B.', '%2', 'a']) {
    const raw = `/${unit.repeat(16_384 / unit.length)}`;
    const start = performance.now();
    try {
      parseTarget(raw);
    } catch (error) {
      expect(error).toMatchObject({ code: 'target_ambiguous' });
    }
    expect(performance.now() - start).toBeLessThan(500);
  }
});
