// A snapshot is believed only when every step of its verification passes.
import { encodeBase64url } from '@daypass/core/base64url';
import type { ErrorCode } from '@daypass/core/errors';
import { generateSigningKey, importEd25519, type KeyStatement, signBytes, signKeyStatement } from '@daypass/core/key';
import type { ServiceConfig } from '@daypass/core/service';
import {
  type Entry,
  encodeEntry,
  encodeManifest,
  MAX_ENTRIES,
  MAX_ENTRY_BYTES,
  type Manifest,
  manifestDigest,
  merkleRoot,
  parseManifest,
  type SignedSnapshot,
  type SnapshotTrust,
  signManifest,
  verifySnapshot,
} from '@daypass/core/snapshot';
import { expect, test } from 'vitest';
import { codeOf, FLEET, ISSUER, issuerKey, NOW, sealingKey, sha256, utf8 } from './fixture.ts';

const root = await generateSigningKey();
const snapshotKey = await generateSigningKey();
const rootPrivate = await importEd25519(root.privateJwk, 'sign');
const snapshotPrivate = await importEd25519(snapshotKey.privateJwk, 'sign');

const keyStatement: KeyStatement = {
  v: 1,
  fleet: FLEET,
  pool: 'default',
  use: 'snapshot',
  kid: snapshotKey.kid,
  jwk: snapshotKey.publicJwk,
  not_after: NOW + 86_400,
};
const service: ServiceConfig = {
  name: 'github',
  pool: 'default',
  origin: 'https://api.github.com',
  base_path: '',
  place: { kind: 'bearer' },
  token_in: [{ kind: 'bearer' }, { kind: 'header', name: 'x-api-key' }],
  is_default: true,
  anonymous: false,
  insecure_upstream: false,
  max_ttl_seconds: 86_400,
  connect_timeout_ms: 10_000,
  response_timeout_ms: 300_000,
  clients: null,
  drop_headers: ['x-debug'],
  set_headers: { 'user-agent': 'daypass' },
  drop_query: [],
  limits: { per_token: { requests: 10, per_seconds: 1 }, per_client: null, per_service: null },
};
const credential = { id: 'ab'.repeat(16), sealed: 'a.b.c.d.e' };
const { kid, ...jwk } = issuerKey.publicJwk;
const key = { kid: issuerKey.kid, alg: 'Ed25519', issuer: ISSUER, jwk } as const;
const cutoff = { service: 'github', client: 'bot', minted_before: NOW - 0.5 };
const entries: readonly Entry[] = [
  encodeEntry('service', 'github', service),
  encodeEntry('credential', 'github', credential),
  encodeEntry('scope', 'github/triage', { rules: ['GET /repos/**'] }),
  encodeEntry('key', issuerKey.kid, key),
  encodeEntry('status', '0', { bits: 1, lst: encodeBase64url(Uint8Array.of(1, 2, 3)) }),
  encodeEntry('cutoff', 'c1', cutoff),
];
const trust: SnapshotTrust = { root: root.publicJwk, fleet: FLEET, pool: 'default', floor: 0, now: NOW, sha256 };

type Change = {
  readonly manifest?: Partial<Manifest>;
  readonly entries?: readonly Entry[];
  readonly statement?: Partial<KeyStatement>;
};

async function snapshot(change: Change = {}): Promise<SignedSnapshot> {
  const held = change.entries ?? entries;
  const manifest = encodeManifest({
    v: 1,
    fleet: FLEET,
    pool: 'default',
    version: 5,
    previous: '',
    issued_at: NOW - 10,
    expires_at: NOW + 3600,
    features: [],
    root: merkleRoot(held, sha256),
    ...change.manifest,
  });
  return await signed(manifest, held, change.statement);
}

async function signed(manifest: Uint8Array, held: readonly Entry[] = entries, statement: Partial<KeyStatement> = {}) {
  return {
    manifest,
    signature: await signManifest(manifest, snapshotPrivate),
    key: await signKeyStatement({ ...keyStatement, ...statement }, rootPrivate),
    entries: held,
  };
}

const refusalOf = (given: SignedSnapshot, change: Partial<SnapshotTrust> = {}): Promise<ErrorCode | 'nothing'> =>
  codeOf(() => verifySnapshot(given, { ...trust, ...change }));

const honest = await snapshot();
const digest = manifestDigest(honest.manifest, sha256);

test('an honest snapshot is parsed by kind', async () => {
  const verified = await verifySnapshot(honest, trust);
  expect(verified.digest).toBe(digest);
  expect(verified.manifest.version).toBe(5);
  expect(verified.services).toEqual(new Map([['github', service]]));
  expect(verified.credentials).toEqual(new Map([['github', credential]]));
  expect(verified.scopes).toEqual(new Map([['github/triage', { rules: ['GET /repos/**'] }]]));
  expect(verified.keys).toEqual(new Map([[kid, key]]));
  expect(verified.status).toEqual(new Map([[0, Uint8Array.of(1, 2, 3)]]));
  expect(verified.cutoffs).toEqual([cutoff]);
});

