// A node proves who it is, for a minute, to one fleet.
import { importEd25519 } from '@daypass/core/key';
import { signNodeAssertion, verifyNodeAssertion } from '@daypass/core/node-auth';
import { expect, test } from 'vitest';
import { claims, codeOf, FLEET, forge, issuerKey, NOW, otherKey } from './fixture.ts';

const key = await importEd25519(issuerKey.privateJwk, 'sign');
const keyOf = async (node: string) => (node === 'node-1' ? issuerKey.publicJwk : undefined);
const expected = { fleet: FLEET, keyOf, now: NOW };
const good = await signNodeAssertion({ node: 'node-1', fleet: FLEET, now: NOW, jti: 'j' }, key);
const header = { alg: 'Ed25519', typ: 'daypass-node+jwt' };
const payload = { iss: 'node-1', sub: 'node-1', aud: FLEET, jti: 'j', iat: NOW, exp: NOW + 60 };

test('a node is told by its assertion', async () => {
  expect(await verifyNodeAssertion(good, expected)).toBe('node-1');
  expect(await verifyNodeAssertion(forge(header, payload), expected)).toBe('node-1');
});

test.each([
  ['another fleet', good, { fleet: 'urn:daypass:fleet:B' }],
  ['a later time', good, { now: NOW + 65 }],
  ['a time long before', good, { now: NOW - 6 }],
  ['a node that is not enrolled', good, { keyOf: async () => undefined }],
  ['a node with another key', good, { keyOf: async () => otherKey.publicJwk }],
  ['an attacker key', forge(header, payload, otherKey), {}],
  ['alg none', forge({ ...header, alg: 'none' }, payload), {}],
  ['ES256', forge({ ...header, alg: 'ES256' }, payload), {}],
  ['a token of the fleet', forge({ alg: 'Ed25519', typ: 'at+jwt', kid: 'k' }, claims), {}],
  ['a header with kid', forge({ ...header, kid: 'k' }, payload), {}],
  ['another subject', forge(header, { ...payload, sub: 'node-2' }), {}],
  ['audiences in an array', forge(header, { ...payload, aud: [FLEET] }), {}],
  ['no end', forge(header, { ...payload, exp: undefined }), {}],
  ['an end far away', forge(header, { ...payload, exp: NOW + 3600 }), {}],
  ['no id', forge(header, { ...payload, jti: '' }), {}],
  ['a node name that is none', forge(header, { ...payload, iss: '../node-1', sub: '../node-1' }), {}],
  ['a payload that is an array', forge(header, '[]'), {}],
  ['an API key', 'dpk_AAAA', {}],
])('an assertion for %s is refused', async (_what, text, change) => {
  expect(await codeOf(() => verifyNodeAssertion(text, { ...expected, ...change }))).toBe('unauthenticated');
});
