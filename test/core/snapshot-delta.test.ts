// A delta is believed only when it leads from what the node has to exactly what was signed.
import type { ErrorCode } from '@daypass/core/errors';
import { generateSigningKey, importEd25519 } from '@daypass/core/key';
import {
  type Entry,
  type EntryChange,
  encodeEntry,
  MAX_ENTRIES,
  type Manifest,
  merkleRoot,
  type SnapshotTrust,
  signManifest,
} from '@daypass/core/snapshot';
import { type SignedDelta, verifyDelta } from '@daypass/core/snapshot-delta';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { baseOf, credential, gone, keyOf, NOTHING, type State, service, step, trustIn } from './delta-fleet.ts';
import { codeOf, NOW, sealingKey, sha256, utf8 } from './fixture.ts';

const scope = (name: string, rules: readonly string[] = ['GET /x']): Entry => encodeEntry('scope', name, { rules });
const cutoff = (name: string, of: string): Entry => encodeEntry('cutoff', name, { service: of, minted_before: NOW });
const many = Array.from({ length: 40 }, (_, at) => service(`s${at}`));
const { to: first } = await step(NOTHING, [service('a'), credential('a'), scope('a/x'), service('b'), ...many]);
const honest = await step(first, [service('a', { anonymous: true }), service('c'), gone(service('b'))]);
const { delta } = honest;

const refusalOf = (
  given: SignedDelta,
  change: Partial<SnapshotTrust> = {},
  state: State = first,
  defaultService?: string,
): Promise<ErrorCode | 'nothing'> =>
  codeOf(() => verifyDelta(given, baseOf(state, defaultService), trustIn(state, change)));

test('an honest delta says what changed and leads to the tree that was signed', async () => {
  const verified = await verifyDelta(delta, baseOf(first), trustIn(first));
  expect(verified.manifest.version).toBe(2);
  expect(verified.digest).toBe(honest.to.digest);
  expect([...verified.entries.services.keys()]).toEqual(['a', 'c']);
  expect(verified.changes.map(({ name, content }) => [name, content !== undefined])).toEqual([
    ['a', true],
    ['b', false],
    ['c', true],
  ]);
  expect(verified.next.tree.entries).toEqual(honest.to.tree.entries);
  expect(verified.size.entries).toBe(first.tree.entries.length);
});

test('a delta without a change renews the lease', async () => {
  expect(await refusalOf((await step(first, [])).delta)).toBe('nothing');
});

test('random sequences of changes lead where a full snapshot would', async () => {
  const change = fc.record({
    at: fc.integer({ min: 0, max: 30 }),
    text: fc.option(fc.constantFrom('GET /a', 'GET /b', 'GET /c'), { nil: undefined }),
  });
  const rounds = fc.array(fc.uniqueArray(change, { maxLength: 8, selector: ({ at }) => at }), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(rounds, async (all) => {
      let { to: state } = await step(NOTHING, [service('a')]);
      for (const round of all) {
        const known = new Map(state.tree.entries.map((entry) => [entry.name, new TextDecoder().decode(entry.content)]));
        const changes = round
          .map(({ at, text }): EntryChange => (text === undefined ? gone(scope(`a/${at}`)) : scope(`a/${at}`, [text])))
          .filter(({ name, content }) => known.get(name) !== (content && new TextDecoder().decode(content)));
        const { delta: next, to } = await step(state, changes);
        const verified = await verifyDelta(next, baseOf(state), trustIn(state));
        expect(merkleRoot(verified.next.tree.entries, sha256)).toBe(verified.manifest.root);
        expect(verified.next.tree.entries).toEqual(to.tree.entries);
        expect(verified.size.entries).toBe(to.tree.entries.length);
        // It leads nowhere from any other state.
        if (round.length > 0) expect(await refusalOf(next, {}, to)).not.toBe('nothing');
        state = to;
      }
    }),
    { numRuns: 40 },
  );
});

test('SNP-01 no byte of a delta can change', async () => {
  const flip = (bytes: Uint8Array, at: number): Uint8Array =>
    bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
  const codes = new Set<string>();
  for (let at = 0; at < delta.manifest.length; at += 1)
    codes.add(await refusalOf({ ...delta, manifest: flip(delta.manifest, at) }));
  for (let at = 0; at < delta.signature.length; at += 1)
    codes.add(await refusalOf({ ...delta, signature: flip(delta.signature, at) }));
  for (let at = 0; at < delta.key.statement.length; at += 1)
    codes.add(await refusalOf({ ...delta, key: { ...delta.key, statement: flip(delta.key.statement, at) } }));
  for (let at = 0; at < delta.key.signature.length; at += 1)
    codes.add(await refusalOf({ ...delta, key: { ...delta.key, signature: flip(delta.key.signature, at) } }));
  expect([...codes]).toEqual(['snapshot_signature_invalid']);
  for (const [index, entry] of delta.changed.entries()) {
    for (let at = 0; at < entry.content.length; at += 1) {
      const changed = delta.changed.with(index, { ...entry, content: flip(entry.content, at) });
      expect(await refusalOf({ ...delta, changed })).toBe('snapshot_root_mismatch');
    }
  }
});