test('a snapshot without entries is good', async () => {
  expect(await refusalOf(await snapshot({ entries: [] }))).toBe('nothing');
});

test('SNP-01 no byte of a snapshot can change', async () => {
  const changed = (bytes: Uint8Array, at: number): Uint8Array =>
    bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
  const codes = new Set<string>();
  for (let at = 0; at < honest.manifest.length; at += 1)
    codes.add(await refusalOf({ ...honest, manifest: changed(honest.manifest, at) }));
  for (let at = 0; at < 64; at += 1)
    codes.add(await refusalOf({ ...honest, signature: changed(honest.signature, at) }));
  for (let at = 0; at < honest.key.statement.length; at += 1)
    codes.add(await refusalOf({ ...honest, key: { ...honest.key, statement: changed(honest.key.statement, at) } }));
  expect([...codes]).toEqual(['snapshot_signature_invalid']);
  for (const [position, entry] of entries.entries()) {
    for (let at = 0; at < entry.content.length; at += 1) {
      const held = entries.with(position, { ...entry, content: changed(entry.content, at) });
      expect(await refusalOf({ ...honest, entries: held })).toBe('snapshot_root_mismatch');
    }
  }
});

test('SNP-03 a snapshot is signed by its key alone', async () => {
  const otherRoot = await generateSigningKey();
  expect(await refusalOf(honest, { root: otherRoot.publicJwk })).toBe('snapshot_signature_invalid');
  const tokenKey = await importEd25519(issuerKey.privateJwk, 'sign');
  expect(await refusalOf({ ...honest, signature: await signManifest(honest.manifest, tokenKey) })).toBe(
    'snapshot_signature_invalid',
  );
  expect(await refusalOf({ ...honest, signature: await signManifest(honest.manifest, rootPrivate) })).toBe(
    'snapshot_signature_invalid',
  );
  const selfSigned = await signKeyStatement(keyStatement, snapshotPrivate);
  expect(await refusalOf({ ...honest, key: selfSigned })).toBe('snapshot_signature_invalid');
  expect(await refusalOf({ ...honest, signature: new Uint8Array(0) })).toBe('snapshot_signature_invalid');
});

test('a signature for another purpose is none', async () => {
  const signature = await signBytes(snapshotPrivate, 'daypass-audit-v1', honest.manifest);
  expect(await refusalOf({ ...honest, signature })).toBe('snapshot_signature_invalid');
});

test.each([
  ['that has ended', { not_after: NOW }, 'snapshot_signature_invalid'],
  ['for sealing', { use: 'seal', jwk: sealingKey.publicJwk }, 'snapshot_signature_invalid'],
  ['of another pool', { pool: 'eu' }, 'snapshot_foreign'],
  ['of another fleet', { fleet: 'urn:daypass:fleet:B' }, 'snapshot_foreign'],
] as const)('a snapshot key %s is refused', async (_what, statement, code) => {
  expect(await refusalOf(await snapshot({ statement }))).toBe(code);
});

test.each([
  ['another fleet', { fleet: 'urn:daypass:fleet:B' }, 'snapshot_foreign'],
  ['another pool', { pool: 'eu' }, 'snapshot_foreign'],
  ['SNP-09 an end now', { expires_at: NOW }, 'snapshot_stale'],
  ['SNP-09 an end in the year 9999', { expires_at: 253_402_300_799 }, 'snapshot_stale'],
  ['a lease of more than a day', { issued_at: NOW, expires_at: NOW + 86_401 }, 'snapshot_stale'],
  ['a start more than 5 minutes ahead', { issued_at: NOW + 301 }, 'snapshot_stale'],
  ['a start less than 5 minutes ahead', { issued_at: NOW + 299 }, 'nothing'],
  ['a feature that is not known', { features: ['deltas'] }, 'snapshot_feature_unknown'],
  ['another root', { root: 'a'.repeat(64) }, 'snapshot_root_mismatch'],
] as const)('a signed manifest with %s', async (_what, manifest, code) => {
  expect(await refusalOf(await snapshot({ manifest }))).toBe(code);
});

