// A fleet that signs snapshots, with real keys, for tests of a node.
import { createHash } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  type GeneratedKey,
  generateSigningKey,
  importEd25519,
  type KeyStatement,
  type PublicJwk,
  signKeyStatement,
} from '@daypass/core/key';
import {
  compareEntries,
  type Entry,
  encodeEntry,
  encodeManifest,
  type Manifest,
  manifestDigest,
  merkleRoot,
  type SignedSnapshot,
  signManifest,
} from '@daypass/core/snapshot';
import { type Snapshot, SnapshotSchema } from '@daypass/sdk/gen/daypass/v1/snapshot_pb';

export const FLEET = 'urn:daypass:fleet:AAAAAAAAAAAAAAAAAAAAAA';
export const POOL = 'default';

const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** A snapshot as a message in memory that threads share. */
export function sharedMessage({ manifest, signature, key, entries }: SignedSnapshot | Snapshot): Buffer {
  const init = { manifest, signature, entries: [...entries] };
  const bytes = toBinary(SnapshotSchema, create(SnapshotSchema, key === undefined ? init : { ...init, key }));
  const shared = Buffer.from(new SharedArrayBuffer(bytes.length));
  shared.set(bytes);
  return shared;
}

let segments = 0;
/** A number that no other segment of this process has. */
export const nextNumber = (): number => {
  segments += 1;
  return segments;
};

/** What differs from an honest snapshot. */
export type Change = {
  readonly manifest?: Partial<Manifest>;
  readonly entries?: readonly Entry[];
  readonly statement?: Partial<KeyStatement>;
  /** Signs in place of the snapshot key. */
  readonly signer?: GeneratedKey;
  /** Signs the key statement in place of the fleet root. */
  readonly root?: GeneratedKey;
};

export type Fleet = {
  readonly root: PublicJwk;
  /** A signed snapshot of that version; expires an hour from now. */
  snapshot(version: number, change?: Change): Promise<Snapshot>;
};

export const digestOf = (snapshot: Snapshot): string => manifestDigest(snapshot.manifest, sha256);

/** Fresh keys. */
export async function createFleet(): Promise<Fleet> {
  const root = await generateSigningKey();
  const key = await generateSigningKey();
  const tokenKey = await generateSigningKey();
  const { kid, ...jwk } = tokenKey.publicJwk;
  const honest = [
    encodeEntry('key', tokenKey.kid, { kid: tokenKey.kid, alg: 'Ed25519', issuer: 'https://daypass.example', jwk }),
  ];
  return {
    root: root.publicJwk,
    async snapshot(version, change = {}) {
      const entries = (change.entries ?? honest).toSorted(compareEntries);
      const now = Math.floor(Date.now() / 1000);
      const manifest = encodeManifest({
        v: 1,
        fleet: FLEET,
        pool: POOL,
        version,
        previous: '',
        issued_at: now,
        expires_at: now + 3_600,
        features: [],
        root: merkleRoot(entries, sha256),
        ...change.manifest,
      });
      const statement: KeyStatement = {
        v: 1,
        fleet: FLEET,
        pool: POOL,
        use: 'snapshot',
        kid: key.kid,
        jwk: key.publicJwk,
        not_after: now + 86_400,
        ...change.statement,
      };
      const rootKey = await importEd25519((change.root ?? root).privateJwk, 'sign');
      const signer = await importEd25519((change.signer ?? key).privateJwk, 'sign');
      const signed = await signKeyStatement(statement, rootKey);
      return create(SnapshotSchema, {
        manifest,
        signature: await signManifest(manifest, signer),
        key: { statement: signed.statement, signature: signed.signature },
        entries: [...entries],
      });
    },
  };
}

/** `previous` of the version after this one. */
export const after = (snapshot: Snapshot): { readonly manifest: Partial<Manifest> } => ({
  manifest: { previous: digestOf(snapshot) },
});
