// Credentials go only to places that can carry them.
import type { JsonValue } from '@daypass/core/json';
import { readPlace, samePlace, secretProblem } from '@daypass/core/place';
import type { CredentialPlace } from '@daypass/core/service';
import { expect, test } from 'vitest';
import { codeOf } from './fixture.ts';

const places: readonly CredentialPlace[] = [
  { kind: 'bearer' },
  { kind: 'basic' },
  { kind: 'header', name: 'x-api-key', template: '{secret}' },
  { kind: 'header', name: 'authorization', template: 'Token {secret}' },
  { kind: 'query', name: 'api_key' },
];

test.each(places)('the place %o is read, and is the same as itself only', (place) => {
  expect(readPlace(JSON.parse(JSON.stringify(place)) as JsonValue, 'place')).toEqual(place);
  expect(places.filter((other) => samePlace(place, other))).toEqual([place]);
});

test.each([
  ...[
    'connection',
    'transfer-encoding',
    'content-length',
    'host',
    'te',
    'trailer',
    'upgrade',
    'X-Upper',
    'a b',
    '',
  ].map((name) => ({ kind: 'header', name, template: '{secret}' })),
  ...['', 'secret', '{secret} {secret}', ' {secret}', '{secret} ', '{secret}\n', '{secret}ü'].map((template) => ({
    kind: 'header',
    name: 'x-key',
    template,
  })),
  ...['', 'a=b', 'a&b', 'a b', 'a%20', 'a[]', 'x'.repeat(65)].map((name) => ({ kind: 'query', name })),
  { kind: 'cookie', name: 'a' },
  { kind: 'bearer', template: 'x' },
])('the place %o is refused', async (place) => {
  expect(await codeOf(() => readPlace(place as JsonValue, 'place'))).toBe('invalid_json');
});

const [bearer, basic, header, , query] = places as [
  CredentialPlace,
  CredentialPlace,
  CredentialPlace,
  CredentialPlace,
  CredentialPlace,
];
test.each([
  [bearer, 'abc.DEF-123_~+/=', true],
  [bearer, 'two words', false],
  [bearer, 'ü', false],
  [header, 'two words', true],
  [header, ' a', false],
  [header, 'a\r\nb', false],
  [basic, 'user:pässword', true],
  [basic, 'user', false],
  [basic, 'user:a\u0085b', false],
  [query, 'schlüssel & mehr', true],
  [query, 'a\u0000', false],
  [query, '\ud800', false],
  [query, '', false],
] as const)('for %o the secret %j: %s', (place, secret, fits) => {
  expect(secretProblem(secret, place) === undefined).toBe(fits);
});
