// The manifest: the small, signed statement of what a snapshot holds and how long it is good.
import { DaypassError } from './errors.ts';
import { isHexSha256 } from './hash.ts';
import {
  type JsonObject,
  parseStrictJsonBytes,
  readCount,
  readNumber,
  readObject,
  readString,
  readStringArray,
  refuseUnknown,
} from './json.ts';

/** What is signed of a snapshot. Times in seconds since the epoch. */
export type Manifest = {
  readonly v: 1;
  readonly fleet: string;
  readonly pool: string;
  /** Strictly rising within a pool, from 1. */
  readonly version: number;
  /** Digest of the last manifest of the pool (hex sha256 of its bytes); empty for the first. */
  readonly previous: string;
  readonly issued_at: number;
  /** The end of the lease. */
  readonly expires_at: number;
  /** What a node must understand to serve it. */
  readonly features: readonly string[];
  /** Hex Merkle root over the entries. */
  readonly root: string;
  /** The only nodes that may serve it, with the feature `canary`; absent: every node of the pool. */
  readonly nodes?: readonly string[] | undefined;
};

/** The feature of a manifest that names nodes. */
export const CANARY_FEATURE = 'canary';

/** Most nodes that a manifest may name. */
export const MAX_CANARY_NODES = 64;

/** Largest manifest, in bytes. */
export const MAX_MANIFEST_BYTES = 16_384;

/** A manifest as the bytes to sign. Throws `snapshot_malformed` when `parseManifest` would refuse them. */
export function encodeManifest(manifest: Manifest): Uint8Array {
  const { v, fleet, pool, version, previous, issued_at, expires_at, features, root, nodes } = manifest;
  const text = JSON.stringify({ v, fleet, pool, version, previous, issued_at, expires_at, features, root, nodes });
  const bytes = new TextEncoder().encode(text);
  parseManifest(bytes);
  return bytes;
}

/** Reads a manifest strictly; call it only on bytes whose signature was verified. Throws `snapshot_malformed`. */
export function parseManifest(bytes: Uint8Array): Manifest {
  if (bytes.length > MAX_MANIFEST_BYTES) throw malformed('The manifest is too large');
  try {
    return manifestOf(readObject(parseStrictJsonBytes(bytes), 'manifest'));
  } catch (cause) {
    if (cause instanceof DaypassError && cause.code === 'invalid_json') throw malformed(cause.message, cause);
    throw cause;
  }
}

function manifestOf(object: JsonObject): Manifest {
  const members = ['v', 'fleet', 'pool', 'version', 'previous', 'issued_at', 'expires_at', 'features', 'root', 'nodes'];
  refuseUnknown(object, members, 'manifest');
  if (object.v !== 1) throw malformed('The manifest has an unknown version');
  const manifest: Manifest = {
    v: 1,
    fleet: readString(object.fleet, 'fleet'),
    pool: readString(object.pool, 'pool'),
    version: readCount(object.version, 'version'),
    previous: readString(object.previous, 'previous'),
    issued_at: readNumber(object.issued_at, 'issued_at'),
    expires_at: readNumber(object.expires_at, 'expires_at'),
    features: readStringArray(object.features, 'features'),
    root: readString(object.root, 'root'),
    ...(object.nodes === undefined ? {} : { nodes: readStringArray(object.nodes, 'nodes') }),
  };
  if (manifest.version === 0) throw malformed('The manifest has the version 0');
  if (manifest.previous !== '' && !isHexSha256(manifest.previous)) throw malformed('"previous" is not a digest');
  if (!isHexSha256(manifest.root)) throw malformed('"root" is not a digest');
  if (!(manifest.issued_at >= 0 && manifest.issued_at < manifest.expires_at))
    throw malformed('"expires_at" is not after "issued_at"');
  checkNodes(manifest);
  return manifest;
}

/** Nodes are named with the feature, and the feature with nodes: who does not know the one must refuse by the other. */
function checkNodes({ nodes, features }: Manifest): void {
  if ((nodes !== undefined) !== features.includes(CANARY_FEATURE))
    throw malformed(`"nodes" goes with the feature "${CANARY_FEATURE}"`);
  if (nodes === undefined) return;
  if (nodes.length === 0 || nodes.length > MAX_CANARY_NODES || new Set(nodes).size < nodes.length)
    throw malformed(`"nodes" must name 1 to ${MAX_CANARY_NODES} nodes, each once`);
}

const malformed = (message: string, cause?: unknown): DaypassError =>
  new DaypassError('snapshot_malformed', message, cause === undefined ? {} : { cause });
