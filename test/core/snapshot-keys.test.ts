// Snapshot keys that are rotated: who introduces a new one, and what a node takes once one was given up.
import {
  type GeneratedKey,
  generateSigningKey,
  importEd25519,
  KEY_LABEL,
  type KeyStatement,
  type SignedKeyBytes,
  signBytes,
  signKeyStatement,
} from '@daypass/core/key';
import {
  encodeManifest,
  type Manifest,
  manifestDigest,
  merkleRoot,
  type SignedSnapshot,
  type SnapshotTrust,
  signManifest,
  verifySnapshot,
} from '@daypass/core/snapshot';
import { verifyDelta } from '@daypass/core/snapshot-delta';
import { expect, test } from 'vitest';
import { baseOf, NOTHING, service, step, trustIn } from './delta-fleet.ts';
import { codeOf, FLEET, NOW, sha256, utf8 } from './fixture.ts';

const [root, oldKey, newKey] = [await generateSigningKey(), await generateSigningKey(), await generateSigningKey()];

const stated = async (
  key: GeneratedKey,
  change: Partial<KeyStatement> = {},
  by: GeneratedKey = root,
): Promise<SignedKeyBytes> => {
  const { kid, publicJwk: jwk } = key;
  const statement = {
    v: 1,
    fleet: FLEET,
    pool: 'default',
    use: 'snapshot',
    kid,
    jwk,
    not_after: NOW + 86_400,
  } as const;
  return signKeyStatement({ ...statement, ...change }, await importEd25519(by.privateJwk, 'sign'));
};

type Made = { readonly signer?: GeneratedKey; readonly key?: SignedKeyBytes; readonly manifest?: Partial<Manifest> };
const snapshot = async ({ signer = oldKey, key, manifest = {} }: Made = {}): Promise<SignedSnapshot> => {
  const times = { issued_at: NOW - 10, expires_at: NOW + 3600 };
  const parts = { v: 1, fleet: FLEET, pool: 'default', version: 5, previous: '', features: [], ...times } as const;
  const bytes = encodeManifest({ ...parts, root: merkleRoot([], sha256), ...manifest });
  const signature = await signManifest(bytes, await importEd25519(signer.privateJwk, 'sign'));
  return { manifest: bytes, signature, key: key ?? (await stated(signer)), entries: [] };
};
const trust = { root: root.publicJwk, fleet: FLEET, pool: 'default', floor: 0, now: NOW, sha256 } as const;
const refusalOf = (given: SignedSnapshot, change: Partial<SnapshotTrust> = {}) =>
  codeOf(() => verifySnapshot(given, { ...trust, ...change }));
const activeOf = ({ manifest }: SignedSnapshot, version = 5) => ({ version, digest: manifestDigest(manifest, sha256) });

test('SNP-21 a rotation that the root has signed is taken, also by a node that was away; one by the new key alone is not', async () => {
  const before = await snapshot();
  const active = activeOf(before);
  const next = { version: 6, previous: active.digest };
  expect(await refusalOf(await snapshot({ signer: newKey, manifest: next }), { active, floor: 5 })).toBe('nothing');
  const later = { version: 60, previous: 'ab'.repeat(32) };
  expect(await refusalOf(await snapshot({ signer: newKey, manifest: later }), { active, floor: 5 })).toBe('nothing');
  for (const by of [newKey, oldKey]) {
    const key = await stated(newKey, {}, by);
    expect(await refusalOf(await snapshot({ signer: newKey, key, manifest: next }), { active, floor: 5 })).toBe(
      'snapshot_signature_invalid',
    );
  }
});

test('keys of one generation are as good as each other: either may sign the next version', async () => {
  const active = activeOf(await snapshot({ signer: newKey }));
  const next = { version: 6, previous: active.digest };
  expect(await refusalOf(await snapshot({ signer: oldKey, manifest: next }), { active, floor: 5 })).toBe('nothing');
});

