// The search for a secret has to find it where it is.
import { expect, test } from 'vitest';
import { holding } from './canary.ts';

const secret = 'canary-5f1c9ab2e7d04c3b';

test.each([
  ['as it is', `x=${secret};`],
  ['in base64, first alignment', Buffer.from(secret).toString('base64')],
  ['in base64, second alignment', Buffer.from(`x${secret}y`).toString('base64')],
  ['in base64, third alignment', Buffer.from(`xy${secret}`).toString('base64')],
  ['in base64url', Buffer.from(`user:${secret}`).toString('base64url')],
  ['in hex', Buffer.from(secret).toString('hex')],
  ['among other bytes', Buffer.concat([Buffer.from([0, 255, 128]), Buffer.from(secret), Buffer.from([0])])],
])('a secret is found %s', (_name, text) => {
  expect(holding(secret, { text })).toEqual(['text']);
});

test('another text holds nothing', () => {
  expect(holding(secret, { text: 'canary-5f1c9ab2e7d04c3' })).toEqual([]);
});
