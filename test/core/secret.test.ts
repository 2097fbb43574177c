// A secret shows itself nowhere by accident.

import { inspect } from 'node:util';
import { Secret } from '@daypass/core/secret';
import { expect, test } from 'vitest';

const secret = new Secret('canary-ü');

test('only reveal gives it out', () => {
  expect(secret.reveal()).toBe('canary-ü');
  expect(secret.byteLength).toBe(9);
});

test.each([
  ['a template', () => `${secret}`],
  ['concatenation', () => 'x' + secret],
  ['JSON', () => JSON.stringify({ secret })],
  ['inspection', () => inspect({ secret }, { depth: 5, showHidden: true })],
  ['its own properties', () => JSON.stringify(Object.getOwnPropertyNames(secret))],
  ['an error', () => String(new Error('no', { cause: secret }).cause)],
])('%s does not show it', (_, show) => expect(show()).not.toContain('canary'));

test('an empty secret is refused', () => {
  expect(() => new Secret('')).toThrow(expect.objectContaining({ code: 'invalid_argument' }));
});
