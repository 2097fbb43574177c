// Methods are upper-case tokens.

import { isMethod, NEVER_FORWARDED } from '@daypass/core/method';
import { expect, test } from 'vitest';

test.each(['GET', 'HEAD', 'PATCH', 'M-SEARCH', 'VERSION-CONTROL', 'X1', 'A'.repeat(32)])('%s is a method', (text) => {
  expect(isMethod(text)).toBe(true);
});

test.each([
  '',
  '*',
  'get',
  'Get',
  'GET ',
  ' GET',
  'GET,PUT',
  'G\u0000ET',
  'GET\n',
  '1GET',
  'G(T',
  'É',
  'A'.repeat(33),
])('%j is none', (text) => expect(isMethod(text)).toBe(false));

test('what tunnels or echoes is never forwarded', () => {
  expect([...NEVER_FORWARDED]).toEqual(['CONNECT', 'TRACE', 'TRACK']);
});