const foreign = await generateSigningKey();
const foreignKey = await importEd25519(foreign.privateJwk, 'sign');
const [a, c] = delta.changed as [Entry, Entry];
const altered: readonly [string, Partial<SignedDelta>, ErrorCode][] = [
  [
    'a stranger’s signature',
    { signature: await signManifest(delta.manifest, foreignKey) },
    'snapshot_signature_invalid',
  ],
  ['a key of another root', { key: await keyOf({}, foreign) }, 'snapshot_signature_invalid'],
  ['a key that has ended', { key: await keyOf({ not_after: NOW }) }, 'snapshot_signature_invalid'],
  [
    'a key for seals',
    { key: await keyOf({ use: 'seal', kid: sealingKey.kid, jwk: sealingKey.publicJwk }) },
    'snapshot_signature_invalid',
  ],
  ['a key of another pool', { key: await keyOf({ pool: 'eu' }) }, 'snapshot_foreign'],
  ['another base', { base: { version: 1, digest: 'a'.repeat(64) } }, 'snapshot_base_unknown'],
  ['a base of another version', { base: { ...delta.base, version: 7 } }, 'snapshot_base_unknown'],
  ['a change left out', { changed: [a] }, 'snapshot_root_mismatch'],
  ['a removal left out', { removed: [] }, 'snapshot_root_mismatch'],
  ['a change more', { changed: [a, c, service('d')] }, 'snapshot_root_mismatch'],
  ['a removal more', { removed: [...delta.removed, { kind: 'service', name: 's1' }] }, 'snapshot_root_mismatch'],
  ['a change out of order', { changed: [c, a] }, 'snapshot_malformed'],
  ['a change twice', { changed: [a, a, c] }, 'snapshot_malformed'],
  ['a removal twice', { removed: [...delta.removed, ...delta.removed] }, 'snapshot_malformed'],
  ['a change that is removed, too', { removed: [{ kind: 'service', name: 'a' }] }, 'snapshot_malformed'],
  ['a removal of what is not there', { removed: [{ kind: 'service', name: 'z' }] }, 'snapshot_malformed'],
  ['a change to what is there', { changed: [a, c, service('s1')] }, 'snapshot_malformed'],
  ['SNP-15 too many changes', { changed: Array(MAX_ENTRIES + 1).fill(a) }, 'snapshot_too_large'],
  ['SNP-15 a manifest without end', { manifest: new Uint8Array(16_385) }, 'snapshot_too_large'],
];
test.each(altered)('a delta with %s is refused', async (_what, change, code) => {
  expect(await refusalOf({ ...delta, ...change })).toBe(code);
});

test.each<[string, Partial<Manifest>, ErrorCode | 'nothing']>([
  ['another fleet', { fleet: 'urn:daypass:fleet:B' }, 'snapshot_foreign'],
  ['another pool', { pool: 'eu' }, 'snapshot_foreign'],
  ['SNP-07 the active version', { version: 1, previous: '' }, 'snapshot_equivocation'],
  ['another past', { previous: 'a'.repeat(64) }, 'snapshot_equivocation'],
  ['some versions more', { version: 9, previous: 'a'.repeat(64) }, 'nothing'],
  ['SNP-09 an end now', { expires_at: NOW }, 'snapshot_stale'],
  ['a start ahead', { issued_at: NOW + 301 }, 'snapshot_stale'],
  ['a feature that is not known', { features: ['canary-2'] }, 'snapshot_feature_unknown'],
  ['another root', { root: 'b'.repeat(64) }, 'snapshot_root_mismatch'],
])('a signed delta with %s', async (_what, manifest, code) => {
  const given = await step(first, [service('a', { anonymous: true })], manifest);
  expect(await refusalOf(given.delta)).toBe(code);
});

test('SNP-05 the same delta again, or one from before, is a rollback', async () => {
  expect(await refusalOf(delta, {}, honest.to)).toBe('snapshot_rollback');
  expect(await refusalOf(delta, { floor: 3 })).toBe('snapshot_rollback');
});

test('a node without a snapshot takes no delta', async () => {
  expect(await refusalOf(delta, { active: undefined, floor: 0 })).toBe('snapshot_base_unknown');
});

test.each<[string, readonly EntryChange[], ErrorCode]>([
  ['a credential of no service', [credential('z')], 'snapshot_inconsistent'],
  ['a named scope of no service', [scope('z/x')], 'snapshot_inconsistent'],
  ['a cut-off for no service', [cutoff('1', 'z')], 'snapshot_inconsistent'],
  ['a service that goes before its credential', [gone(service('a')), gone(scope('a/x'))], 'snapshot_inconsistent'],
  ['a service that goes before its scopes', [gone(service('a')), gone(credential('a'))], 'snapshot_inconsistent'],
  ['a service of another pool', [service('d', { pool: 'eu' })], 'snapshot_inconsistent'],
  ['another pool', [encodeEntry('pool', 'eu', { nodes: 1 })], 'snapshot_inconsistent'],
  ['two default services', ['d', 'e'].map((name) => service(name, { is_default: true })), 'snapshot_inconsistent'],
  ['an unknown kind', [{ kind: 'plugin', name: 'x', content: utf8('{}') }], 'snapshot_feature_unknown'],
  ['a service that cannot be read', [{ ...service('d'), content: utf8('{}') }], 'snapshot_malformed'],
])('a signed delta to %s is refused', async (_what, changes, code) => {
  expect(await refusalOf((await step(first, changes)).delta)).toBe(code);
});

test('the default service may go or move, but not be joined by a second one', async () => {
  const { to: state } = await step(NOTHING, [service('a', { is_default: true }), service('b')]);
  const after = async (...changes: readonly EntryChange[]) => {
    const { delta: next } = await step(state, changes);
    return (await verifyDelta(next, baseOf(state, 'a'), trustIn(state))).defaultService;
  };
  expect(await after(service('b', { anonymous: true }))).toBe('a');
  expect(await after(gone(service('a')))).toBeUndefined();
  expect(await after(service('a'), service('b', { is_default: true }))).toBe('b');
  const second = await step(state, [service('b', { is_default: true })]);
  expect(await refusalOf(second.delta, {}, state, 'a')).toBe('snapshot_inconsistent');
});
