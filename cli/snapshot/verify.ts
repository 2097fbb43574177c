// Verifies a snapshot as a node does, by the very code, and says which step refused it.
import { createHash } from 'node:crypto';
import { DaypassError } from '@daypass/core/errors';
import { type PublicJwk, verifyKeyChain } from '@daypass/core/key';
import {
  MAX_MANIFEST_BYTES,
  parseManifest,
  type SignedSnapshot,
  type VerifiedSnapshot,
  verifySnapshot,
} from '@daypass/core/snapshot';

/** What a node would know; without fleet, pool or node those that the snapshot names are taken. Time in seconds. */
export type VerifyTrust = {
  readonly root: PublicJwk;
  readonly fleet: string | undefined;
  readonly pool: string | undefined;
  readonly node: string | undefined;
  readonly now: number;
};

/** The steps in their order. */
export const STEPS = [
  'size',
  'key, signed by the fleet root',
  'signature over the manifest',
  'form of the manifest',
  'fleet, pool and node',
  'time',
  'features',
  'root over the entries',
  'entries, each by itself',
  'entries, with each other',
] as const;
export type Step = (typeof STEPS)[number];

/** What came of it. */
export type Verified = { readonly verified: VerifiedSnapshot } | { readonly refused: DaypassError; readonly at: Step };

export const sha256 = (bytes: Uint8Array): Uint8Array => createHash('sha256').update(bytes).digest();

/** Verifies a snapshot in full, but for what only a node knows: the version that it serves. */
export const verifyAsNode = async (signed: SignedSnapshot, trust: VerifyTrust): Promise<Verified> => {
  try {
    const { root, now } = trust;
    // What the root signed of the key says of which fleet and pool it is; the nodes are read before they are believed.
    const key = await verifyKeyChain(signed.key, root).catch(() => undefined);
    const fleet = trust.fleet ?? key?.fleet ?? '';
    const pool = trust.pool ?? key?.pool ?? '';
    const node = trust.node ?? nodesOf(signed)[0];
    return { verified: await verifySnapshot(signed, { root, fleet, pool, node, floor: 0, now, sha256 }) };
  } catch (error) {
    if (!(error instanceof DaypassError)) throw error;
    return { refused: error, at: await stepOf(error, signed, trust) };
  }
};

const nodesOf = ({ manifest }: SignedSnapshot): readonly string[] => {
  try {
    return parseManifest(manifest).nodes ?? [];
  } catch {
    return [];
  }
};

const stepOf = async ({ code }: DaypassError, signed: SignedSnapshot, trust: VerifyTrust): Promise<Step> => {
  switch (code) {
    case 'snapshot_signature_invalid':
      return (await isKeyGood(signed, trust)) ? 'signature over the manifest' : 'key, signed by the fleet root';
    case 'snapshot_foreign':
      return (await isKeyOwn(signed, trust)) ? 'fleet, pool and node' : 'key, signed by the fleet root';
    case 'snapshot_stale':
      return 'time';
    case 'snapshot_root_mismatch':
      return 'root over the entries';
    case 'snapshot_feature_unknown':
      return hasUnknownEntry(signed) ? 'entries, each by itself' : 'features';
    case 'snapshot_too_large':
      return signed.manifest.length > MAX_MANIFEST_BYTES ? 'form of the manifest' : 'size';
    case 'snapshot_malformed':
      return (await holds(() => parseManifest(signed.manifest))) ? 'entries, each by itself' : 'form of the manifest';
    default:
      return 'entries, with each other';
  }
};

const isKeyGood = async ({ key }: SignedSnapshot, { root, now }: VerifyTrust): Promise<boolean> => {
  try {
    const { use, not_after } = await verifyKeyChain(key, root);
    return use === 'snapshot' && now < not_after;
  } catch {
    return false;
  }
};

const isKeyOwn = async ({ key }: SignedSnapshot, { root, fleet, pool }: VerifyTrust): Promise<boolean> => {
  const signed = await verifyKeyChain(key, root);
  return (fleet ?? signed.fleet) === signed.fleet && (pool ?? signed.pool) === signed.pool;
};

const KINDS = new Set(['service', 'credential', 'scope', 'key', 'status', 'cutoff', 'pool']);
const hasUnknownEntry = ({ entries }: SignedSnapshot): boolean => entries.some(({ kind }) => !KINDS.has(kind));

const holds = async (work: () => unknown): Promise<boolean> => {
  try {
    await work();
    return true;
  } catch {
    return false;
  }
};