test.each([
  ['SNP-05 below the active version', { active: { version: 6, digest: 'a'.repeat(64) } }, 'snapshot_rollback'],
  ['SNP-05 below the floor on disk', { floor: 6 }, 'snapshot_rollback'],
  ['at the floor after a restart', { floor: 5 }, 'nothing'],
  ['active already', { active: { version: 5, digest } }, 'snapshot_rollback'],
  [
    'SNP-07 at the active version with another digest',
    { active: { version: 5, digest: 'a'.repeat(64) } },
    'snapshot_equivocation',
  ],
  [
    'next to the active one without following it',
    { active: { version: 4, digest: 'a'.repeat(64) } },
    'snapshot_equivocation',
  ],
  ['some versions on', { active: { version: 3, digest: 'a'.repeat(64) }, floor: 3 }, 'nothing'],
] as const)('a version %s', async (_what, change, code) => {
  expect(await refusalOf(honest, change)).toBe(code);
});

test('a version that follows the active one is taken', async () => {
  const next = await snapshot({ manifest: { version: 6, previous: digest } });
  expect(await refusalOf(next, { active: { version: 5, digest }, floor: 5 })).toBe('nothing');
});

const canary: Partial<Manifest> = { features: ['canary'], nodes: ['node-1', 'node-2'] };
test.each([
  ['by a node that it names', { node: 'node-2' }, 'nothing'],
  ['by another node', { node: 'node-3' }, 'snapshot_foreign'],
  ['by a node that does not say who it is', {}, 'snapshot_foreign'],
] as const)('a snapshot for some nodes is taken or refused %s', async (_what, change, code) => {
  expect(await refusalOf(await snapshot({ manifest: canary }), change)).toBe(code);
});

test('SNP-11 entries of two snapshots do not mix', async () => {
  const older = encodeEntry('credential', 'github', { ...credential, sealed: 'old' });
  expect(await refusalOf({ ...honest, entries: entries.with(1, older) })).toBe('snapshot_root_mismatch');
  expect(await refusalOf({ ...honest, entries: entries.slice(1) })).toBe('snapshot_root_mismatch');
  expect(await refusalOf({ ...honest, entries: [...entries, encodeEntry('scope', 'github/x', { rules: [] })] })).toBe(
    'snapshot_root_mismatch',
  );
});

test('SNP-15 a snapshot that is too large is refused before its signature is looked at', async () => {
  const signature = new Uint8Array(0);
  expect(await refusalOf({ ...honest, signature, manifest: new Uint8Array(16_385) })).toBe('snapshot_too_large');
  const huge = { kind: 'scope', name: 'github/x', content: new Uint8Array(MAX_ENTRY_BYTES) };
  expect(await refusalOf({ ...honest, signature, entries: [huge] })).toBe('snapshot_too_large');
  const [one] = entries;
  const many = one === undefined ? [] : Array(MAX_ENTRIES + 1).fill(one);
  expect(await refusalOf({ ...honest, signature, entries: many })).toBe('snapshot_too_large');
});

const text = new TextDecoder().decode(honest.manifest);
test.each([
  ['SNP-19 a member twice', text.replace('{', '{"v":1,')],
  ['SNP-19 a byte order mark', `\ufeff${text}`],
  ['SNP-19 NaN', text.replace(`"expires_at":${NOW + 3600}`, '"expires_at":NaN')],
  ['SNP-19 deep nesting', text.replace('"features":[]', `"features":${'['.repeat(5000)}${']'.repeat(5000)}`)],
  ['SNP-13 an unknown member', text.replace('{', '{"hash":"md5",')],
  ['SNP-09 no end', text.replace(`"expires_at":${NOW + 3600},`, '')],
  ['SNP-09 an end that is a text', text.replace(`"expires_at":${NOW + 3600}`, '"expires_at":"tomorrow"')],
  ['version 0', text.replace('"version":5', '"version":0')],
  ['version 5.5', text.replace('"version":5', '"version":5.5')],
  ['v 2', text.replace('"v":1', '"v":2')],
  ['a previous that is no digest', text.replace('"previous":""', '"previous":"x"')],
  ['nodes without the feature', text.replace('"features"', '"nodes":["a"],"features"')],
  ['the feature without nodes', text.replace('"features":[]', '"features":["canary"]')],
  ['no node among its nodes', text.replace('"features":[]', '"features":["canary"],"nodes":[]')],
  ['a node twice', text.replace('"features":[]', '"features":["canary"],"nodes":["a","a"]')],
  [
    '65 nodes',
    text.replace(
      '"features":[]',
      `"features":["canary"],"nodes":${JSON.stringify(Array.from({ length: 65 }, (_, at) => `n${at}`))}`,
    ),
  ],
  ['text after it', `${text}x`],
  ['nothing', ''],
])('a signed manifest with %s is malformed', async (_what, spelled) => {
  expect(spelled).not.toBe(text);
  expect(await refusalOf(await signed(utf8(spelled)))).toBe('snapshot_malformed');
});

