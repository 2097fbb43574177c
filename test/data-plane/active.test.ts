// Activation: a snapshot whose entries cannot be served is refused whole.
import { generateSigningKey } from '@daypass/core/key';
import { compileRules, matchRules } from '@daypass/core/rule-match';
import { parseRules } from '@daypass/core/rule-parse';
import { encodeEntry } from '@daypass/core/snapshot';
import { expect, test } from 'vitest';
import type { ActiveSnapshot } from '../../data-plane/active.ts';
import { type Content, FLEET, POOL, startFixture } from './fixture.ts';

const origin = 'https://api.example';
const refused: readonly [string, Content][] = [
  ['two default services', { services: ['a', 'b'].map((name) => ({ name, origin, is_default: true })) }],
  ['a service of another pool', { services: [{ name: 'a', origin, pool: 'other' }] }],
  ['an ambiguous base path', { services: [{ name: 'a', origin, base_path: '/a/../b' }] }],
  ['a query in the base path', { services: [{ name: 'a', origin, base_path: '/a?b' }] }],
  ['a header that frames the message', { services: [{ name: 'a', origin, set_headers: { 'Content-Length': '1' } }] }],
  ['a header with an odd name', { services: [{ name: 'a', origin, set_headers: { x_y: '1' } }] }],
  ['a header with a line break', { services: [{ name: 'a', origin, set_headers: { x: '1\r\nY: 2' } }] }],
  ['the size of another pool', { services: [], nodes: null, entries: [encodeEntry('pool', 'eu', { nodes: 1 })] }],
  ['a scope that cannot be read', { services: [{ name: 'a', origin }], scopes: { 'a/b': ['nonsense'] } }],
  ['a scope of no service', { services: [], scopes: { 'a/b': ['GET /a'] } }],
  ['a cut-off for no service', { services: [], cutoffs: [{ service: 'a', minted_before: 1 }] }],
];

test.each(refused)('%s is refused, and what was served is kept', async (_name, content) => {
  await using data = await startFixture({ services: [{ name: 'api', origin }] });
  await expect(data.publish(content)).rejects.toMatchObject({ code: 'snapshot_inconsistent' });
});

test('a snapshot shows what it is', async () => {
  await using data = await startFixture({ services: [{ name: 'api', origin }], leaseSeconds: 60 });
  const key = await generateSigningKey();
  const active = await data.publish({ services: [{ name: 'api', origin, is_default: true }], keys: [key] });
  expect(active).toMatchObject({ version: 2, fleet: FLEET, pool: POOL });
  expect(active.digest).toMatch(/^[0-9a-f]{64}$/);
  expect(active.expiresAt).toBeGreaterThan(data.clock.nowMs / 1000 + 3500);
  expect([...active.keys.keys()]).toEqual([key.kid]);
  expect(active.defaultService?.config.name).toBe('api');
});

test('a position outside a chunk that is there counts as revoked; in a chunk that is not, as not', async () => {
  await using data = await startFixture({ services: [] });
  const active = await data.publish({ services: [], revoked: [3] });
  const at = (chunk: number, index: number) => active.isRevoked({ jti: 'x', chunk, index });
  expect([at(0, 3), at(0, 4), at(0, 65536), at(1, 3)]).toEqual([true, false, true, false]);
});

test('a named scope that stays the same is not made ready again', async () => {
  const services = [{ name: 'a', origin }];
  await using data = await startFixture({ services });
  const first = await data.publish({ services, scopes: { 'a/same': ['GET /x'], 'a/other': ['GET /y'] } });
  const second = await data.publish({ services, scopes: { 'a/same': ['GET /x'], 'a/other': ['GET /z'] } });
  const scopeOf = (of: ActiveSnapshot, name: string) => of.services.get('a')?.scopes.get(name);
  expect(scopeOf(second, 'same')).toBe(scopeOf(first, 'same'));
  const allowed = (of: ActiveSnapshot) =>
    matchRules(compileRules(parseRules(['scope:other'])), 'GET', '/z', (name) => scopeOf(of, name));
  expect(allowed(second)).toBeDefined();
  expect(allowed(first)).toBeUndefined();
});

test('a service is made ready once, again when it or its credential changes, and not for what is gone', async () => {
  const [a, b] = ['a', 'b'].map((name) => ({ name, origin, secret: 'one' }));
  if (a === undefined || b === undefined) throw new Error('two services');
  await using data = await startFixture({ services: [] });
  const serviceIn = async (...services: readonly (typeof a & { readonly anonymous?: boolean })[]) =>
    (await data.publish({ services })).services.get('a');
  const first = await serviceIn(a, b);
  expect(first?.config.name).toBe('a');
  expect((await serviceIn({ ...a, anonymous: true }, b))?.config.anonymous).toBe(true);
  const other = await serviceIn({ ...a, secret: 'two' }, b);
  expect(other?.credential?.sealed).not.toBe(first?.credential?.sealed);
  const last = await data.publish({ services: [b] });
  expect([last.services.get('a'), last.services.has('a'), last.services.has('b')]).toEqual([undefined, false, true]);
  expect(last.services.get('b')).toBe(last.services.get('b'));
});
