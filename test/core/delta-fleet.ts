// Signed snapshots and deltas over entries in memory, for tests of what a node takes.
import {
  type GeneratedKey,
  generateSigningKey,
  importEd25519,
  type KeyStatement,
  type SignedKeyBytes,
  signKeyStatement,
} from '@daypass/core/key';
import {
  changeTree,
  compareEntries,
  EMPTY_TREE,
  type Entry,
  type EntryChange,
  encodeEntry,
  encodeManifest,
  entryBytes,
  findEntry,
  type Manifest,
  type MerkleTree,
  manifestDigest,
  type SnapshotTrust,
  signManifest,
  treeRoot,
} from '@daypass/core/snapshot';
import type { DeltaBase, DeltaNext, SignedDelta } from '@daypass/core/snapshot-delta';
import { serviceConfig } from '../data-plane/service-config.ts';
import { FLEET, NOW, sha256 } from './fixture.ts';

export const root: GeneratedKey = await generateSigningKey();
const snapshotKey = await generateSigningKey();
const rootPrivate = await importEd25519(root.privateJwk, 'sign');
const snapshotPrivate = await importEd25519(snapshotKey.privateJwk, 'sign');

/** A state of the snapshot: its entries, and the manifest that covers them. */
export type State = {
  readonly tree: MerkleTree;
  readonly version: number;
  readonly digest: string;
};

export const NOTHING: State = { tree: EMPTY_TREE, version: 0, digest: '' };

/** What a node that has the state trusts. */
export const trustIn = ({ version, digest }: State, change: Partial<SnapshotTrust> = {}): SnapshotTrust => ({
  root: root.publicJwk,
  fleet: FLEET,
  pool: 'default',
  active: version === 0 ? undefined : { version, digest },
  floor: version,
  now: NOW,
  sha256,
  ...change,
});

/** The statement of the snapshot key, signed by the root or another. */
export const keyOf = async (
  change: Partial<KeyStatement> = {},
  signer: GeneratedKey = root,
): Promise<SignedKeyBytes> => {
  const statement: KeyStatement = {
    v: 1,
    fleet: FLEET,
    pool: 'default',
    use: 'snapshot',
    kid: snapshotKey.kid,
    jwk: snapshotKey.publicJwk,
    not_after: NOW + 86_400,
  };
  const key = signer === root ? rootPrivate : await importEd25519(signer.privateJwk, 'sign');
  return signKeyStatement({ ...statement, ...change }, key);
};

const key = await keyOf();

/** The state after changes, and the signed delta that leads there; `manifest` replaces members of an honest one. */
export async function step(
  from: State,
  changes: readonly EntryChange[],
  manifest: Partial<Manifest> = {},
): Promise<{ readonly to: State; readonly delta: SignedDelta }> {
  const tree = await changeTree(from.tree, changes, sha256, async () => {});
  const bytes = encodeManifest({
    v: 1,
    fleet: FLEET,
    pool: 'default',
    version: from.version + 1,
    previous: from.digest,
    issued_at: NOW - 10,
    expires_at: NOW + 3600,
    features: [],
    root: treeRoot(tree, sha256),
    ...manifest,
  });
  const ordered = changes.toSorted(compareEntries);
  const delta: SignedDelta = {
    base: { version: from.version, digest: from.digest },
    manifest: bytes,
    signature: await signManifest(bytes, snapshotPrivate),
    key,
    changed: ordered.flatMap(({ kind, name, content }) => (content === undefined ? [] : [{ kind, name, content }])),
    removed: ordered.flatMap(({ kind, name, content }) => (content === undefined ? [{ kind, name }] : [])),
  };
  return { to: { tree, version: from.version + 1, digest: manifestDigest(bytes, sha256) }, delta };
}

/** A base over a state's entries in memory. */
export const baseOf = (
  { tree }: State,
  defaultService?: string,
): DeltaBase<DeltaNext & { readonly tree: MerkleTree }> => ({
  size: {
    entries: tree.entries.length,
    bytes: tree.entries.reduce((sum, entry) => sum + entryBytes(entry), 0),
  },
  defaultService,
  content: (name) => findEntry(tree.entries, name)?.content,
  async change(changes) {
    const next = await changeTree(tree, changes, sha256, async () => {});
    return {
      tree: next,
      root: treeRoot(next, sha256),
      hasService: (name) => findEntry(next.entries, { kind: 'service', name }) !== undefined,
      belongingTo: (service) =>
        next.entries.find(
          ({ kind, name }) =>
            (kind === 'credential' && name === service) || (kind === 'scope' && name.startsWith(`${service}/`)),
        ),
    };
  },
});

/** A service entry. */
export const service = (name: string, change: Parameters<typeof serviceConfig>[0] | object = {}): Entry =>
  encodeEntry('service', name, serviceConfig({ name, pool: 'default', origin: 'https://api.example', ...change }));

/** A credential entry. */
export const credential = (name: string, sealed = 'a.b.c.d.e'): Entry =>
  encodeEntry('credential', name, { id: 'ab'.repeat(16), sealed });

/** An entry that goes. */
export const gone = ({ kind, name }: Entry): EntryChange => ({ kind, name, content: undefined });