test('a manifest reads back as it was', async () => {
  for (const { manifest } of [honest, await snapshot({ manifest: canary })])
    expect(encodeManifest(parseManifest(manifest))).toEqual(manifest);
});

const raw = (kind: string, name: string, value: unknown): Entry => ({
  kind,
  name,
  content: utf8(typeof value === 'string' ? value : JSON.stringify(value)),
});

test.each([
  ['a service under another name', raw('service', 'gitlab', service)],
  ['a service with an unknown member', raw('service', 'github', { ...service, scrub: 'full' })],
  ['a service without a member', raw('service', 'github', { ...service, clients: undefined })],
  ['a service with clients that are a text', raw('service', 'github', { ...service, clients: 'bot' })],
  ['an origin with a path', raw('service', 'github', { ...service, origin: 'https://api.github.com/v3' })],
  ['an origin of another scheme', raw('service', 'github', { ...service, origin: 'file:///etc/passwd' })],
  ['a base path that ends in a slash', raw('service', 'github', { ...service, base_path: '/v3/' })],
  ['a base path with an empty segment', raw('service', 'github', { ...service, base_path: '//v3' })],
  ['a place that is none', raw('service', 'github', { ...service, place: { kind: 'cookie' } })],
  ['a token place that is none', raw('service', 'github', { ...service, token_in: [{ kind: 'header', name: 'A:' }] })],
  ['no time to connect', raw('service', 'github', { ...service, connect_timeout_ms: 0 })],
  [
    'a limit of nothing',
    raw('service', 'github', { ...service, limits: { ...service.limits, per_token: { requests: 0, per_seconds: 1 } } }),
  ],
  ['set headers that are a list', raw('service', 'github', { ...service, set_headers: ['a'] })],
  ['a member twice', raw('service', 'github', JSON.stringify(service).replace('{', '{"name":"github",'))],
  ['a credential id that is none', raw('credential', 'github', { ...credential, id: 'x' })],
  ['a scope without a service', raw('scope', 'triage', { rules: [] })],
  ['rules that are a text', raw('scope', 'github/triage', { rules: 'GET /' })],
  ['a key under another kid', raw('key', 'other', key)],
  ['a private key', raw('key', issuerKey.kid, { ...key, jwk: issuerKey.privateJwk })],
  ['a key of another algorithm', raw('key', issuerKey.kid, { ...key, alg: 'HS256' })],
  ['a key without an issuer', raw('key', issuerKey.kid, { ...key, issuer: '' })],
  ['a chunk that is no number', raw('status', '01', { bits: 1, lst: '' })],
  ['two bits a token', raw('status', '0', { bits: 2, lst: '' })],
  ['a list that is not base64url', raw('status', '0', { bits: 1, lst: 'a=' })],
  ['a cut-off without a time', raw('cutoff', 'c', { service: 'github' })],
  ['a cut-off of an unknown kind', raw('cutoff', 'c', { node: 'x', minted_before: NOW })],
  ['a cut-off for an empty service', raw('cutoff', 'c', { service: '', minted_before: NOW })],
  ['encoded slashes that are a text', raw('service', 'github', { ...service, encoded_slashes: 'yes' })],
  ['a pool of half a node', raw('pool', 'default', { nodes: 0.5 })],
  ['a pool without a number', raw('pool', 'default', {})],
  ['a pool with more than that', raw('pool', 'default', { nodes: 1, node: 'x' })],
  ['no JSON', raw('service', 'github', 'x')],
  ['an array', raw('service', 'github', [])],
])('a signed entry with %s is malformed, and is named', async (_what, entry) => {
  const given = await snapshot({ entries: [entry] });
  await expect(verifySnapshot(given, trust)).rejects.toMatchObject({
    code: 'snapshot_malformed',
    message: expect.stringContaining(`${entry.kind}/${entry.name}`),
  });
});

test('a second pool is malformed, and without one nothing is known of it', async () => {
  const [one, two] = ['default', 'other'].map((name) => raw('pool', name, { nodes: 1 })) as [Entry, Entry];
  expect(await refusalOf(await snapshot({ entries: [one, two] }))).toBe('snapshot_malformed');
  expect((await verifySnapshot(await snapshot({ entries: [one] }), trust)).pool).toEqual({ name: 'default', nodes: 1 });
  expect((await verifySnapshot(await snapshot({ entries: [] }), trust)).pool).toBeUndefined();
});

test('an unknown kind of entry is an unknown feature', async () => {
  expect(await refusalOf(await snapshot({ entries: [raw('plugin', 'x', {})] }))).toBe('snapshot_feature_unknown');
});

test('the same entry twice is refused', async () => {
  const given = { ...honest, entries: [...entries, ...entries.slice(0, 1)] };
  expect(await refusalOf(given)).toBe('snapshot_malformed');
});