test('TUF key compromise, snapshots: a node that has seen the next generation takes no key of one before', async () => {
  const stolen = await snapshot({ manifest: { version: 9 } });
  expect(await refusalOf(stolen, { floor: 5, generation: 0 })).toBe('nothing');
  expect(await refusalOf(stolen, { floor: 5, generation: 1 })).toBe('snapshot_key_revoked');
  const second = await snapshot({ key: await stated(oldKey, { generation: 1 }), manifest: { version: 9 } });
  expect(await refusalOf(second, { floor: 5, generation: 1 })).toBe('nothing');
  expect(await refusalOf(second, { floor: 5, generation: 2 })).toBe('snapshot_key_revoked');
});

test('a thief cannot raise the generation of the key: the root signs it', async () => {
  const raised = await stated(oldKey, { generation: 7 }, oldKey);
  expect(await refusalOf(await snapshot({ key: raised }))).toBe('snapshot_signature_invalid');
});

test('TUF fast-forward and recovery: a version at the end of all numbers locks nobody out of the next generation', async () => {
  const fast = await snapshot({ manifest: { version: Number.MAX_SAFE_INTEGER } });
  const active = activeOf(fast, Number.MAX_SAFE_INTEGER);
  const trusted = { active, floor: active.version };
  expect(await refusalOf(await snapshot({ manifest: { version: 6 } }), trusted)).toBe('snapshot_rollback');
  const key = await stated(newKey, { generation: 1 });
  const recovery = await snapshot({ signer: newKey, key, manifest: { version: 6 } });
  expect(await refusalOf(recovery, trusted)).toBe('nothing');
  expect((await verifySnapshot(recovery, { ...trust, ...trusted })).generation).toBe(1);
  // From there on versions only rise again.
  const after = { active: activeOf(recovery, 6), floor: 6, generation: 1 };
  const replayed = await snapshot({ signer: newKey, key, manifest: { version: 5 } });
  expect(await refusalOf(replayed, after)).toBe('snapshot_rollback');
  expect(await refusalOf(fast, after)).toBe('snapshot_key_revoked');
});

test('a delta is signed by a key of the generation that is trusted, or of a later one', async () => {
  const { to, delta } = await step(NOTHING, [service('api')]);
  const next = await step(to, [service('other')]);
  expect(delta.changed).toHaveLength(1);
  const trusted = trustIn(to);
  expect((await verifyDelta(next.delta, baseOf(to), trusted)).generation).toBe(0);
  expect(await codeOf(() => verifyDelta(next.delta, baseOf(to), { ...trusted, generation: 1 }))).toBe(
    'snapshot_key_revoked',
  );
});

test.each([
  ['a fraction', 0.5],
  ['below zero', -1],
  ['a text', '1'],
  ['beyond what is exact', 2 ** 53],
])('a generation that is %s makes a statement that nobody reads', async (_what, generation) => {
  const { kid, publicJwk } = oldKey;
  const { kid: _kid, ...jwk } = publicJwk;
  const statement = { v: 1, fleet: FLEET, pool: 'default', use: 'snapshot', kid, jwk, not_after: NOW + 60, generation };
  const bytes = utf8(JSON.stringify(statement));
  const signature = await signBytes(await importEd25519(root.privateJwk, 'sign'), KEY_LABEL, bytes);
  expect(await refusalOf(await snapshot({ key: { statement: bytes, signature } }))).toBe('snapshot_signature_invalid');
});

test('the first generation is left unsaid, and sealing keys have none', async () => {
  const { statement } = await stated(oldKey, { generation: 0 });
  expect(new TextDecoder().decode(statement)).not.toContain('generation');
  const sealing = { use: 'seal', jwk: { ...oldKey.publicJwk, crv: 'X25519' }, generation: 1 } as const;
  expect(await codeOf(() => stated(oldKey, sealing))).toBe('invalid_json');
});
